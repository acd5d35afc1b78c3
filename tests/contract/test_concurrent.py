"""ConcurrentConsumer: messages are handled at the same time, answered as they finish; in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gorgond.redpill import (
    DONE,
    Broker,
    Caller,
    CallFailed,
    ConcurrentConsumer,
    ConcurrentSubscription,
    Counts,
    Dead,
    DeadlineExceeded,
    Done,
    Link,
    Message,
    Outcome,
    Producer,
    Retry,
    Superseded,
    connect,
    handling,
    now_ms,
)
from gorgond.redpill.broker import Claim
from tests.conftest import RedisServer
from tests.waiting import eventually_async

LATER = 60_000  # milliseconds: a deadline that no test reaches


@contextlib.asynccontextmanager
async def calling(broker: Broker) -> AsyncIterator[Callable[..., asyncio.Task[bytes]]]:
    """A function that begins a call, with the answer's body as its result."""
    async with Producer(broker, "test") as producer, Caller(broker, producer, "test_data", "test") as caller:

        async def ask(op: str, deadline: int) -> bytes:
            reply = await caller.call("q", Message(op, deadline=now_ms() + deadline))
            if reply.error is not None:
                raise reply.error
            return reply.body

        yield lambda op, deadline=LATER: asyncio.create_task(ask(op, deadline))


@contextlib.asynccontextmanager
async def running(consumer: ConcurrentConsumer) -> AsyncIterator[asyncio.Task[None]]:
    """Run the consumer; in the end it must stop well."""
    task = asyncio.create_task(consumer.run())
    try:
        yield task
        consumer.stop()
        await asyncio.wait_for(task, 60)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def counts(broker: Broker, queue: str = "q") -> Counts:
    link = broker.link("look")
    try:
        (found,) = await link.counts([queue])
    finally:
        await link.close()
    assert found.difference() == 0, found
    return found


async def wait_until_settled(broker: Broker, number: int, queue: str = "q") -> None:
    async def all_done() -> bool:
        found = await counts(broker, queue)
        return found.done == number and found.in_flight == 0

    await eventually_async(all_done)


class Gate:
    """Work that echoes the op, but waits at a gate for the messages called slow."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: Counter[str] = Counter()

    async def __call__(self, message: Message) -> Outcome:
        self.begun[message.op] += 1
        if message.op.startswith("slow"):
            await self.open.wait()
        return Done(message.op.encode())


async def test_a_slow_one_holds_up_nobody(broker: Broker) -> None:
    # given a slow message at the head, and a consumer that takes three at a time
    gate = Gate()
    consumer = ConcurrentConsumer(broker, "q", "consumer", gate, limit=3)
    async with calling(broker) as call, running(consumer):
        slow = call("slow")
        await eventually_async(lambda: gate.begun["slow"])
        # when many others come
        answers = await asyncio.gather(*(call(f"quick {number}") for number in range(100)))
        # then all of them are answered, and settled though it lies before them
        assert answers == [b"quick %d" % number for number in range(100)]
        await wait_until_settled_besides(broker, done=100, in_flight=1)
        assert not slow.done()
        # and it too once it may
        gate.open.set()
        assert await slow == b"slow"
        await wait_until_settled(broker, 101)


async def wait_until_settled_besides(broker: Broker, done: int, in_flight: int) -> None:
    async def so() -> bool:
        found = await counts(broker)
        return (found.done, found.in_flight) == (done, in_flight)

    await eventually_async(so)


async def test_no_more_than_the_limit_at_a_time(broker: Broker) -> None:
    # given ten slow messages and a limit of four
    gate = Gate()
    async with calling(broker) as call, running(ConcurrentConsumer(broker, "q", "consumer", gate, limit=4)):
        tasks = [call(f"slow {number}") for number in range(10)]
        await eventually_async(lambda: gate.begun.total() == 4)
        # then the others wait in the queue
        await wait_until_settled_besides(broker, done=0, in_flight=4)
        assert gate.begun.total() == 4
        gate.open.set()
        assert len(await asyncio.gather(*tasks)) == 10


async def test_what_each_outcome_means(broker: Broker, expected_logs: Callable[[str], None]) -> None:
    expected_logs("q: handling (raise|cancel)|gives up 1 message of q")
    starts: Counter[str] = Counter()

    async def work(message: Message) -> Outcome:
        starts[message.op] += 1
        if message.op == "raise":
            raise KeyError("x")
        if message.op == "cancel":
            raise asyncio.CancelledError
        if message.op == "once":
            return Retry("not yet") if starts["once"] == 1 else Done(b"twice")
        if message.op == "no":
            return Done(error=CallFailed(404, "no"))
        return Dead("why") if message.op == "dead" else DONE

    async with calling(broker) as call, running(ConcurrentConsumer(broker, "q", "consumer", work)):
        tasks = {op: call(op) for op in ("ok", "no", "dead", "once", "raise", "cancel")}
        assert await tasks["ok"] == b"null"
        assert await tasks["once"] == b"twice"
        for op, code in (("no", 404), ("dead", 500), ("raise", 500), ("cancel", 500)):
            with pytest.raises(CallFailed) as failed:
                await tasks[op]
            assert failed.value.code == code
        await wait_until_settled_besides(broker, done=3, in_flight=0)
    assert starts["raise"] == 3
    assert (await counts(broker)).dead == 3


async def test_a_message_past_its_deadline_is_not_begun(broker: Broker) -> None:
    gate = Gate()
    async with calling(broker) as call:
        late = 0
        while not late:  # a busy machine gives it up before it is pushed
            with pytest.raises(DeadlineExceeded):
                await call("late", 1)
            late = (await counts(broker)).accepted
        async with running(ConcurrentConsumer(broker, "q", "consumer", gate)):
            assert await call("quick") == b"quick"
    assert gate.begun["late"] == 0
    assert (await counts(broker)).expired == late


async def test_what_a_dead_consumer_had_is_done_by_its_successor_few_at_a_time(
    broker: Broker, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(r"found 5 unfinished on its desk")
    # given a consumer that dies with five in hand, of which one was answered
    gate = Gate()
    first = ConcurrentConsumer(broker, "q", "consumer", gate)
    async with calling(broker) as call:
        dying = asyncio.create_task(first.run())
        tasks = [call(f"slow {number}") for number in range(5)]
        await eventually_async(lambda: gate.begun.total() == 5)
        dying.cancel()
        await asyncio.wait({dying})
        # when one of its name comes
        most = 0
        under_way = 0

        async def work(message: Message) -> Outcome:
            nonlocal most, under_way
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return Done(b"%d" % message.attempts)

        async with running(ConcurrentConsumer(broker, "q", "consumer", work)):
            # then it answers them, but not all at once, since any may have killed the first: the root of its 16
            assert await asyncio.gather(*tasks) == [b"2"] * 5
            assert most == 4
            # and goes on as ever
            assert await asyncio.gather(*(call(f"quick {number}") for number in range(20))) == [b"0"] * 20
            await wait_until_settled(broker, 25)


async def test_a_suspect_in_the_queue_waits_until_it_can_be_alone(broker: Broker) -> None:
    # given a consumer with a slow message in hand, and a message in the queue whose consumer was killed
    gate = Gate()
    async with calling(broker) as call, running(ConcurrentConsumer(broker, "q", "consumer", gate)):
        slow = call("slow")
        await eventually_async(lambda: gate.begun["slow"])
        async with Producer(broker, "other") as producer:
            await producer.push("q", Message("suspect", attempts=1))
        await wait_until_settled_besides(broker, done=0, in_flight=2)
        assert gate.begun["suspect"] == 0
        # when the slow one is done
        gate.open.set()
        await slow
        # then it is its turn
        await eventually_async(lambda: gate.begun["suspect"])
        await wait_until_settled(broker, 2)


async def test_a_newer_consumer_of_its_name_ends_it(broker: Broker, expected_logs: Callable[[str], None]) -> None:
    expected_logs("unfinished on its desk")
    gate = Gate()
    old = asyncio.create_task(ConcurrentConsumer(broker, "q", "consumer", gate).run())
    async with calling(broker) as call:
        slow = call("slow")
        await eventually_async(lambda: gate.begun["slow"])
        async with running(ConcurrentConsumer(broker, "q", "consumer", gate)):
            with pytest.raises(Superseded):
                await asyncio.wait_for(old, 60)
            gate.open.set()
            assert await slow == b"slow"


async def test_stopping_finishes_what_is_in_hand(broker: Broker) -> None:
    gate = Gate()
    consumer = ConcurrentConsumer(broker, "q", "consumer", gate, limit=2)
    async with calling(broker) as call:
        task = asyncio.create_task(consumer.run())
        slow = [call(f"slow {number}") for number in range(5)]
        await eventually_async(lambda: gate.begun.total() == 2)
        consumer.stop()
        gate.open.set()
        await asyncio.wait_for(task, 60)
        # then the two it had are answered, and the others are in the queue
        await wait_until_settled_besides(broker, done=2, in_flight=0)
        assert (await counts(broker)).queued == 3
        for each in slow:
            each.cancel()


async def test_a_group_hears_each_event_once(broker: Broker) -> None:
    heard: Counter[int] = Counter()

    async def work(event: Message) -> Outcome:
        heard[event.args["n"]] += 1
        return DONE

    consumers = [ConcurrentSubscription(broker, "t", "g", f"consumer {number}", work) for number in range(2)]
    async with running(consumers[0]), running(consumers[1]), Producer(broker, "test") as producer:
        await asyncio.gather(*(consumer.joined.wait() for consumer in consumers))
        await producer.publish("t", *(Message("e", {"n": number}) for number in range(200)))
        await eventually_async(lambda: heard.total() == 200)
        await wait_until_settled(broker, 200, "t/g")
    assert set(heard.values()) == {1}


async def test_an_outage_is_a_pause(
    redis_factory: Callable[..., RedisServer], expected_logs: Callable[[str], None]
) -> None:
    # given jobs and calls in hand at a Redis that keeps what it has
    expected_logs("is away, waiting for it|is back after")
    redis_server = redis_factory(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")
    gate = Gate()
    broker = connect(redis_server.url)
    async with calling(broker) as call, running(ConcurrentConsumer(broker, "q", "consumer", gate)):
        calls = [call(f"slow call {number}") for number in range(5)]
        async with Producer(broker, "jobs") as producer:
            await producer.push("q", *(Message(f"slow job {number}") for number in range(5)))
        await eventually_async(lambda: gate.begun.total() == 10)
        # when it dies and comes back, and they finish meanwhile
        await asyncio.to_thread(redis_server.kill)
        gate.open.set()
        await asyncio.sleep(0)
        await asyncio.to_thread(redis_server.start)
        # then all are answered and settled, and the consumer begins nothing twice; calls may be pushed again by who
        # waits
        assert await asyncio.gather(*calls) == [b"slow call %d" % number for number in range(5)]
        assert await call("quick") == b"quick"

        async def all_settled() -> bool:
            found = await counts(broker)
            return found.done == found.accepted

        await eventually_async(all_settled)
        assert {op: times for op, times in gate.begun.items() if "job" in op} == {f"slow job {n}": 1 for n in range(5)}


async def test_what_is_logged_meanwhile_is_about_the_message(broker: Broker) -> None:
    about: dict[str, list[str]] = {}

    async def work(message: Message) -> Outcome:
        about[message.id] = list(handling.get())
        return DONE

    async with Producer(broker, "test") as producer:
        await producer.push("q", Message("op", id="a"), Message("op", id="b"))
    async with running(ConcurrentConsumer(broker, "q", "consumer", work)):
        await eventually_async(lambda: about == {"a": ["a"], "b": ["b"]})


async def test_large_answers_go_out_in_rounds(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorgond.redpill.session.CLAIM_BYTES", 1000)
    rounds: list[int] = []
    link = type(broker.link("x"))
    claim = link.claim

    async def spied(self: Link, queue: str, consumer: str, token: str, claimed: Claim, attempts: int) -> Any:
        rounds.append(sum(len(raw) for some in claimed.replies.values() for raw in some))
        return await claim(self, queue, consumer, token, claimed, attempts)

    monkeypatch.setattr(link, "claim", spied)
    gate = asyncio.Event()

    async def work(_: Message) -> Outcome:
        await gate.wait()
        return Done(b"x" * 400)

    # given many large answers that are there at once
    async with calling(broker) as call, running(ConcurrentConsumer(broker, "q", "consumer", work, 10)):
        calls = [call("op") for _ in range(10)]
        await wait_until_settled_besides(broker, done=0, in_flight=10)
        gate.set()
        # then all come, and no claim has more of them than it may
        assert [len(body) for body in await asyncio.gather(*calls)] == [400] * 10
        await wait_until_settled(broker, 10)
    assert max(rounds) <= 1000
