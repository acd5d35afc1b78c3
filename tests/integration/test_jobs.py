"""Jobs on a running fabric, in memory on SQLite and on Redis with MongoDB: enqueued, done, tried again, told of,
cancelled."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gorgond.app.enqueuing import unique_key
from gorgond.redpill import Found, Link, Message, Unique, connect, now_ms
from gorgond.testing import Answer, RunningFabric, User, serving
from tests.conftest import RedisServer
from tests.integration import jobbing
from tests.waiting import eventually

MODULE = "tests.integration.jobbing"


@pytest.fixture(scope="module", params=["memory", "servers"])
def site(request: pytest.FixtureRequest) -> Iterator[RunningFabric]:
    settings = {}
    if request.param == "servers":
        redis: RedisServer = request.getfixturevalue("module_redis")
        redis.cli("FLUSHALL")
        settings = {"broker__url": redis.url, "store__url": request.getfixturevalue("mongod_url") + "jobs"}
    with serving(MODULE, **settings) as site:
        yield site


@pytest.fixture(autouse=True)
def _told(expected_logs: Callable[[str], None]) -> None:
    """Jobs that fail are told."""
    expected_logs("jobbing.* failed|gives up")


@pytest.fixture(scope="module")
def anna(site: RunningFabric) -> User:
    return site.user("anna")


def enqueue(site: RunningFabric, name: str, user: User | None = None, **options: Any) -> str:
    """The id of a job that is kept."""
    answer = site.post(f"/enqueue/{name}", options, user=user)
    assert answer.status == 202, answer.body
    id: str = answer.json["job"]
    return id


def until(site: RunningFabric, id: str, state: str) -> dict[str, Any]:
    """The status of a job once it is in that state."""

    def there() -> Any:
        status = site.get(f"/status/{id}").json
        return status["state"] == state and status

    found: dict[str, Any] = eventually(there)
    return found


def ran(site: RunningFabric, name: str, what: Any) -> list[int]:
    """The attempts at jobs of that name and argument."""
    return [attempt for each, of, attempt in site.get("/ran").json if [each, of] == [name, what]]


def test_a_job_is_done_once_and_its_result_is_for_who_enqueued_it(site: RunningFabric, anna: User) -> None:
    id = enqueue(site, "note", anna, what="hello", width=3)
    status = until(site, id, "done")
    assert (status["result"], status["attempt"]) == ({"what": "hello", "width": 3}, 1)
    # then who has enqueued it sees that, and nobody else
    assert site.get(f"/jobs/{id}", user=anna).json == status
    assert site.get(f"/jobs/{id}", user=site.user("bob")).status == 404
    assert site.get(f"/jobs/{id}").status == 401
    assert site.get("/jobs/none", user=anna).status == 404
    # and what of it is stored apart is no job
    assert site.get(f"/jobs/{id}:end", user=anna).status == 404
    assert site.delete(f"/jobs/{id}:end", user=anna).status == 404
    assert (ran(site, "note", "hello"), site.get("/noted?what=hello").json) == ([1], 1)


def test_arguments_that_do_not_fit_are_refused_at_once(site: RunningFabric) -> None:
    answer = site.post("/enqueue/note", {"what": 5})
    assert answer.status == 500  # a fault of the handler's, which the log tells
    assert site.post("/enqueue/note", {}).status == 500


def test_a_job_may_be_enqueued_by_a_job_and_for_an_event(site: RunningFabric, anna: User) -> None:
    enqueue(site, "first", anna, what="by a job")
    site.publish("jobbing", "said", {"what": "by an event"})
    for what in ("by a job", "by an event"):
        assert eventually(lambda what=what: ran(site, "note", what)) == [1]  # type: ignore[misc]


def test_a_handler_that_runs_twice_enqueues_once(site: RunningFabric) -> None:
    site.publish("jobbing", "said", {"what": "twice", "fail": True})
    eventually(lambda: len(ran(site, "heard", "twice")) == 2)
    last = enqueue(site, "note", what="after twice")
    until(site, last, "done")
    assert (ran(site, "note", "twice"), site.get("/noted?what=twice").json) == ([1], 1)


def test_a_job_that_fails_is_tried_again_and_its_writes_happen_once(site: RunningFabric) -> None:
    before = site.get("/noted?what=fail").json
    id = enqueue(site, "fail", until=3)
    status = until(site, id, "done")
    assert (status["result"], status["attempt"], ran(site, "fail", 3)) == ("mended", 3, [1, 2, 3])
    assert site.get("/noted?what=fail").json == before + 1


def test_a_job_that_is_given_up_is_a_dead_letter_that_says_all(site: RunningFabric, anna: User) -> None:
    id = enqueue(site, "fail", anna, until=50)
    status = until(site, id, "failed")
    assert (status["reason"], status["attempt"]) == ("ValueError: it is broken", 3)
    assert "stack" not in site.get(f"/jobs/{id}", user=anna).json
    stored = site.call("store_get", "jobs.find", {"filter": {"id": f"{id}:end"}})[0]
    assert "in fail\n    raise ValueError" in stored["stack"]
    letters = eventually(lambda: asked(site, lambda link: link.dead("app_job:jobbing.fail")))
    letter = next(each for each in letters if id.encode() in each.raw)
    assert b'"until":50' in letter.raw
    assert letter.reason.startswith("ValueError: it is broken at jobbing.py:")
    assert " fail; on app@test." in letter.reason
    assert letter.reason.endswith(", gorgond 0.1.0")


def asked(site: RunningFabric, ask: Callable[[Link], Awaitable[Any]]) -> Any:
    """What the broker answers."""

    async def look() -> Any:
        link = connect(site._config.broker.url).link("test")
        try:
            return await ask(link)
        finally:
            await link.close()

    return site._do(look)


def test_a_job_says_itself_when_it_is_to_be_begun_again(site: RunningFabric) -> None:
    began = time.monotonic()
    id = enqueue(site, "busy")
    until(site, id, "done")
    assert time.monotonic() - began > 0.3
    assert ran(site, "busy", "") == [1, 2]
    # and meanwhile its status says why, and until when
    id = enqueue(site, "patient")
    status = until(site, id, "scheduled")
    assert (status["reason"], status["attempt"]) == ("TryAgain: the API is busy", 1)
    assert status["due"] > status["enqueued"] + 3_000_000
    # and it can be cancelled
    site.post(f"/cancel/{id}")
    assert until(site, id, "cancelled")


def test_a_job_that_takes_too_long_is_cancelled_and_fenced(site: RunningFabric) -> None:
    id = enqueue(site, "slow")
    assert until(site, id, "failed")["reason"] == "TimeoutError: it took longer than 0.5 s"
    (said,) = [of for each, of, _ in site.get("/ran").json if each == "slow"]
    assert "took too long" in said  # refused at once, not asked for with a deadline that has a moment left
    assert site.get("/noted?what=late").json == 0


def test_a_job_is_begun_when_it_is_due(site: RunningFabric, anna: User) -> None:
    began = time.monotonic()
    id = enqueue(site, "note", anna, what="later", delay="700ms")
    assert until(site, id, "scheduled")["due"] > 0
    until(site, id, "done")
    assert time.monotonic() - began > 0.7


def test_the_progress_of_a_job_is_told_and_it_can_be_cancelled(site: RunningFabric, anna: User) -> None:
    id = enqueue(site, "long", anna, steps=6001)

    def told() -> dict[str, Any] | None:
        status: dict[str, Any] = site.get(f"/jobs/{id}", user=anna).json
        return status if status.get("progress") else None

    status = eventually(told) or {}
    assert status["state"] == "running"
    assert status["text"] == f"step {round(status['progress'] * 6001)}"
    # when somebody else wants to cancel it, and then who enqueued it
    assert site.request("DELETE", f"/jobs/{id}", user=site.user("carl")).status == 404
    assert site.request("DELETE", f"/jobs/{id}", user=anna).status == 204
    # then it meets the cancellation, and is over
    eventually(lambda: ran(site, "cancelled", 6001) == [1])
    eventually(lambda: "ended" in site.get(f"/jobs/{id}", user=anna).json)
    assert until(site, id, "cancelled")["attempt"] == 1
    assert ran(site, "refused", 409) == [1]


def test_who_watches_a_job_is_told_each_change_until_it_is_over(site: RunningFabric, anna: User) -> None:
    id = enqueue(site, "long", anna, steps=20)
    eventually(lambda: site.get(f"/jobs/{id}", user=anna).status == 200)  # a store on a busy machine may take longer
    # when it is watched from the beginning
    with urlopen(watching(site, id, anna), timeout=60) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        events = [json.loads(line.removeprefix(b"data: ")) for line in stream if line.startswith(b"data: ")]
    # then it goes on, with progress that grows, and the stream ends with it
    shares = [each["progress"] for each in events if "progress" in each]
    assert events[-1]["state"] == "done"
    assert shares
    assert shares == sorted(shares)
    # and of one that is over the end is told at once
    with urlopen(watching(site, id, anna), timeout=60) as stream:
        assert stream.read().count(b"event: status") == 1
    # but to nobody else
    with pytest.raises(HTTPError, match="404"):
        urlopen(watching(site, id, site.user("dora")), timeout=60)


def watching(site: RunningFabric, id: str, user: User) -> Request:
    return Request(
        f"http://127.0.0.1:{site._web.port}/jobs/{id}/live", headers={"Authorization": f"Bearer {user.token}"}
    )


def test_a_job_that_waits_can_be_cancelled(site: RunningFabric) -> None:
    id = enqueue(site, "note", what="never", delay="500ms")
    assert site.post(f"/cancel/{id}").status == 204
    assert until(site, id, "cancelled")
    eventually(lambda: "ended" in site.get(f"/status/{id}").json)
    assert ran(site, "note", "never") == []
    # and one that is over stays as it is
    done = enqueue(site, "note", what="done")
    until(site, done, "done")
    site.post(f"/cancel/{done}")
    assert site.get(f"/status/{done}").json["state"] == "done"


def test_one_key_is_one_job_until_it_is_over(site: RunningFabric) -> None:
    ids = {enqueue(site, "note", what=f"kept {n}", unique="k", delay="500ms") for n in range(5)}
    assert len(ids) == 1
    until(site, ids.pop(), "done")
    assert [ran(site, "note", f"kept {n}") for n in range(5)] == [[1], [], [], [], []]
    assert until(site, enqueue(site, "note", what="kept again", unique="k"), "done")


def test_one_that_waits_gets_other_arguments(site: RunningFabric) -> None:
    ids = {enqueue(site, "note", what=f"new {n}", unique="r", mode="replace", delay="500ms") for n in range(3)}
    assert len(ids) == 1
    status = until(site, ids.pop(), "done")
    assert (status["args"], status["result"]["what"]) == ({"what": "new 2"}, "new 2")
    assert [ran(site, "note", f"new {n}") for n in range(3)] == [[], [], [1]]


def test_one_that_gets_other_arguments_is_done_for_who_gave_them(site: RunningFabric, anna: User) -> None:
    otto = site.user("otto")
    id = enqueue(site, "whose", anna, what="hers", unique="w", mode="replace", delay="700ms")
    assert enqueue(site, "whose", otto, what="his", unique="w", mode="replace") == id
    assert until(site, id, "done")["result"] == ["his", otto.id]
    # and he is told, and she is not
    assert site.get(f"/jobs/{id}", user=otto).json["result"] == ["his", otto.id]
    assert site.get(f"/jobs/{id}", user=anna).status == 404


def test_one_more_runs_after_the_one_that_runs(site: RunningFabric) -> None:
    running = enqueue(site, "long", steps=6007, unique="a", mode="again")
    until(site, running, "running")
    following = {enqueue(site, "long", steps=8, unique="a", mode="again") for _ in range(3)}
    assert len(following - {running}) == 1
    # when the one that runs is over, if only since it is cancelled
    site.post(f"/cancel/{running}")
    assert until(site, following.pop(), "done")["args"] == {"steps": 8}
    assert (ran(site, "long", 6007), ran(site, "long", 8)) == ([1], [1])


def test_one_whose_producer_died_before_it_was_pushed_is_pushed_by_the_next(site: RunningFabric) -> None:
    # given a key under which a job stands that nobody has pushed
    raw = Message("jobbing.note", {"args": {"what": "orphan"}, "unique": "o"}, "orphan").encode()
    step = Unique(unique_key("o"), "keep", "orphan", raw, 1, 60)
    asked(site, lambda link: link.unique(jobbing.note.queue, step))
    # when another one is enqueued
    assert enqueue(site, "note", what="other", unique="o") == "orphan"
    # then the first is done
    eventually(lambda: ran(site, "note", "orphan") == [1])


def test_what_is_not_known_here_waits_and_no_attempt_is_counted(
    site: RunningFabric, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("jobbing.* failed|gives up|for a newer consumer")
    queue = "app_job:jobbing.note"
    newer = Message("jobbing.note", {"args": {"what": "new", "colour": "red"}}, "newer")
    site._do(lambda: site._producer.push(queue, newer))

    def left() -> bool:
        rows = [each.status() for each in site._services if each.role == "app"]
        return rows == [f"waiting for a newer version of its application, which messages of {queue} need"]

    eventually(left)

    def delayed() -> list[Found]:
        return [each for each in asked(site, lambda link: link.find(b'"newer"')) if each.place == "delayed"]

    found = eventually(delayed)
    assert b'"attempts"' not in found[0].raw or b'"attempts":1,' in found[0].raw
    assert ran(site, "note", "new") == []
    # others go on meanwhile
    assert until(site, enqueue(site, "note", what="beside"), "done")


def test_what_was_kept_for_long_enough_is_deleted_and_untold_is_not_stored(site: RunningFabric) -> None:
    id = enqueue(site, "untold")
    eventually(lambda: ran(site, "untold", ""))
    assert site.get(f"/status/{id}").json["state"] == "unknown"
    until(site, enqueue(site, "note", what="tidied"), "done")
    before = site.call("store_get", "jobs.count")
    old = {"id": "old", "job": "jobbing.note", "user": "", "kept": 1}
    site.call("store_put", "jobs.replace", {"documents": [old]})
    assert site.post("/tidy").json == before


def test_an_event_changes_what_others_have_changed_later(site: RunningFabric) -> None:
    site.call("store_put", "noted.insert", {"documents": [{"id": "trap", "what": "trap"}]})
    for to in (1, 2, 3):
        site.publish("changing", "said", {"id": "trap", "to": to})
        site.call("store_put", "noted.patch", {"id": "trap", "changes": {"seen": to}})

    def changed() -> bool:
        return bool(site.call("store_get", "noted.find", {"filter": {"id": "trap"}})[0].get("changed"))

    eventually(changed)
    assert asked(site, lambda link: link.dead("changing/jobbing")) == []


def test_what_runs_every_so_often_knows_when(site: RunningFabric) -> None:
    sent = eventually(lambda: [of for each, of, _ in site.get("/ran").json if each == "tick"])
    (asked, *_) = [of for each, of, _ in site.get("/ran").json if each == "told"]
    assert abs(sent[-1] - asked) < 3_600_000


def test_the_description_has_the_routes_of_jobs(site: RunningFabric) -> None:
    answer: Answer = site.get("/openapi.json")
    assert {"/jobs/{id}", "/jobs/{id}/live"} <= answer.json["paths"].keys()


def test_no_more_of_a_job_are_done_at_the_same_time_than_it_says_and_each_is(site: RunningFabric) -> None:
    # given many of one shop, then some of others
    jobs = [enqueue(site, "bounded", shop=shop) for shop in (*["a"] * 8, "b", "c", "d", "e")]
    found = [until(site, id, "done") for id in jobs]
    # then waiting was no attempt
    assert {each["attempt"] for each in found} == {1}
    assert max(each["result"][0] for each in found) <= 3
    assert max(each["result"][1] for each in found) == 1
    assert ran(site, "bounded", "a") == [1] * 8


def test_no_more_of_a_job_are_begun_within_a_time_than_it_says(site: RunningFabric) -> None:
    first = now_ms()
    jobs = [enqueue(site, "paced", shop=shop) for shop in "aaaaaab"]
    found = [until(site, id, "done") for id in jobs]
    assert {each["attempt"] for each in found} == {1}
    begun = sorted(each["result"] for each in found[:6])
    assert begun[3] >= first + 990  # clocks are read a moment apart
