"""What was promised is on so many replicas: nobody is told that something counts which a dead master took along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gorgond.redpill import BrokerAway, Link, Message, Producer, Room, connect
from gorgond.redpill.broker import Batch, Failure, Later
from gorgond.redpill.rediswire import RedisWire
from gorgond.redpill.resp import Command
from tests.contract.bench import Bench, raws
from tests.contract.stage import OUTAGE, Stage
from tests.sets import MakeSet, Member, Set
from tests.waiting import HANGS, eventually, eventually_async

PROMISES: dict[str, Callable[[Link], Awaitable[object]]] = {
    "push": lambda link: link.push("p", Room(), [Batch("q", 1, raws("a"))]),
    "later": lambda link: link.push("p", Room(), [Batch("q", 1, (), later=[Later(raws("a")[0], 60_000)])]),
    "publish": lambda link: link.push("p", Room(), [Batch("t", 1, raws("a"), topic=True)]),
    "join": lambda link: link.join("t", "new", 10),
    "join again": lambda link: link.join("t", "group", 10),
    "part": lambda link: link.part("t", "group"),
    "forget": lambda link: link.forget("t", "group"),
    "lease": lambda link: link.lease("l", "me", 10),
    "requeue": lambda link: link.requeue("dying", 1),
    "drop": lambda link: link.drop("dying", 1),
    "pause": lambda link: link.pause("q"),
    "resume": lambda link: link.resume("paused"),
}
OTHERS: dict[str, Callable[[Link], Awaitable[object]]] = {
    "take": lambda link: link.take("q", "consumer"),
    "recover": lambda link: link.recover("q", 20.0),
    "reply": lambda link: link.reply("r", [b"{}\n"]),
    "fetch": lambda link: link.fetch(["r"], 0.01),
    "counts": lambda link: link.counts(["q"]),
    "dead": lambda link: link.dead("q"),
    "clock": lambda link: link.clock(),
}


@contextmanager
def held(*replicas: Member) -> Iterator[None]:
    """These get nothing from their master meanwhile."""
    for each in replicas:
        each.pause()
    try:
        yield
    finally:
        for each in replicas:
            each.resume()


@pytest.fixture
def copied(shared_set: Set) -> Bench:
    """A set of a master and a replica, which must have what counts."""
    return Bench(connect(shared_set.url(copies=1), durable=False))


@pytest.mark.parametrize("name", PROMISES)
async def test_a_promise_counts_when_the_replica_has_it(
    name: str, copied: Bench, shared_set: Set, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    # given what each of them needs
    link, promise = copied.link(), PROMISES[name]
    await link.join("t", "group", 10)
    await link.pause("paused")
    await copied.push(*raws("d"), queue="dying")
    consumer = await copied.consumer("c", "dying")
    await consumer.claim()
    await consumer.claim(done=1, want=0, failures=[Failure(0, None, "no")])
    # when the replica does not have it
    with held(shared_set.members[1]):
        # and a repeat, which finds that it was done, knows no better
        for _ in range(2):
            with pytest.raises(BrokerAway, match="0 of 1 replicas have what was sent"):
                await promise(link)
    # then it counts once it has, and happened once
    await promise(link)
    assert (await link.counts(["q"]))[0].accepted == (name in ("push", "later"))


@pytest.mark.parametrize("name", OTHERS)
async def test_all_else_waits_for_no_replica(name: str, copied: Bench, shared_set: Set) -> None:
    link = copied.link()
    await link.ping()
    with held(shared_set.members[1]):
        await OTHERS[name](link)


async def test_a_consumer_goes_on_without_replicas(copied: Bench, shared_set: Set) -> None:
    await copied.push(*raws("abc"))
    consumer = await copied.consumer()
    with held(shared_set.members[1]):
        assert len(await consumer.claim(want=3)) == 3
        assert await consumer.claim(done=3) == []
        assert await consumer.leave() == 0


async def test_a_round_waits_once_and_nobody_waits_who_did_not_ask(copied: Bench, shared_set: Set) -> None:
    master = shared_set.members[0]

    def waits() -> int:
        found = [line for line in master.cli("INFO", "commandstats").splitlines() if line.startswith("cmdstat_wait:")]
        return int(found[0].partition("calls=")[2].partition(",")[0]) if found else 0

    # given a round of many batches
    batches = [Batch(f"q{number}", number, raws("ab")) for number in range(1, 20)]
    before = waits()
    assert await copied.link().push("p", Room(), batches) == [None] * 19
    # then it waited once
    assert waits() == before + 1
    # and with copies=0, never
    plain = Bench(connect(shared_set.url(copies=0), durable=False))
    assert await plain.link().push("other", Room(), batches) == [None] * 19
    await plain.link().lease("l", "me", 10)
    assert waits() == before + 1


async def test_a_producer_sends_again_what_no_replica_had(
    copied: Bench, shared_set: Set, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    async with Producer(copied.broker, "p") as producer:
        with held(shared_set.members[1]):
            pushing = asyncio.create_task(producer.push("q", Message("op", id="a")))
            await eventually_async(lambda: copied.broker.outage.length)
            assert copied.broker.outage.reason == "0 of 1 replicas have what was sent"
            # an answer to something else does not say that it is back
            await copied.link().persist(copied.link().ping)
            assert copied.broker.outage.length
            assert not pushing.done()
        await pushing
    assert not copied.broker.outage.length
    assert (await Stage(copied.broker).counts()).accepted == 1


async def test_who_is_no_master_any_more_has_promised_nothing(
    copied: Bench, monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    link = copied.link()
    assert isinstance(link, RedisWire)
    await link.ping()
    asking = link._round

    async def demoted(commands: Sequence[Command], *more: Any) -> list[Any]:
        answers = await asking(commands, *more)
        return [*answers[:-1], [b"slave", b"10.0.0.2", 6379, b"connected", 7]] if ["ROLE"] in commands else answers

    # when another one has become the master before it says who follows it
    with monkeypatch.context() as patch:
        patch.setattr(link, "_round", demoted)
        with pytest.raises(BrokerAway, match="it is no master any more"):
            await PROMISES["push"](link)
    # then what was sent may be sent again, and counts once
    await PROMISES["push"](link)
    assert (await link.counts(["q"]))[0].accepted == 1


def has_all(master: Member, replica: Member) -> bool:
    """Whether a replica has told that it has all that the master has."""
    about = dict(line.split(":", 1) for line in master.cli("INFO", "replication").splitlines() if ":" in line)
    [row] = [text for text in about.values() if f"port={replica.place[1]}," in text]
    return f"offset={about['master_repl_offset'].strip()}," in row


async def told(link: Link, number: int) -> object:
    """What a push is told."""
    return await link.push("p", Room(), [Batch("q", number, raws("a"))])


async def waits(push: asyncio.Task[object], made: Set, number: int) -> bool:
    """Whether a push is told nothing, though the master has done it, and the second replica has it."""
    master, _, second = made.members
    known = connect(made.url(copies=0), durable=False).link("looking")
    await eventually_async(lambda: _accepted(known, number))
    await asyncio.to_thread(eventually, lambda: has_all(master, second))
    await known.close()  # and what the master has said by then was heard
    return not push.done()


async def _accepted(link: Link, number: int) -> bool:
    return (await link.counts(["q"]))[0].accepted == number


@pytest.mark.parametrize("make_set", ["redis", "valkey"], indirect=True)
async def test_what_counts_is_on_every_replica_that_keeps_step(
    make_set: MakeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of them may be the next master: one that a Sentinel does not reach just then has it for nobody."""
    made = make_set(down_after=600.0)
    first, link = made.members[1], connect(made.url(copies=1), durable=False).link("test")
    assert isinstance(link, RedisWire)
    # when one of two replicas does not have it yet, then it does not count yet, though one copy is asked for
    monkeypatch.setattr("gorgond.redpill.rediswire.COPY_TIMEOUT", HANGS)
    with held(first):
        push = asyncio.create_task(told(link, 1))
        assert await waits(push, made, 1)
    assert await push == [None]
    # when it does not come to have it, then it counts all the same, and the next one does not wait for that
    monkeypatch.setattr("gorgond.redpill.rediswire.COPY_TIMEOUT", 0.01)
    with held(first):
        assert await told(link, 2) == [None]
        monkeypatch.setattr("gorgond.redpill.rediswire.COPY_TIMEOUT", HANGS)
        assert await told(link, 3) == [None]
    # and when it has all again, then it is waited for again, also by what is just about to be sent
    sending = link._round

    async def sent(commands: Sequence[Command], *more: Any) -> list[Any]:
        if any("WAIT" in command for command in commands):
            monkeypatch.setattr(link, "_round", sending)
            first.resume()
            await asyncio.to_thread(eventually, lambda: has_all(made.members[0], first))
            first.pause()
        return await sending(commands, *more)

    monkeypatch.setattr(link, "_round", sent)
    with held(first):
        push = asyncio.create_task(told(link, 4))
        assert await waits(push, made, 4)
    assert await push == [None]
    await link.close()
