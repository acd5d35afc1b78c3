"""What the stats server sees of queues that nobody is heard to consume."""

from __future__ import annotations

import time

import pytest

from gorgond.redpill import Producer
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from gorgond.stats.collector import Watched
from gorgond.stats.queues import Queues


async def test_a_queue_that_nobody_consumes_is_seen_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a broker that was looked at a moment ago
    broker, queues = MemoryBroker(), Queues()
    watched, link, now = Watched("durable", broker), broker.link("look"), time.monotonic()
    monkeypatch.setattr("gorgond.stats.collector.time.monotonic", lambda: now)
    await watched.look(link, queues)
    # when somebody pushes to a queue of which nobody has heard
    async with Producer(broker, "test") as producer:
        await producer.push("jobs", Message("op"))
    # then it is seen two seconds later, not half a minute
    now += 2
    await watched.look(link, queues)
    assert watched.counts is not None
    assert watched.counts["jobs"].queued == 1
    await link.close()


async def test_a_search_that_takes_long_is_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a broker with so many keys that a search takes a quarter of a second
    broker, queues, searches, now = MemoryBroker(), Queues(), [], time.monotonic()
    watched, link = Watched("durable", broker), broker.link("look")
    monkeypatch.setattr("gorgond.stats.collector.time.monotonic", lambda: now)

    async def slow() -> list[str]:
        nonlocal now
        now += 0.25
        searches.append(now)
        return []

    monkeypatch.setattr(link, "queues", slow)
    for _ in range(60):
        await watched.look(link, queues)
        now += 1
    # then it takes a hundredth of the time
    assert len(searches) == 3
    await link.close()
