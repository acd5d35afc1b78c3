"""A failover that an operator asks for: the master takes no writes until another one has all that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
import redis

from gorgond.redpill import BrokerRefused, Consumer, Message, Producer, connect, failover
from gorgond.redpill.redisprotocol import RedisProtocol
from tests.contract.stage import OUTAGE, Handler, Stage, running
from tests.sets import NAME, PASSWORD, MakeSet, Member, Set
from tests.waiting import eventually, eventually_async

LOGIN = f"sentinel:{PASSWORD}"


def info(member: Member, field: str) -> str:
    about = dict(line.split(":", 1) for line in member.cli("INFO", "replication").splitlines() if ":" in line)
    return about[field]


async def test_what_is_pushed_meanwhile_is_there_and_all_follow_the_new_master(
    make_set: MakeSet, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    expected_logs("lost its desk|must have what counts the broker has 0 now")
    made, handler = make_set(), Handler()
    old = made.master()
    broker = connect(made.url(), durable=False)
    async with running(Consumer(broker, "q", "one", handler)), Producer(broker, "p") as producer:
        # given somebody who pushes all the time
        pushing = asyncio.create_task(_push(producer))
        # when an operator has another one made the master
        said = await broker.fail_over(LOGIN)
        # then it is so when that returns, and the old one follows it
        new = await asyncio.to_thread(made.master)
        assert said == (f"{old.place[0]}:{old.place[1]}", f"{new.place[0]}:{new.place[1]}")
        assert new is not old
        assert await asyncio.to_thread(info, old, "role") == "slave"
        # and nothing is lost
        await pushing
        await eventually_async(lambda: len(set(handler.ids)) == 300)
    await Stage(broker).settled()


async def _push(producer: Producer) -> None:
    for number in range(300):
        await producer.push("q", Message("op", id=f"{number}"))


async def test_a_replica_that_lacks_something_is_not_made_the_master(make_set: MakeSet) -> None:
    # given a replica that stands still, which no Sentinel has noticed yet
    made = make_set(replicas=1, down_after=60.0)
    master, replica = made.members
    replica.pause()
    master.cli("SET", "key", "text")
    # when an operator has another one made the master, then it is refused
    broker = connect(made.url(), durable=False)
    with pytest.raises(BrokerRefused, match="does not come to have all that the master has: try again"):
        await broker.fail_over(LOGIN)
    # and all is as it was: the master takes writes
    assert made.master() is master
    assert master.cli("SET", "key", "another") == "OK"
    # and when it goes on it may be
    replica.resume()
    await broker.fail_over(LOGIN)
    assert made.master() is replica
    assert replica.cli("GET", "key") == "another"


async def in_hand(some: Set) -> None:
    """Wait until a Sentinel was told, and another one may become the master at any moment."""
    await eventually_async(lambda: "failover_in_progress" in str(some.sentinels[0].tell("SENTINEL", "MASTER", NAME)))


def acknowledges(member: Member) -> bool:
    """Whether it takes a write now that counts, since a replica has it too."""
    host, port = member.place
    with redis.Redis(host, port, password=PASSWORD, socket_timeout=1) as client, suppress(redis.RedisError):
        pipeline = client.pipeline(transaction=False)
        pipeline.set("key", "text")
        pipeline.execute_command("WAIT", 1, 1000)
        return bool(pipeline.execute()[1])
    return False


async def test_one_that_is_cut_short_lets_the_old_master_acknowledge_nothing_more(make_set: MakeSet) -> None:
    # given a failover that a Sentinel was told of
    made = make_set()
    old = made.master()
    assert acknowledges(old)
    running = asyncio.create_task(connect(made.url(), durable=False).fail_over(LOGIN))
    await in_hand(made)
    # when its operator gives up
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # then the old master counts nothing more, which the new one would not have
    assert not acknowledges(old)
    assert made.switched(old) is not old


async def test_a_second_one_at_the_same_time_is_refused_and_disturbs_nothing(make_set: MakeSet) -> None:
    made = make_set()
    old, broker = made.master(), connect(made.url(), durable=False)
    first = asyncio.create_task(broker.fail_over(LOGIN))
    await in_hand(made)
    with pytest.raises(BrokerRefused, match="another failover is in hand: see what it comes to"):
        await broker.fail_over(LOGIN)
    assert not acknowledges(old)
    await first
    assert made.master() is not old


async def test_it_goes_on_when_a_sentinel_ends_all_connections_to_the_old_master(
    make_set: MakeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a Sentinel that turns the old master into a replica before we are told that there is another one
    made = make_set(replicas=1)
    old = made.master()
    order = failover._Failover._order

    async def ordered(self: failover._Failover, sentinel: RedisProtocol) -> None:
        await order(self, sentinel)
        await asyncio.to_thread(old.cli, "CLIENT", "KILL", "TYPE", "normal")

    monkeypatch.setattr(failover._Failover, "_order", ordered)
    # when an operator has another one made the master, then that is done
    await connect(made.url(), durable=False).fail_over(LOGIN)
    assert made.master() is not old


async def test_who_may_not_order_it_is_told_and_the_master_goes_on(make_set: MakeSet) -> None:
    made = make_set(replicas=1)
    master = made.master()
    with pytest.raises(BrokerRefused, match=r"NOPERM|NOAUTH"):
        await connect(made.url(), durable=False).fail_over()
    assert master.cli("SET", "key", "text") == "OK"


async def test_a_sentinel_that_hangs_is_passed_over(
    make_set: MakeSet, monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    monkeypatch.setattr(failover, "ANSWER", 1.0)
    # given Sentinels that anybody may order, so that nothing is asked of one when it is met, and the first hangs
    made = make_set(replicas=1)
    for each in made.sentinels:
        each.tell("ACL", "SETUSER", "default", "+@all", "~*", "&*")
    made.sentinels[0].pause()
    # when a failover is asked for, then another one of them does it
    old, new = await connect(made.url(), durable=False).fail_over()
    assert old != new


async def test_without_a_replica_nothing_is_done(make_set: MakeSet) -> None:
    made = make_set(replicas=1, down_after=1.0)
    made.members[1].kill()
    eventually(lambda: "s_down" in str(made.sentinels[0].tell("SENTINEL", "REPLICAS", "gorgon")))
    with pytest.raises(BrokerRefused, match="no replica is there that could take over"):
        await connect(made.url(), durable=False).fail_over(LOGIN)


async def test_one_server_has_none_that_could_take_over() -> None:
    with pytest.raises(BrokerRefused, match="is one server"):
        await connect("redis://localhost:1", durable=False).fail_over()
