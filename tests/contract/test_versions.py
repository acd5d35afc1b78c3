"""The version of keys and scripts, as the broker says it: of another major one nobody takes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gorgond.redpill import DONE, BrokerRefused, Consumer, Link, Message, Outcome, Producer, connect, keys, protocol
from tests.conftest import RedisServer


async def push(url: str) -> None:
    async with Producer(connect(url, durable=False), "test") as producer:
        await producer.push("q", Message("op"))


async def test_the_version_is_noted_where_none_is(redis_server: RedisServer) -> None:
    # given a broker of before there were versions, which has messages
    await push(redis_server.url)
    redis_server.cli("DEL", keys.PROTOCOL)
    # when somebody connects
    await push(redis_server.url)
    # then it says ours
    assert redis_server.cli("GET", keys.PROTOCOL) == protocol.VERSION
    assert redis_server.cli("LLEN", keys.queue("q")) == "2"


OTHERS = {
    "2.0": "its keys and scripts are of version 2.0, and ours of 1.1: upgrade this gorgond",
    "0.9": "its keys and scripts are of version 0.9, and ours of 1.1: upgrade the gorgond of all others that use it",
    "one": "its gorgon:protocol is 'one', which is no version: is it the Redis of another program?",
}


@pytest.mark.parametrize("version", OTHERS)
async def test_another_major_version_is_refused(redis_server: RedisServer, version: str) -> None:
    # given a broker whose keys mean we do not know what
    redis_server.cli("SET", keys.PROTOCOL, version)

    async def handle(messages: Sequence[Message]) -> Sequence[Outcome]:
        return [DONE] * len(messages)

    # then nobody pushes there, nobody consumes, and both say what to upgrade
    with pytest.raises(BrokerRefused) as refused:
        await push(redis_server.url)
    assert str(refused.value) == OTHERS[version]
    with pytest.raises(BrokerRefused) as refused:
        await Consumer(connect(redis_server.url, durable=False), "q", "consumer", handle).run()
    assert str(refused.value) == OTHERS[version]
    # and nothing was changed
    assert redis_server.cli("KEYS", "*") == keys.PROTOCOL
    assert redis_server.cli("GET", keys.PROTOCOL) == version


@pytest.mark.parametrize(("there", "then"), [("1.2", "1.3"), ("1.3", "1.3"), ("1.12", "1.12")])
async def test_a_later_minor_version_is_noted(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, there: str, then: str
) -> None:
    monkeypatch.setattr(protocol, "MINOR", 3)
    monkeypatch.setattr(protocol, "VERSION", "1.3")
    redis_server.cli("SET", keys.PROTOCOL, there)
    await push(redis_server.url)
    assert redis_server.cli("GET", keys.PROTOCOL) == then


async def test_each_connection_asks(redis_server: RedisServer) -> None:
    # given somebody who is connected when the broker is taken over by a later version
    link: Link = connect(redis_server.url, durable=False).link("test")
    await link.ping()
    redis_server.cli("SET", keys.PROTOCOL, "2.0")
    await link.ping()
    # when the connection is made anew
    await link.close()
    # then it is refused
    with pytest.raises(BrokerRefused):
        await link.ping()


async def test_of_two_who_find_none_the_first_is_right(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two of different versions that connect to a new broker at the same time
    first = connect(redis_server.url, durable=False).link("first")
    await first.ping()
    redis_server.cli("DEL", keys.PROTOCOL)
    outdated = protocol.is_outdated

    def meanwhile(said: str) -> bool:
        redis_server.cli("SET", keys.PROTOCOL, "2.0")
        return outdated(said)

    # when the other one is quicker
    monkeypatch.setattr(protocol, "is_outdated", meanwhile)
    with pytest.raises(BrokerRefused):
        await connect(redis_server.url, durable=False).link("second").ping()
    # then what it has put there stays
    assert redis_server.cli("GET", keys.PROTOCOL) == "2.0"
    await first.close()


RIGHTS = {"no right to look": "", "no right to note it": "%R~gorgon:protocol"}


@pytest.mark.parametrize("right", RIGHTS.values(), ids=RIGHTS)
async def test_who_has_not_the_right_works_all_the_same(redis_server: RedisServer, right: str) -> None:
    # given a user as those of an earlier gorgond, or as those of roles
    await push(redis_server.url)
    redis_server.cli("DEL", keys.PROTOCOL)
    redis_server.cli("ACL", "SETUSER", "web", "on", "nopass", "+@all", "&*", "~gorgon:{*", *right.split())
    # then it pushes, and whoever may notes the version
    await push(f"unix://web:x@{redis_server.socket}")
    assert redis_server.cli("LLEN", keys.queue("q")) == "2"
    assert redis_server.cli("GET", keys.PROTOCOL) == ""


async def test_a_broker_without_room_is_worked_with_all_the_same(redis_server: RedisServer) -> None:
    await push(redis_server.url)
    redis_server.cli("DEL", keys.PROTOCOL)
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    link = connect(redis_server.url, durable=False).link("test")
    (counts,) = await asyncio.wait_for(link.counts(["q"]), 60)
    assert counts.queued == 1
    await link.close()
