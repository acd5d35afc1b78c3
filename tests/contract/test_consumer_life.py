"""Consumer: how it ends, is replaced, found dead, and shows that it lives; in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import pytest

from gorgond.redpill import (
    DONE,
    Consumer,
    Hooks,
    Message,
    Outcome,
    Producer,
    QueueFull,
    Superseded,
    connect,
)
from gorgond.redpill import session as session_module
from gorgond.redpill.broker import Claim
from gorgond.redpill.memory import MemoryBroker
from tests.conftest import RedisServer
from tests.contract.stage import OUTAGE, Expect, Handler, Stage, messages, running
from tests.waiting import eventually_async


async def test_stop_finishes_the_batch_and_gives_back_the_rest(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("consumer found 3 unfinished on its desk of q")
    # given a consumer that found three messages on its desk, handles them two at a time, and is at the first two
    await stage.push(*messages("abc"))
    async with stage.link() as dead:
        token, _ = await dead.take("q", "consumer")
        await dead.claim("q", "consumer", token, Claim(1, want=3))
    started, finish = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def slow(batch: Sequence[Message]) -> Sequence[Outcome]:
        started.set()
        await finish.wait()
        handled.extend(message.id for message in batch)
        return [DONE] * len(batch)

    consumer = Consumer(stage.broker, "q", "consumer", slow, batch=4)
    async with running(consumer):
        await started.wait()
        # when it is stopped
        consumer.stop()
        finish.set()

    # then they are done, and the third is back with no further attempt counted
    assert handled == ["a", "b"]
    counts = await stage.counts()
    assert (counts.done, counts.queued, counts.in_flight) == (2, 1, 0)
    successor = Handler()
    async with running(Consumer(stage.broker, "q", "other", successor)):
        await stage.done(3)
    assert (successor.batches, successor.attempts) == ([["c"]], [2])


async def test_an_idle_consumer_stops_though_the_broker_is_away(
    expected_logs: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorgond.redpill.session.LEAVE", 0.1)
    expected_logs(OUTAGE)
    expected_logs("could not give up its desk")
    broker = MemoryBroker()
    consumer = Consumer(broker, "q", "consumer", Handler())
    async with running(consumer):
        await eventually_async(lambda: consumer._session.token)
        broker.kill()
        await eventually_async(lambda: broker.outage.length)


async def test_the_newer_of_two_consumers_of_a_name_wins(stage: Stage) -> None:
    older = Consumer(stage.broker, "q", "consumer", Handler())
    task = asyncio.create_task(older.run())
    await eventually_async(lambda: older._session.token)
    newer = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", newer)):
        with pytest.raises(Superseded):
            await asyncio.wait_for(task, 60)
        await stage.push(*messages("a"))
        await stage.done(1)
    assert newer.ids == ["a"]


async def test_a_consumer_whose_desk_was_given_to_others_goes_on(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("consumer has lost its desk of q")
    # given a consumer in the middle of a batch
    started, finish = asyncio.Event(), asyncio.Event()
    first: list[str] = []

    async def slow(batch: Sequence[Message]) -> Sequence[Outcome]:
        first.extend(message.id for message in batch)
        started.set()
        await finish.wait()
        return [DONE] * len(batch)

    await stage.push(*messages("ab"))
    async with running(Consumer(stage.broker, "q", "consumer", slow)):
        await started.wait()
        # when its desk is returned to the queue and another one does the work
        async with stage.link() as link:
            assert await link.recover("q", 0) == [("consumer", 2)]
        other = Handler()
        async with running(Consumer(stage.broker, "q", "other", other)):
            await stage.done(2)
        finish.set()
        # then its own settlement is void, and it goes on
        await stage.push(*messages("c"))
        await stage.done(3)
    assert (first, other.ids) == (["a", "b", "c"], ["a", "b"])


async def test_a_long_handler_is_not_taken_for_dead(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SILENCE", 0.8)
    other = Handler()

    async def long(batch: Sequence[Message]) -> Sequence[Outcome]:
        end = time.monotonic() + 2.0
        await eventually_async(lambda: time.monotonic() > end)
        return [DONE] * len(batch)

    await stage.push(*messages("a"))
    consumer = Consumer(stage.broker, "q", "long", long)
    async with running(consumer):
        await eventually_async(lambda: consumer._session.length)
        async with running(Consumer(stage.broker, "q", "other", other)):
            await stage.done(1)
    assert other.ids == []


async def test_a_dead_consumer_is_found_by_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, expected_logs: Expect
) -> None:
    expected_logs("long gone is silent: back in the queue: 2 messages of q")
    monkeypatch.setattr(session_module, "SILENCE", 0.8)
    await stage.push(*messages("ab"))
    async with stage.link() as link:
        token, _ = await link.take("q", "long gone")
        await link.claim("q", "long gone", token, Claim(1, want=2))
    handler = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        await stage.done(2)
    assert (handler.batches, handler.attempts) == ([["a", "b"]], [2, 2])


async def test_a_dead_consumer_is_found_by_another_whose_handler_takes_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, expected_logs: Expect
) -> None:
    expected_logs("long gone is silent: back in the queue: 2 messages of q")
    monkeypatch.setattr(session_module, "SILENCE", 2.0)
    monkeypatch.setattr("random.uniform", lambda low, high: high)  # the least often that it looks
    # given a consumer that went away, and no other than one that does not come to its end before that is found
    await stage.push(*messages("ab"))
    async with stage.link() as link:
        token, _ = await link.take("q", "long gone")
        await link.claim("q", "long gone", token, Claim(1, want=2))
        handled: list[str] = []

        async def recovered() -> bool:
            return (await link.counts(["q"]))[0].recovered == 2

        async def long(batch: Sequence[Message]) -> Sequence[Outcome]:
            handled.extend(message.id for message in batch)
            await eventually_async(recovered)
            return [DONE] * len(batch)

        # when that one handles its batch, then it finds it meanwhile
        await stage.push(*messages("c"))
        async with running(Consumer(stage.broker, "q", "consumer", long)):
            await stage.done(3)
    assert handled == ["c", "a", "b"]


async def test_every_claim_beats_and_a_hanging_handler_does_not(stage: Stage) -> None:
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    started, finish = asyncio.Event(), asyncio.Event()

    async def hanging(batch: Sequence[Message]) -> Sequence[Outcome]:
        started.set()
        await finish.wait()
        return [DONE] * len(batch)

    consumer = Consumer(stage.broker, "q", "consumer", hanging, hooks=Hooks(beat=beat))
    async with running(consumer):
        await eventually_async(lambda: beats > 5)  # it waits for work
        await stage.push(*messages("a"))
        await started.wait()
        at_start, end = beats, time.monotonic() + 0.2
        await eventually_async(lambda: time.monotonic() > end)
        assert beats == at_start
        finish.set()
        await stage.done(1)
        assert beats > at_start


async def test_consumers_on_a_redis_without_memory_are_calm_and_drain_it(
    redis_factory: Callable[..., RedisServer],
) -> None:
    # given a full Redis
    server = redis_factory(maxmemory="4mb")
    stage = Stage(connect(server.url, durable=False))
    async with Producer(stage.broker, "p") as producer:
        pushed = 0
        with contextlib.suppress(QueueFull):
            while True:
                await producer.push("full", *(Message("op", {"text": "x" * 1000}) for _ in range(50)))
                pushed += 50
    # when a consumer waits at an empty queue, it neither spins nor complains (a warning would fail this test)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    idle = Consumer(stage.broker, "idle", "consumer", Handler(), hooks=Hooks(beat=beat))
    async with running(idle):
        began = time.monotonic()
        await eventually_async(lambda: beats > 9)
        assert beats / (time.monotonic() - began) < 80  # a second, with waits of 0.05 s
        # and the full queue is emptied by another, which also announces what it does
        async with Producer(stage.broker, "events") as events, stage.link() as link:
            await link.join("topic", "group", 1000)

            async def announce(batch: Sequence[Message]) -> Sequence[Outcome]:
                await events.publish("topic", *(Message("event", message.args) for message in batch))
                return [DONE] * len(batch)

            async with running(Consumer(stage.broker, "full", "consumer", announce)):
                await stage.done(pushed, "full")
    assert (await stage.counts("topic/group")).accepted == pushed
