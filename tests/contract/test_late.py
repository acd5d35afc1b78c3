"""Calls that arrive late, through a network that holds the bytes of a broken connection; real lanes on a real Redis.

That no late copy of any call does harm, whatever came between, is shown in test_interleavings.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gorgond.redpill import DONE, Lane, Message, Outcome, Producer, connect, script
from tests.conftest import RedisServer
from tests.contract.late import Fate, LateNetwork
from tests.waiting import eventually_async

OUTAGE = r"is away, waiting for it|is back after"
MANY = 1000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is given up soon."""
    monkeypatch.setattr("gorgond.redpill.rediswire.ROUND_TIMEOUT", 0.3)


async def _fill(server: RedisServer) -> None:
    async with Producer(connect(server.url, durable=False), "p") as producer:
        await producer.push("q", *(Message("op", id=str(number)) for number in range(MANY)))


async def _drain(server: RedisServer, network: LateNetwork) -> Counter[str]:
    """Have a lane do all of it through the network: how often each message was handled."""
    handled: Counter[str] = Counter()

    async def handle(messages: Sequence[Message]) -> Sequence[Outcome]:
        handled.update(message.id for message in messages)
        return [DONE] * len(messages)

    broker = connect(server.url, durable=False)
    link = broker.link("look")
    async with network.running():
        lane = Lane(connect(network.url, durable=False), "q", "lane", handle)
        running = asyncio.create_task(lane.run())

        async def settled() -> bool:
            counts = (await link.counts(["q"]))[0]
            return counts.queued + counts.flying + counts.delayed == 0

        await eventually_async(settled, timeout=60)
        lane.stop()
        await running
        await network.deliver()
    (counts,) = await link.counts(["q"])
    await link.close()
    assert (counts.accepted, counts.done, counts.difference()) == (MANY, MANY, 0)
    return handled


async def test_a_turn_that_arrives_when_its_lane_went_on_settles_nothing_that_was_not_handled(
    shared_redis: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    turns = 0

    def decide(data: bytes) -> Fate:
        """The first copy of the third turn is held; it arrives when the answer to the fourth is on its way, which is
        lost."""
        nonlocal turns
        if script.CLAIM.sha.encode() not in data:
            return Fate.PASS
        turns += 1
        return {3: Fate.HOLD, 5: Fate.LOSE}.get(turns, Fate.PASS)

    # given a thousand messages, and a lane whose connections break so
    await _fill(shared_redis)
    network = LateNetwork(tmp_path / "late.sock", shared_redis.socket, decide)
    # when they are settled
    handled = await _drain(shared_redis, network)
    # then each of them was handled
    assert network.late == 1
    assert len(handled) == MANY
