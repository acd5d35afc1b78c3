"""Consumers whose handlers try to end more than themselves; in memory and on Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

import pytest

from gorgond.redpill import (
    Broker,
    Caller,
    ConcurrentConsumer,
    Consumer,
    Dead,
    Done,
    GorgonError,
    Listener,
    Message,
    Outcome,
    Producer,
    Retry,
    now_ms,
)
from tests.waiting import eventually_async

Expect = Callable[[str], None]


async def deed(message: Message) -> Outcome:
    """Do what the message says."""
    task = asyncio.current_task()
    assert task is not None
    match message.op:
        case "exit":
            sys.exit(1)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancel":
            task.cancel()
            await asyncio.sleep(0)
        case "cancel and return":
            task.cancel()
        case "nonsense":
            return 5  # type: ignore[return-value]
    return Done(message.op.encode())


async def batch(messages: Sequence[Message]) -> Sequence[Outcome]:
    return [await deed(message) for message in messages]


@pytest.mark.parametrize("op", ["exit", "interrupt", "cancel", "cancel and return", "nonsense"])
@pytest.mark.parametrize("kind", ["consumer", "concurrent"])
async def test_its_caller_is_answered_500_and_its_neighbours_as_ever(
    broker: Broker, kind: str, op: str, expected_logs: Expect
) -> None:
    expected_logs(rf"handling ({op}|ok).* failed|gives up 1 message of q: (Escaped: |its handler gave a int)")
    consumer = (
        Consumer(broker, "q", "consumer", batch)
        if kind == "consumer"
        else ConcurrentConsumer(broker, "q", "consumer", deed)
    )
    running = asyncio.create_task(consumer.run())
    async with Producer(broker, "p") as producer, Caller(broker, producer, "data", "p") as caller:
        deadline = now_ms() + 60_000
        calls = [caller.call("q", Message(each, deadline=deadline)) for each in ("ok", op, "ok")]
        first, evil, last = await asyncio.gather(*calls)
        assert first.body == last.body == b"ok"
        assert evil.error is not None
        assert evil.error.code == 500
        # and the consumer works on
        assert (await caller.call("q", Message("ok", deadline=deadline))).body == b"ok"
    assert not running.done()
    consumer.stop()
    await running


ODD = {
    "a body that is a number": Done(5),  # type: ignore[arg-type]
    "an error that is a text": Done(error="no"),  # type: ignore[arg-type]
    "headers that are a number": Done(b"", headers=5),  # type: ignore[arg-type]
    "a status that is a list": Done(b"", status=[set()]),  # type: ignore[arg-type]
    "a reason that is a number": Dead(5),  # type: ignore[arg-type]
    "a delay that is a text": Retry("no", "soon"),  # type: ignore[arg-type]
    "a delay that is no number": Retry("no", float("nan")),
    "a delay without end": Retry("no", float("inf")),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", ["consumer", "concurrent"])
@pytest.mark.parametrize("asked", [True, False])
async def test_an_outcome_that_makes_no_sense_ends_nobody(
    broker: Broker, kind: str, odd: Outcome, asked: bool, expected_logs: Expect, caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("gives up 1 message of q|the answer cannot be sent")
    caplog.set_level("DEBUG", "gorgond.redpill")  # each outcome has a line then

    # given a handler that gives back what makes no sense
    async def one(message: Message) -> Outcome:
        return odd if message.op == "odd" else Done(b"fine")

    async def all(messages: Sequence[Message]) -> Sequence[Outcome]:
        return [await one(message) for message in messages]

    consumer = (
        Consumer(broker, "q", "consumer", all)
        if kind == "consumer"
        else ConcurrentConsumer(broker, "q", "consumer", one)
    )
    running = asyncio.create_task(consumer.run())
    async with Producer(broker, "p") as producer, Caller(broker, producer, "data", "p") as caller:
        deadline = now_ms() + 60_000
        # when a message with a caller, or without, is handled so
        if asked:
            call = caller.call("q", Message("odd", deadline=deadline))
        else:
            await producer.push("q", Message("odd"))
        # then the consumer works on
        assert (await caller.call("q", Message("fine", deadline=deadline))).body == b"fine"
        await eventually_async(lambda: consumer.tally.handled + consumer.tally.failed >= 2)
        assert not running.done()
        # and whoever waits is told that it was not handled, unless it comes again much later
        if asked and isinstance(odd, Retry) and odd.delay == float("inf"):
            call.cancel()
        elif asked:
            reply = await call
            assert reply.error is not None
            assert reply.error.code == 500
    consumer.stop()
    await running


NO_EVENTS = {
    "nothing": b"",
    "no JSON": b'{"id',
    "no object": b"[]",
    "an object without fields": b"{}",
    "an event without an id": b'{"op":"odd"}',
    "an id that is a number": b'{"id":5,"op":"odd"}',
    "no UTF-8": b'{"id":"\xff","op":"odd"}',
    "nested without end": b'{"id":"x","op":"odd","args":' + b"[" * 100_000,
    "no argument": b'{"id":"x","op":"odd"}',
    "an argument that is a list": b'{"id":"x","op":"odd","args":{"what":[]}}',
}


@pytest.mark.parametrize("event", NO_EVENTS.values(), ids=NO_EVENTS)
async def test_a_listener_goes_on_after_what_it_cannot_read_or_understand(
    broker: Broker, event: bytes, expected_logs: Expect, caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs(r"an event of t(, odd,)? is (dropped: .*|not understood) \(1 by now\)")
    heard: set[str] = set()
    listener = Listener(broker, ["t"], "ears", lambda _, event: heard.add(event.args["what"]))
    running = asyncio.create_task(listener.run())
    told: list[GorgonError | None] = []
    async with Producer(broker, "p") as producer:
        # when somebody publishes it, many times, and something else

        async def hears() -> bool:
            for _ in range(10):
                producer.submit("t", (event,), told.append, topic=True)
            await producer.publish("t", Message("fine", {"what": "x"}))
            return bool(heard)

        await eventually_async(hears)
        await eventually_async(lambda: len(told) >= 10)
    # then the other one is heard, the listener goes on, and there is one line about all that was dropped
    assert not running.done()
    assert len([record for record in caplog.records if "by now" in record.getMessage()]) == 1
    listener.stop()
    await running
