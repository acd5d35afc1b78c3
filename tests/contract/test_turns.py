"""Consumers of a queue on Redis take turns: one has the batches, the others stand by and look after what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import redis

from gorgond.redpill import DONE, AnyConsumer, ConcurrentConsumer, Consumer, Message, Outcome, Producer, connect, keys
from gorgond.redpill.broker import AT_QUEUE, LOOKING, STANDING_BY, Failure
from tests.conftest import RedisServer
from tests.contract.bench import Bench, raw, raws
from tests.contract.puppet import Puppet
from tests.waiting import eventually_async

MANY = 8


@pytest.fixture
def bench(shared_redis: RedisServer) -> Bench:
    with redis.Redis.from_url(shared_redis.url) as client:
        client.flushall()
    return Bench(connect(shared_redis.url, durable=False))


async def patient(bench: Bench, name: str) -> Puppet:
    puppet = await bench.consumer(name)
    puppet.patience = 60_000  # whatever the machine is doing meanwhile
    return puppet


async def test_the_others_leave_to_the_one_whose_turn_it_is_what_is_no_batch(bench: Bench) -> None:
    one, two = await patient(bench, "one"), await patient(bench, "two")
    # given one who has the turn, and waits at the queue
    assert (await one.claim(want=3), one.stand) == ([], AT_QUEUE)
    # when another one comes, then it stands by
    assert await two.claim(want=3) == []
    # and of what comes it takes what would fill a batch, and nothing else
    await bench.push(*raws("ab"))
    assert await two.claim(want=3) == []
    assert two.stand == LOOKING
    await bench.push(raw("c"))
    assert await two.claim(want=3) == raws("abc")
    await bench.push(raw("d"))
    assert await two.claim(done=3, want=3) == []
    assert await one.claim(want=3) == [raw("d")]


async def test_one_who_does_not_claim_loses_its_turn(bench: Bench) -> None:
    one, two = await patient(bench, "one"), await patient(bench, "two")
    await one.claim()
    waiting = asyncio.create_task(one.wait(30))
    await two.claim()
    # given one who hangs with the message that it was given as it waited
    await eventually_async(lambda: _blocked(bench, 1))
    await bench.push(raw("a"))
    assert await waiting == raw("a")
    # when another message comes, then the bell rings
    await bench.push(raw("b"))
    assert await bench.link().stand_by("q", 30)
    # and who looks leaves it alone for as long as it has patience, and no longer
    assert await two.claim(want=2) == []
    two.patience = 1
    await asyncio.sleep(0.002)
    assert await two.claim(want=2) == [raw("b")]
    # and has the turn from now on
    assert (await two.claim(done=1), two.stand) == ([], AT_QUEUE)
    assert (await one.claim(done=1), one.stand) == ([], STANDING_BY)


async def test_who_was_rung_for_and_is_busy_now_is_not_relied_on(bench: Bench) -> None:
    # given one who hangs as it waits, and another who was rung for, and took what came
    one, two = await patient(bench, "one"), await patient(bench, "two")
    await one.claim()
    await bench.push(raw("a"))
    assert await one.wait() == raw("a")
    await bench.push(raw("b"))
    assert await bench.link().stand_by("q", 30)
    assert await two.claim(want=1) == [raw("b")]
    # when more comes at once, then the bell rings for a third
    await bench.push(raw("c"))
    assert await bench.link().stand_by("q", 30)


async def test_a_single_message_for_one_who_waits_wakes_nobody_else(bench: Bench) -> None:
    one = await patient(bench, "one")
    for number in range(3):
        await one.claim(done=min(number, 1))
        await bench.push(raw("a"))
        assert not await bench.link().stand_by("q", 0.01)
        assert await one.wait() == raw("a")
    # but two messages do, of which it gets one
    await one.claim(done=1)
    await bench.push(*raws("bc"))
    assert await bench.link().stand_by("q", 30)


async def test_a_second_one_waits_at_the_queue_while_the_first_does(bench: Bench) -> None:
    one, two, three = [await patient(bench, name) for name in ("one", "two", "three")]
    await one.claim()
    await asyncio.sleep(0.002)
    two.patience = three.patience = 1
    assert (await two.claim(), two.stand) == ([], AT_QUEUE)
    assert (await three.claim(), three.stand) == ([], STANDING_BY)
    # so that it gets what comes when the first is dead, and has the turn then
    await bench.push(raw("a"))
    assert await two.wait() == raw("a")
    assert (await two.claim(done=1), two.stand) == ([], AT_QUEUE)


async def test_what_is_due_is_not_left_to_one_who_died_as_it_waited(bench: Bench) -> None:
    # given a message that is for later, and one who dies as it waits at the queue
    one, two = await patient(bench, "one"), await patient(bench, "two")
    await bench.push(raw("a"))
    assert await one.claim() == [raw("a")]
    put_off = [Failure(0, 0.001, "for a newer one", started=False)]
    assert (await one.claim(done=1, failures=put_off), one.stand) == ([], AT_QUEUE)
    await asyncio.sleep(0.002)
    # when it is due, then another one leaves it alone for as long as it has patience, and no longer
    assert (await two.claim(want=2), two.stand) == ([], LOOKING)
    two.patience = 1
    await asyncio.sleep(0.002)
    assert len(await two.claim(want=2)) == 1


@pytest.mark.parametrize("how", ["leaves", "comes back", "resumed", "requeued"])
async def test_who_stands_by_is_rung_for(bench: Bench, how: str) -> None:
    one = await patient(bench, "one")
    await bench.push(*raws("ab"))
    assert await one.claim(want=2) == raws("ab")
    if how == "leaves":
        await one.leave()
    elif how == "comes back":
        await bench.link().recover("q", 0)
    elif how == "resumed":
        await bench.link().pause("q")
        await bench.push(raw("c"))
        assert not await bench.link().stand_by("q", 0.01)
        await bench.link().resume("q")
    else:
        await one.claim(done=2, failures=[], want=0)
        await bench.push(raw("c"))
        await bench.link().stand_by("q", 30)
    if how != "requeued":
        assert await bench.link().stand_by("q", 30)


class Slow:
    """Handles messages; those called `slow` take until the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.handled: list[str] = []
        self.begun = 0  # that are slow

    def has(self, number: int) -> bool:
        return len(self.handled) == number

    async def __call__(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        for message in batch:
            if message.op == "slow":
                self.begun += 1
                await self.gate.wait()
        self.handled += [message.id for message in batch]
        return [DONE] * len(batch)


@contextlib.asynccontextmanager
async def running(*consumers: AnyConsumer) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        for consumer in consumers:
            consumer.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


async def _blocked(bench: Bench, number: int) -> bool:
    with redis.Redis.from_url(bench.broker.url) as client:
        return int(client.info("clients")["blocked_clients"]) == number


async def test_batches_stay_when_consumers_become_more(bench: Bench) -> None:
    # given eight idle consumers of a queue
    handler = Slow()
    consumers = [Consumer(bench.broker, "q", f"consumer{number}", handler) for number in range(MANY)]
    async with running(*consumers), Producer(bench.broker, "p") as producer:
        await eventually_async(lambda: _blocked(bench, MANY))
        # when batches come for each of which one is enough
        for _ in range(50):
            await producer.push("q", *(Message("op") for _ in range(MANY)))
        await eventually_async(lambda: handler.has(50 * MANY))
        # then most of them are not torn apart: some two claims a batch, where each consumer took one message
        assert sum(consumer.tally.batches for consumer in consumers) < 4 * 50


@pytest.mark.parametrize("slow", [1, MANY - 1])
async def test_slow_ones_hold_up_nobody(bench: Bench, slow: int) -> None:
    # given consumers of which all but the last are busy for long
    handler = Slow()
    consumers = [Consumer(bench.broker, "q", f"consumer{number}", handler, 1) for number in range(MANY)]
    async with running(*consumers), Producer(bench.broker, "p") as producer:
        for _ in range(slow):
            await producer.push("q", Message("slow"))
        # when single messages come, each when the one before is done, then none waits for those
        for number in range(20):
            await producer.push("q", Message("op"))
            await eventually_async(functools.partial(handler.has, number + 1))
        handler.gate.set()
        await eventually_async(lambda: handler.has(20 + slow))


@pytest.mark.parametrize("kind", [Consumer, ConcurrentConsumer])
async def test_an_idle_one_stops_at_once(
    bench: Bench, kind: type[Consumer | ConcurrentConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given consumers that wait, at the queue and standing by, for as long as it takes
    monkeypatch.setattr("gorgond.redpill.session.IDLE", 600.0)
    handler = Slow()

    async def work(message: Message) -> Outcome:
        return (await handler([message]))[0]

    consumers: list[AnyConsumer] = [
        kind(bench.broker, "q", f"consumer{number}", handler if kind is Consumer else work)  # type: ignore[arg-type]
        for number in range(3)
    ]
    began = time.monotonic()
    async with running(*consumers):
        await eventually_async(lambda: _blocked(bench, 3))
    # then they end all the same, and leave nothing behind
    assert time.monotonic() - began < 60
    await bench.push(raw("a"))
    assert await bench.places() == (1, 0, 0, 0)


async def test_what_comes_without_a_ring_is_found_all_the_same(bench: Bench) -> None:
    # given one consumer of two that is busy for long
    handler = Slow()
    consumers = [Consumer(bench.broker, "q", f"consumer{number}", handler) for number in range(2)]
    async with running(*consumers), Producer(bench.broker, "p") as producer:
        await producer.push("q", Message("slow"))
        await eventually_async(lambda: handler.begun)
        # when messages come past the scripts, as from a process that knows of no bell
        with redis.Redis.from_url(bench.broker.url) as client:
            client.rpush(keys.queue("q"), raw("a"), raw("b"))
        # then the other one looks and finds them
        await eventually_async(lambda: handler.handled == ["a", "b"])
        handler.gate.set()
        await eventually_async(lambda: handler.has(3))


async def test_those_that_take_no_turns_share_a_queue_with_those_that_do(bench: Bench) -> None:
    # given a consumer of before, which takes what there is and waits at the queue with the others
    handler, before = Slow(), await bench.consumer("before")
    consumers = [Consumer(bench.broker, "q", f"consumer{number}", handler) for number in range(3)]
    taken: list[bytes] = []

    async def take() -> None:
        done = 0
        while len(handler.handled) + len(taken) < 400:
            messages = await before.claim(done, want=3)
            done = len(messages)
            if not messages and (message := await before.wait(0.05)) is not None:
                messages, done = [message], 1
            taken.extend(messages)

    async with running(*consumers), Producer(bench.broker, "p") as producer:
        taking = asyncio.create_task(take())
        # when many messages come
        for _ in range(100):
            await producer.push("q", *(Message("op") for _ in range(4)))
        # then each is handled once
        await asyncio.wait_for(taking, 60)
        await eventually_async(lambda: handler.has(400 - len(taken)))
        assert len(set(handler.handled)) == len(handler.handled)
