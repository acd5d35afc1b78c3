"""Watching a queue until all that was to come is settled."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from gorgond.redpill import Counts, connect
from tools.speed.processes import PATIENCE, BenchError

PAUSE = 0.02  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Flow:
    """How long it took from the first message seen to the last one settled, and how many waited at most."""

    seconds: float
    deepest: int
    counts: Counts


async def wait_until_settled(url: str, queue: str, count: int) -> Flow:
    """Wait until `count` messages were accepted and none of them is under way. BenchError when nothing moves."""
    link = connect(url).link("bench")
    began, deepest = 0.0, 0
    last, moved = Counts(), time.monotonic()
    try:
        while True:
            [there] = await link.counts([queue])
            now = time.monotonic()
            deepest = max(deepest, there.queued)
            if there.accepted and not began:
                began = now
            if there.accepted >= count and not there.queued + there.in_flight + there.delayed:
                return Flow(now - began, deepest, there)
            if (there.accepted, there.done) != (last.accepted, last.done):
                last, moved = there, now
            elif now - moved > PATIENCE:
                raise BenchError(f"{queue} does not move any more: {there}")
            await asyncio.sleep(PAUSE)
    finally:
        await link.close()


async def counts(url: str, queue: str) -> Counts:
    """The figures of `queue` now."""
    link = connect(url).link("bench")
    try:
        return (await link.counts([queue]))[0]
    finally:
        await link.close()
