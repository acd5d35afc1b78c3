"""A channel whose users have several targets: each of them is sent a notification for itself."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gorgond.errors import ConfigError, NotSent, Undeliverable
from gorgond.notifiers import NOTIFIERS
from gorgond.redpill import Attempts, Message, Producer
from gorgond.roles import notify
from gorgond.service.fabric import connect_fabric
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_email import at_broker
from tests.integration.test_notifications import APPS, Reader, tell
from tests.integration.website import Website
from tests.waiting import eventually

QUEUE = "notify_put:pager"
SENT: dict[str, list[str]] = defaultdict(list)  # ids of notifications, by the pager's document's id
TRIED: list[tuple[str, str]] = []
FAILS: dict[str, Callable[[], Exception]] = {}  # by the pager's document's id


@pytest.fixture(scope="module")
def house(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("pagers")
    conf = directory / "gorgond.conf"
    conf.write_text("[notify.pager]\nkind = pager\nrate = 60000\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.setitem(NOTIFIERS.table, "pager", "pager:PagerNotifier")
        patch.setattr(notify, "PATIENT", Attempts(most=1_000_000, first=0.05, longest=0.2))
        with Website(
            module_redis.url, directory, conf=str(conf), app__module=APPS, auth__address_attempts="100000"
        ) as house:
            vars(importlib.import_module("pager")).update(SENT=SENT, TRIED=TRIED, FAILS=FAILS)
            yield house


@pytest.fixture
def nora(house: Website) -> Iterator[Reader]:
    yield Reader(house)
    SENT.clear()
    TRIED.clear()
    FAILS.clear()


def store(house: Website, *pagers: dict[str, Any]) -> None:
    async def push() -> None:
        async with Producer(connect_fabric(house.config).durable, "test") as producer:
            await producer.push("store_put", Message("pagers.insert", {"documents": pagers}))

    asyncio.run(push())
    eventually(lambda: len(documents(house, "pagers")) >= len(pagers))


def documents(house: Website, collection: str, **filter: Any) -> list[dict[str, Any]]:
    database = open_store(house.config.store.url)
    try:
        (found,) = database.find([Query(collection, filter, (("id", 1),), 1000)])
        assert isinstance(found, bytes)
        return list(json.loads(found))
    finally:
        database.close()


def deliveries(house: Website, user: str) -> dict[str, dict[str, Any]]:
    """A user's, by target."""
    return {each["target"]: each for each in documents(house, "deliveries", userid=user)}


def quiet(house: Website) -> bool:
    counts = at_broker(house, lambda link: link.counts(["notify_put", QUEUE]))
    return all(each.queued == each.in_flight == each.delayed == 0 for each in counts)


def test_each_target_is_sent_it_once(house: Website, nora: Reader) -> None:
    # given a user with three pagers, one of which is off, and one of which does not want all kinds; and another user
    other = Reader(house)
    store(
        house,
        {"id": f"{nora.id}:a", "state": "on"},
        {"id": f"{nora.id}:b", "state": "on", "unwanted": [LOGIN]},
        {"id": f"{nora.id}:c", "state": "off"},
        {"id": f"{other.id}:d", "state": "on"},
    )
    # when she is told something, twice over, and once with a key by two
    one, two = tell(house, nora.id, COMMENT), tell(house, nora.id, LOGIN)
    keyed = {tell(house, nora.id, COMMENT, key="k") for _ in range(2)}
    # then each pager that wants it has it once, and nobody else has
    eventually(lambda: len(SENT[f"{nora.id}:a"]) == 3 and len(SENT[f"{nora.id}:b"]) == 2 and quiet(house))
    assert sorted(SENT[f"{nora.id}:a"]) == sorted([one, two, *keyed])
    assert sorted(SENT[f"{nora.id}:b"]) == sorted([one, *keyed])
    assert {each for each, sent in SENT.items() if sent} == {f"{nora.id}:a", f"{nora.id}:b"}
    # and of each there is a delivery
    found = documents(house, "deliveries", userid=nora.id)
    assert {each["id"] for each in found} == {
        *(f"{nora.id}:{id}:pager:a" for id in (one, two, *keyed)), *(f"{nora.id}:{id}:pager:b" for id in (one, *keyed)),
    }  # fmt: skip
    assert {(each["channel"], each["state"]) for each in found} == {("pager", "sent")}


def test_one_that_fails_delays_no_other(house: Website, nora: Reader, expected_logs: Any) -> None:
    expected_logs("gives up 1 message of notify_put:pager: no such pager")
    store(house, *({"id": f"{nora.id}:{name}", "state": "on"} for name in "abc"))
    # given a pager that is away, and one that there is none of any more
    FAILS[f"{nora.id}:a"] = lambda: NotSent("no answer")
    FAILS[f"{nora.id}:b"] = lambda: Undeliverable("no such pager")
    tell(house, nora.id)
    eventually(lambda: [pager for pager, _ in TRIED].count(f"{nora.id}:a") >= 3 and SENT[f"{nora.id}:c"])
    assert len(SENT[f"{nora.id}:c"]) == 1
    # when it is back, then it has it, and each was tried for itself
    del FAILS[f"{nora.id}:a"]
    eventually(lambda: SENT[f"{nora.id}:a"] and quiet(house))
    assert len(SENT[f"{nora.id}:a"]) == len(SENT[f"{nora.id}:c"]) == 1
    states = {name: each["state"] for name, each in deliveries(house, nora.id).items()}
    assert states == {"a": "sent", "b": "dead", "c": "sent"}


def test_who_has_no_target_is_sent_nothing(house: Website, nora: Reader) -> None:
    tell(house, nora.id)
    nora.got(1)
    eventually(lambda: quiet(house))
    assert TRIED == []


def test_what_is_not_wanted_over_a_channel_none_of_its_targets_is_sent(house: Website, nora: Reader) -> None:
    store(house, {"id": f"{nora.id}:a", "state": "on"})
    assert nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/pager", {"on": False}).status == 200
    tell(house, nora.id)
    nora.got(1)
    eventually(lambda: quiet(house))
    assert TRIED == []


def test_what_a_server_of_before_had_begun_is_sent(house: Website, nora: Reader) -> None:
    # given a delivery that a notification server of an earlier version began, and died
    store(house, {"id": f"{nora.id}:a", "state": "on"})
    nid = "0" * 32
    args = {"id": nid, "user": nora.id, "kind": COMMENT, "title": "A", "data": None, "at": 1_700_000_000_000}
    begun = {"id": f"{nora.id}:{nid}:pager:a", "userid": nora.id, "kind": COMMENT, "by": "m", "state": "sending"}

    async def push() -> None:
        async with Producer(connect_fabric(house.config).durable, "test") as producer:
            await producer.push("store_put", Message("deliveries.insert", {"documents": [begun]}))
            await producer.push(QUEUE, Message("notify.send", {**args, "target": "a"}, "m"))
            await producer.push(QUEUE, Message("notify.send", {**args, "target": "a"}, "of the same key"))

    asyncio.run(push())
    eventually(lambda: SENT[f"{nora.id}:a"] and quiet(house))
    # then who handles its message sends it, and nobody else
    assert SENT[f"{nora.id}:a"] == [nid]


def test_targets_are_those_of_one_channel(house: Website, tmp_path: Path) -> None:
    conf = tmp_path / "gorgond.conf"
    conf.write_text("[notify.one]\nkind = pager\n[notify.other]\nkind = pager\n")
    with (
        pytest.raises(ConfigError, match=r"\[notify.other\]: \[notify.one\] sends to the same pagers: one of them"),
        Website(house.config.broker.url, tmp_path, conf=str(conf)),
    ):
        pass
