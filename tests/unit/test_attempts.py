"""Attempts: how often, and after how many seconds again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gorgond.redpill import Attempts, Consumer, Message, Outcome, Producer, Retry
from gorgond.redpill.memory import MemoryBroker
from tests.waiting import eventually_async


def test_a_message_comes_again_after_twice_as_long_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    attempts = Attempts(first=2, longest=30)
    assert [attempts.delay(started) for started in (1, 2, 3, 4, 5, 100_000)] == [2, 4, 8, 16, 30, 30]


def test_by_chance_up_to_a_half_sooner_or_later() -> None:
    attempts = Attempts(first=2, longest=30)
    delays = [attempts.delay(1) for _ in range(1000)]
    assert 1 <= min(delays) < 1.2
    assert 2.8 < max(delays) <= 3


@pytest.mark.parametrize(
    ("most", "first", "longest"),
    [(0, 1, 1), (10**6 + 1, 1, 1), (1, -1, 1), (1, 2, 1), (1, 1, float("inf")), (1, float("nan"), 1)],
)
def test_what_makes_no_sense_is_refused(most: int, first: float, longest: float) -> None:
    with pytest.raises(ValueError, match="not Attempts"):
        Attempts(most, first, longest)


async def test_a_consumer_puts_off_what_failed_by_its_own_delay() -> None:
    # given a broker whose clock stands still, and a consumer with a long delay
    broker = MemoryBroker(clock=lambda: 0)

    async def fail(messages: Sequence[Message]) -> Sequence[Outcome]:
        return [Retry("no")] * len(messages)

    consumer = Consumer(broker, "q", "consumer", fail, attempts=Attempts(first=1000, longest=1000))
    running = asyncio.create_task(consumer.run())
    # when a message fails
    async with Producer(broker, "test") as producer:
        await producer.push("q", Message("op", id="x"))
    link = broker.link("test")

    async def delayed() -> bool:
        return (await link.counts(["q"]))[0].delayed == 1

    await eventually_async(delayed)
    # then it is due after that
    (found,) = await link.find(b'"x"')
    assert 500_000 <= int(found.detail) <= 1_500_000
    consumer.stop()
    await running
