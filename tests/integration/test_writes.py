"""Writes over real processes: who is told 201 or 202 finds it, whatever others write, and whatever their clocks say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import redis

from gorgond.redpill import now_ms
from gorgond.redpill.codec import loads
from gorgond.testing import serving
from tests.conftest import RedisServer
from tests.contract.stores import mongo_client
from tests.databases import WHOLE
from tests.faketime import off_by
from tests.integration.watched import Fabric, fabric_in
from tests.integration.website import Answer, Connection
from tests.programs import asked
from tests.waiting import eventually
from tools.speed.ports import free_port


@pytest.fixture(params=WHOLE)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    server = request.getfixturevalue("mongod_url")
    yield f"{server}writes"
    with mongo_client(server) as client:
        client.drop_database("writes")


class Writers:
    """Web servers and stores on one database."""

    def __init__(self, fabric: Fabric, store_url: str) -> None:
        self.fabric = fabric
        self._url = store_url
        self._started = 0
        self._ports: list[int] = []

    def store(self, **variables: str) -> None:
        """Start one more store."""
        self._start("store", **variables)

    def web(self, **variables: str) -> int:
        """Start one more web server: its number."""
        self._ports.append(free_port())
        self._start("web", GORGOND_WEB_PORT=str(self._ports[-1]), **variables)
        eventually(lambda: asked(f"http://127.0.0.1:{self._ports[-1]}/readyz"))
        return len(self._ports) - 1

    def _start(self, role: str, **variables: str) -> None:
        self._started += 1
        settings = {
            "GORGOND_STORE_URL": self._url,
            "GORGOND_WEB_DEADLINE": "60s",
            **variables,
        }  # also on a busy machine
        self.fabric.start(role, "--instance", str(self._started), **settings)

    def ask(self, web: int, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request to that web server."""
        connection = Connection(self._ports[web])
        try:
            return connection.ask(method, path, body, **headers)
        finally:
            connection.close()

    def dead(self) -> list[str]:
        """Why jobs are dead letters."""
        letters = self.fabric.durable.cli("ZRANGE", "gorgon:{store_put}:dead", "0", "-1").splitlines()
        return [loads(line)["reason"] for line in letters if '"reason"' in line]


@pytest.fixture
def site(tmp_path: Path, redis_factory: Callable[..., RedisServer], store_url: str) -> Iterator[Writers]:
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield Writers(fabric, store_url)


def test_of_many_that_use_one_key_at_the_same_time_one_wins(site: Writers) -> None:
    # given three web servers and two stores
    webs = [site.web() for _ in range(3)]
    for _ in range(2):
        site.store()
    # when fifty write at the same time under one key, five different things among them, some a list
    bodies: list[Any] = [{"title": "a"}, {"title": "b"}, {"title": "a", "n": 1}, [{"title": "d"}, {"title": "c"}], {}]

    def post(n: int) -> tuple[int, Answer]:
        return n % 5, site.ask(webs[n % 3], "POST", "/info/5", bodies[n % 5], Idempotency_Key="k")

    for _ in range(3):
        with ThreadPoolExecutor(50) as threads:
            answers = list(threads.map(post, range(50)))
        # then one of them is stored, also when it comes again, and who wrote anything else is told so
        [winner] = {which for which, answer in answers if answer.status == 201}
        for which, answer in answers:
            if which == winner:
                assert answer.status == 201, answer.body
            else:
                assert (answer.status, answer.error["field"]) == (422, "Idempotency-Key"), answer.body
        stored = site.ask(webs[0], "GET", "/info/5").json["items"]
        wanted = bodies[winner] if isinstance(bodies[winner], list) else [bodies[winner]]
        shown = [{name: each[name] for name in each if name not in ("id", "ts", "userid")} for each in stored]
        assert sorted(shown, key=str) == sorted(wanted, key=str)


def test_web_servers_whose_clocks_differ_change_the_same_item(site: Writers, faketime_library: str) -> None:
    # given a web server that is 30 s ahead, and one that is not
    ahead = site.web(GORGOND_BROKER_CLOCK_LIMIT="1d", **off_by(faketime_library, "+30"))
    other = site.web()
    site.store()
    for method, body in (("PATCH", {"title": "patched"}), ("PUT", {"title": "put"}), ("DELETE", None)):
        # when an item that came by way of the one is changed by way of the other, then it is
        site.ask(ahead, "PUT", "/items/a", {"title": "ahead"})
        assert site.ask(other, method, "/items/a", body).status in (200, 204)
    assert site.ask(other, "GET", "/items/a").status == 404
    # when it was deleted by way of the one, and is written again by way of the other as a job
    site.ask(ahead, "PUT", "/items/b", {"title": "ahead"})
    assert site.ask(ahead, "DELETE", "/items/b").status == 204
    job = site.ask(other, "POST", "/info/5", {"id": "b", "title": "again"}, Prefer="respond-async")
    # then it is there
    assert job.status == 202
    assert eventually(lambda: site.ask(other, "GET", "/items/b").json.get("title")) == "again"
    # and nobody dates an item so that it stays for ever
    assert site.ask(other, "POST", "/info/5", {"ts": 2**53 - 1}).error["field"] == "ts"
    assert site.ask(other, "PATCH", "/items/b", {"ts": 2**53 - 1}).error["field"] == "ts"
    assert site.dead() == []


MODULE = """
from gorgond import App

app = App("trial")


@app.on("news")
async def heard(ctx, event):
    await ctx.store.patch("items", event.args["id"], {"heard": event.args["n"]})
"""


def test_a_handler_changes_what_is_newer_than_its_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an application that changes notes by what it hears, and a note that is newer than all it will hear
    (tmp_path / "trial_writes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with serving("trial_writes") as site:
        later = now_ms() + 50_000
        assert site.post("/info/5", {"id": "a", "ts": later}).status == 201
        for n in (1, 2):
            # when it hears something, then it has changed the note, after all that was done to it
            site.publish("news", "news.came", {"id": "a", "n": n})
            site.eventually(lambda n=n: site.get("/items/a").json.get("heard") == n)  # type: ignore[misc]
            assert site.get("/items/a").json["ts"] == later + n


def test_a_job_is_stored_or_there_is_a_dead_letter_that_says_why(site: Writers) -> None:
    web = site.web()
    site.store(GORGOND_STORE_SEARCH="yes")
    assert eventually(lambda: site.ask(web, "GET", "/items?q=fox").status == 200)  # the index for it is there
    # when a note says a language that no database knows, or a name of the store's own
    wait = {"Prefer": "respond-async"}
    job = site.ask(web, "POST", "/info/5", {"id": "a", "title": "x", "text language": "klingon"}, **wait)
    refused = site.ask(web, "POST", "/info/5", {"title": "x", "_gorgon_language": "klingon"}, **wait)
    # then it is stored, or refused before it is a job
    assert job.status == 202
    assert eventually(lambda: site.ask(web, "GET", "/items/a").json.get("title")) == "x"
    assert (refused.status, refused.error["field"]) == (422, "_gorgon_language")
    # when another job has the same id
    assert site.ask(web, "POST", "/info/6", {"id": "a", "title": "y"}, **wait).status == 202
    # then nobody waits for it, but it is kept, with the reason
    reason = "422: items a: there is another one of this id, with other content"
    assert eventually(lambda: [each for each in site.dead() if reason in each])
    assert site.ask(web, "GET", "/items/a").json["userid"] == 5


def test_what_is_announced_is_what_is_stored(site: Writers) -> None:
    web = site.web()
    site.store()
    with redis.Redis.from_url(site.fabric.durable.url) as client, client.pubsub() as events:
        events.subscribe("gorgon:{store_notify}:live")
        # given a note, one of another user with its id, and a change
        assert site.ask(web, "POST", "/info/5", {"id": "x", "title": "A"}).status == 201
        other = site.ask(web, "POST", "/info/6", {"id": "x", "title": "B"})
        assert (other.status, other.error["field"]) == (422, "id")
        assert "x" in other.error["message"]
        assert site.ask(web, "PATCH", "/items/x", {"title": "C"}).status == 200
        # when the note comes again
        assert site.ask(web, "POST", "/info/5", {"id": "x", "title": "A"}).status == 201
        # then what was stored was announced, and what is stored now
        heard = (loads(each["data"]) for each in events.listen() if each["type"] == "message")
        told = [next(heard) for _ in range(3)]
    shown = [(each["op"], each["args"].get("document", each["args"].get("changes"))) for each in told]
    assert [op for op, _ in shown] == ["items.added", "items.edited", "items.added"]
    assert [content["title"] for _, content in shown] == ["A", "C", "C"]
    assert all("_gorgon" not in str(content) for _, content in shown)
    stored = site.ask(web, "GET", "/items/x").json
    assert told[2]["args"] == {"id": "x", "ts": stored["ts"], "document": stored}
    assert told[1]["args"]["ts"] == stored["ts"]


def test_a_database_file_that_is_removed_is_told_and_nothing_is_lost(
    tmp_path: Path, redis_factory: Callable[..., RedisServer]
) -> None:
    path = tmp_path / "test.db"
    with fabric_in(tmp_path, redis_factory) as fabric:
        for role in ("stats", "store", "web"):
            fabric.start(role, GORGOND_WEB_DEADLINE="2s")
        port = int(urlparse(fabric.web).port or 0)
        eventually(lambda: asked(f"{fabric.web}/info/5"))

        def post(id: str) -> int:
            connection = Connection(port)
            try:
                return connection.ask("POST", "/info/5", {"id": id}).status
            finally:
                connection.close()

        kept = [f"before{n}" for n in range(5) if post(f"before{n}") == 201]
        # when the file is moved away
        away = path.rename(tmp_path / "away.db")
        # then nobody is told that a note is stored, no new file is made, and the verdict says why
        assert [post(f"meanwhile{n}") for n in range(2)] == [504, 504]
        assert eventually(lambda: fabric.says("its file was removed: put it back"))
        assert not path.exists()
        # when it is back, then all goes on
        away.rename(path)
        assert eventually(lambda: post("after") == 201)
        found = loads(asked(f"{fabric.web}/info/5") or b"")["items"]
        assert {*kept, "after"} <= {each["id"] for each in found}
        assert len(kept) == 5
