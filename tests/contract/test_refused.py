"""What becomes of a message that its consumer refuses, or does not understand yet; in memory and on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gorgond.redpill import (
    DONE,
    AnyConsumer,
    CallFailed,
    ConcurrentConsumer,
    ConcurrentSubscription,
    Consumer,
    Counts,
    Done,
    Message,
    Outcome,
    Producer,
    Subscription,
    now_ms,
)
from gorgond.redpill import outcome as outcome_module
from gorgond.redpill.broker import Broker, Failure
from gorgond.redpill.concurrent import Work
from gorgond.redpill.consumer import Handler
from gorgond.redpill.message import PROTOCOL
from tests.contract.puppet import Puppet
from tests.waiting import eventually_async

Expect = Callable[[str], None]
Answer = Callable[[Message], Outcome]
Kind = Callable[[Broker, Answer], AnyConsumer]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that waits for a newer consumer waits less here."""
    monkeypatch.setattr(outcome_module, "NEWER", 0.02)


def consumer(broker: Broker, answer: Answer) -> Consumer:
    return Consumer(broker, "q", "consumer", batching(answer))


def concurrent(broker: Broker, answer: Answer) -> AnyConsumer:
    return ConcurrentConsumer(broker, "q", "consumer", one_by_one(answer))


def group(broker: Broker, answer: Answer) -> Consumer:
    return Subscription(broker, "t", "g", "consumer", batching(answer))


def concurrent_group(broker: Broker, answer: Answer) -> AnyConsumer:
    return ConcurrentSubscription(broker, "t", "g", "consumer", one_by_one(answer))


KINDS = [consumer, concurrent, group, concurrent_group]


def batching(answer: Answer) -> Handler:
    async def handle(batch: Sequence[Message]) -> Sequence[Outcome]:
        return [answer(message) for message in batch]

    return handle


def one_by_one(answer: Answer) -> Work:
    async def work(message: Message) -> Outcome:
        return answer(message)

    return work


async def counts(broker: Broker, queue: str) -> Counts:
    link = broker.link("look")
    (found,) = await link.counts([queue])
    await link.close()
    assert found.difference() == 0, found
    return found


async def reasons(broker: Broker, queue: str) -> list[str]:
    link = broker.link("look")
    letters = await link.dead(queue)
    await link.close()
    return [letter.reason for letter in letters]


async def consume(broker: Broker, consumer: AnyConsumer, *messages: Message, until: Callable[[Counts], bool]) -> Counts:
    """Have the consumer consume these until the figures of its queue are so."""
    task = asyncio.create_task(consumer.run())
    try:
        async with Producer(broker, "test") as producer:
            if isinstance(consumer, Subscription | ConcurrentSubscription):
                await consumer.joined.wait()
                await producer.publish("t", *messages)
            else:
                await producer.push("q", *messages)

        async def so() -> bool:
            return until(await counts(broker, consumer.queue))

        await eventually_async(so)
        consumer.stop()
        await task
        return await counts(broker, consumer.queue)
    finally:
        task.cancel()
        await asyncio.wait({task})


def refusing(code: int) -> Answer:
    def answer(message: Message) -> Outcome:
        return DONE if message.op == "well" else Done(error=CallFailed(code, "no such thing"))

    return answer


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_refused_and_nobody_waits_for_is_a_dead_letter(
    broker: Broker, kind: Kind, expected_logs: Expect, caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("gives up 1 message of (q|t/g): refused: 400: no such thing")
    # given a consumer that refuses one of two jobs
    jobs = Message("well"), Message("nonsense", id="the-refused")
    # when nobody waits for either
    found = await consume(broker, kind(broker, refusing(400)), *jobs, until=lambda now: now.done + now.dead == 2)
    # then it is a dead letter with the reason, at once, and the log names it
    assert (found.done, found.dead, found.retried) == (1, 1, 0)
    assert await reasons(broker, "t/g" if "group" in kind.__name__ else "q") == ["refused: 400: no such thing"]
    (line,) = [record for record in caplog.records if "gives up" in record.getMessage()]
    assert vars(line)["requests"] == ("the-refused",)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_failed_and_nobody_waits_for_is_tried_again_first(
    broker: Broker, kind: Kind, expected_logs: Expect
) -> None:
    expected_logs("gives up 1 message of (q|t/g): failed: 503: no such thing")
    consumer = kind(broker, refusing(503))
    found = await consume(broker, consumer, Message("busy"), until=lambda now: now.dead == 1)
    assert (found.done, found.dead, found.retried) == (0, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_needs_a_newer_consumer_is_left_for_it(
    broker: Broker, kind: Kind, expected_logs: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs(r"leaves 1 message of (q|t/g) for a newer consumer, as op, which needs protocol 2: this one knows 1")
    handled: list[Message] = []

    def answer(message: Message) -> Outcome:
        handled.append(message)
        return DONE

    # given an older consumer, to which a message is offered again and again
    left = await consume(
        broker, kind(broker, answer), Message("op", needs=PROTOCOL + 1), Message("op"),
        until=lambda now: now.done == 1 and now.retried > 5,
    )  # fmt: skip
    assert (left.done, left.dead) == (1, 0)
    # when a newer one comes
    monkeypatch.setattr("gorgond.redpill.received.PROTOCOL", PROTOCOL + 1)
    found = await consume(broker, kind(broker, answer), until=lambda now: now.done == 2)
    # then it handles the message, no attempt of which was counted
    assert (found.done, found.dead) == (2, 0)
    assert [(message.needs, message.attempts) for message in handled] == [(1, 0), (PROTOCOL + 1, 0)]


@pytest.mark.parametrize("kind", [consumer, concurrent])
async def test_what_waits_for_a_newer_consumer_expires(broker: Broker, kind: Kind, expected_logs: Expect) -> None:
    expected_logs("leaves 1 message of q for a newer consumer")
    late = Message("op", needs=PROTOCOL + 1, deadline=now_ms() + 500)
    found = await consume(broker, kind(broker, refusing(400)), late, until=lambda now: now.expired == 1)
    assert (found.done, found.dead, found.delayed) == (0, 0, 0)
    assert found.retried > 0


async def test_a_start_that_was_none_is_not_counted(broker: Broker) -> None:
    # given a message that failed once, and is handed out again, which counts a start before it happens
    link = broker.link("test")
    puppet = Puppet(link)
    await puppet.take()
    async with Producer(broker, "test") as producer:
        await producer.push("q", Message("op", id="x", sent=0))
    await puppet.claim()
    (again,) = await puppet.claim(done=1, failures=[Failure(0, 0.0, "busy")])
    assert again.startswith(b'{"attempts":2,')
    # when its consumer did not start it, time and again
    for _ in range(5):
        (again,) = await puppet.claim(done=1, failures=[Failure(0, 0.0, "needs a newer one", started=False)])
        # then it has one start less than when it is handed out the next time
        assert again.startswith(b'{"attempts":2,')
    await puppet.claim(done=1, want=0)
    assert (await counts(broker, "q")).done == 1
    await link.close()
