"""What is old leaves inboxes, deliveries and digests; what is not sent, and the newest of each inbox, never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gorgond.app.notifying import document_id, number_of
from gorgond.notifiers import tidying
from gorgond.redpill import now_ms
from gorgond.stores import open_store
from gorgond.stores.contract import Query, Write
from tests.conftest import RedisServer
from tests.integration.test_notifications import APPS, Reader, tell
from tests.integration.website import Website
from tests.waiting import eventually

DAY = 86_400_000
OLD, YESTERDAY, NOW = 200, 2, 0  # days ago
NEWEST = 5
PAGE = 7  # so that inboxes and deliveries are several


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def house(
    request: pytest.FixtureRequest, module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Website]:
    """On each database, with a notification server that tidies all the time."""
    directory = tmp_path_factory.mktemp("tidying")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "tidying"
    module_redis.cli("FLUSHALL")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PAGE", PAGE), ("BREATH", 0.01), ("REST", 0.05)):
            patch.setattr(tidying, name, value)
        newest = str(NEWEST)
        with Website(
            module_redis.url, directory, store__url=store, app__module=APPS, notifications__newest=newest
        ) as house:
            yield house


def put(house: Website, collection: str, *documents: tuple[str, int, dict[str, Any]]) -> None:
    """Store documents: (id, how many days ago it was changed last, what is in it)."""
    store = open_store(house.config.store.url)
    try:
        done = store.write(
            [
                Write("insert", collection, id, (ts := now_ms() - days * DAY), {"id": id, "ts": ts, **content})
                for id, days, content in documents
            ]
        )
        assert done == ["stored"] * len(documents)
    finally:
        store.close()


def left(house: Website, collection: str, beginning: str) -> list[str]:
    """The ids of what is there that begins so."""
    store = open_store(house.config.store.url)
    try:
        filter = {"id": {"$gte": f"{beginning}:", "$lt": f"{beginning};"}}
        (found,) = store.find([Query(collection, filter, (("id", 1),), 1000)])
        assert isinstance(found, bytes)
        return [document["id"] for document in json.loads(found)]
    finally:
        store.close()


def fill(house: Website, user: str, *days: int) -> None:
    """An inbox with notifications that were changed last so many days ago."""
    content = {"userid": user, "kind": "k", "title": "t", "data": "{}", "at": 1, "read": False}
    numbered = enumerate(days, 1)
    put(house, "notifications", *((document_id(user, n), ago, content | {"nid": f"{user}-{n}"}) for n, ago in numbered))


def numbers(house: Website, user: str) -> list[int]:
    return [number_of(id) for id in left(house, "notifications", user)]


def first_event(reader: Reader, since: int) -> tuple[str, str]:
    """What who watches is told first: the event, and its number."""
    events = reader.watch(f"?since={since}")
    try:
        event = events.next()
        return event["event"], event["id"]
    finally:
        events.close()


def go_through(house: Website, name: str) -> None:
    """Wait until all inboxes were gone through once more: this one is the last."""
    for round in "12":
        fill(house, f"z{name}{round}", OLD, NOW)
        eventually(lambda round=round: numbers(house, f"z{name}{round}") == [2])  # type: ignore[misc]


def test_of_each_inbox_what_is_old_goes_from_the_first_on(house: Website) -> None:
    # given an inbox with old ones; one in which an old one was read lately; one that is all old; one that is new
    fill(house, "a", *[OLD] * 7, NOW, NOW)
    fill(house, "b", OLD, OLD, NOW, OLD, NOW)
    fill(house, "c", *[OLD] * 8)
    fill(house, "d", NOW, NOW)
    # then the old ones go, up to one that stays, and never the newest
    go_through(house, "each")
    assert numbers(house, "c") == [8]
    assert numbers(house, "a") == [8, 9]
    assert numbers(house, "b") == [3, 4, 5]
    assert numbers(house, "d") == [1, 2]


def test_beyond_so_many_they_go_but_for_those_of_the_last_day(house: Website) -> None:
    fill(house, "many", *[YESTERDAY] * (NEWEST + 8))
    fill(house, "busy", *[YESTERDAY] * 2, *[NOW] * (NEWEST + 3))
    go_through(house, "beyond")
    assert numbers(house, "many") == [9, 10, 11, 12, 13]
    assert numbers(house, "busy")[0] == 3
    assert len(numbers(house, "busy")) == NEWEST + 3


def test_who_watches_from_before_what_is_gone_is_told_to_read_anew(house: Website) -> None:
    # given a user whose first notifications are gone
    nora = Reader(house)
    fill(house, nora.id, *[OLD] * 5, NOW)
    eventually(lambda: numbers(house, nora.id) == [6])
    # when another one comes, then it has the next number
    tell(house, nora.id)
    assert [each["number"] for each in nora.got(2)] == [7, 6]
    # and who knows the newest is told what comes after it, anybody who is behind to read anew, also from the beginning
    assert first_event(nora, 6) == ("notification", "7")
    for since in (0, 3, 5):
        assert first_event(nora, since) == ("reset", "7")
    # and the page of the inbox leads to no older ones
    assert "before=" not in nora.browser.get("/notifications")


def test_deliveries_go_when_they_are_settled_and_old(house: Website) -> None:
    states = ("sent", "dead", "off", "sending", "waiting")
    content = {"userid": "u", "kind": "k", "channel": "email", "by": "m"}
    put(
        house, "deliveries",
        *(
            (f"u:{state}-{days}-{number}:email", days, content | {"state": state})
            for state in states for days in (OLD, NOW) for number in range(PAGE + 2)
        ),
    )  # fmt: skip
    # then what is not sent yet stays however old it is, and what is new stays
    gone = {f"u:{state}-{OLD}-{number}:email" for state in states[:3] for number in range(PAGE + 2)}
    eventually(lambda: not gone.intersection(left(house, "deliveries", "u")))
    go_through(house, "deliveries")
    assert len(left(house, "deliveries", "u")) == len(states) * 2 * (PAGE + 2) - len(gone)


def test_digests_go_when_they_were_sent_and_are_old(house: Website) -> None:
    # given old digests, one of which was given up with much in it, one that is to be sent yet, and new ones
    entry = {"userid": "d", "kind": "k", "title": "t", "data": "{}", "at": 1}
    put(house, "digests", *((f"d:email:2:n{number:02}", OLD, entry) for number in range(PAGE + 2)))
    put(house, "digests", ("d:email:3:n1", OLD, entry), ("d:email:4:n1", NOW, entry))
    for window, days, state in (("1", OLD, "closed"), ("2", OLD, "closed"), ("3", OLD, "open"), ("4", NOW, "closed")):
        put(house, "digests", (f"d:email:{window}", days, {"userid": "d", "state": state, "nids": []}))
    # then those are gone that were sent and are old, and nothing is left of them
    gone = {"d:email:1", "d:email:2", *(f"d:email:2:n{number:02}" for number in range(PAGE + 2))}
    eventually(lambda: not gone.intersection(left(house, "digests", "d")))
    go_through(house, "digests")
    assert left(house, "digests", "d") == ["d:email:3", "d:email:3:n1", "d:email:4", "d:email:4:n1"]
