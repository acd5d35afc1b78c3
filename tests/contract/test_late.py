"""Calls that arrive late, through a network that holds the bytes of a broken connection; real consumers on a real
Redis.

test_interleavings shows that no late copy of any call does harm, whatever came between.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gorgond.redpill import (
    DONE,
    BrokerRefused,
    Consumer,
    Message,
    Outcome,
    OutcomeUnknown,
    Producer,
    connect,
    script,
)
from tests.conftest import RedisServer
from tests.contract.late import Fate, LateNetwork
from tests.waiting import eventually_async

OUTAGE = r"is away, waiting for it|is back after|was away [0-9]+ times more"
MANY = 1000


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is given up soon."""
    monkeypatch.setattr("gorgond.redpill.rediswire.ROUND_TIMEOUT", 0.3)


async def _fill(url: str) -> None:
    async with Producer(connect(url, durable=False), "p") as producer:
        for first in range(0, MANY, 50):
            await producer.push("q", *(Message("op", id=str(number)) for number in range(first, first + 50)))


async def _drain(server: RedisServer, network: LateNetwork, consumers: int = 1, batch: int = 64) -> Counter[str]:
    """Have consumers do all of it through the network: how often each message was handled."""
    handled: Counter[str] = Counter()

    async def handle(messages: Sequence[Message]) -> Sequence[Outcome]:
        handled.update(message.id for message in messages)
        return [DONE] * len(messages)

    broker = connect(server.url, durable=False)
    link = broker.link("look")
    through = [
        Consumer(connect(network.url, durable=False), "q", f"consumer{number}", handle, batch)
        for number in range(consumers)
    ]
    async with network.running():
        running = [asyncio.create_task(consumer.run()) for consumer in through]

        async def settled() -> bool:
            counts = (await link.counts(["q"]))[0]
            return counts.queued + counts.in_flight + counts.delayed == 0

        await eventually_async(settled)
        network.calm = True
        for consumer in through:
            consumer.stop()
        await asyncio.gather(*running)
        await network.deliver()
    (counts,) = await link.counts(["q"])
    await link.close()
    assert (counts.accepted, counts.done, counts.difference()) == (MANY, MANY, 0)
    return handled


async def test_a_claim_that_arrives_when_its_consumer_went_on_settles_nothing_that_was_not_handled(
    shared_redis: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    claims = 0

    def decide(data: bytes) -> Fate:
        """The first copy of the third claim is held; it arrives when the answer to the fourth is on its way, which is
        lost."""
        nonlocal claims
        if script.CLAIM.sha.encode() not in data:
            return Fate.PASS
        claims += 1
        return {3: Fate.HOLD, 5: Fate.LOSE}.get(claims, Fate.PASS)

    # given a thousand messages, and a consumer whose connections break so
    await _fill(shared_redis.url)
    network = LateNetwork(tmp_path / "late.sock", shared_redis.socket, decide)
    # when they are settled
    handled = await _drain(shared_redis, network)
    # then each of them was handled
    assert network.late == 1
    assert len(handled) == MANY


async def test_whatever_comes_late_every_message_is_handled_and_settled_once(
    shared_redis: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(f"{OUTAGE}|has lost its desk|unfinished on its desk")
    seed = random.randrange(10**9)
    chance = random.Random(seed)

    def decide(data: bytes) -> Fate:
        """Of rounds that do not make a connection, some are delivered twice, held, or answered to nobody."""
        if b"SETNAME" in data:
            return Fate.PASS
        return chance.choices(list(Fate), (80, 10, 2, 8))[0]

    network = LateNetwork(tmp_path / "late.sock", shared_redis.socket, decide)
    # given a producer and consumers whose connections break again and again
    async with network.running():
        await _fill(network.url)
    # when everything is settled
    handled = await _drain(shared_redis, network, consumers=3, batch=5)
    # then everything was handled, a message that was in hand when its consumer began anew perhaps again
    assert network.late > 10
    assert len(handled) == MANY, f"seed {seed}"


async def test_a_refusal_after_a_lost_answer_does_not_say_that_nothing_was_queued(
    redis_factory: Callable[..., RedisServer], tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(OUTAGE)
    server = redis_factory()
    server.cli("ACL", "SETUSER", "pusher", "on", ">secret", "~*", "&*", "+@all")
    lost = 0

    def decide(data: bytes) -> Fate:
        nonlocal lost
        if b"EVALSHA" in data:
            lost += 1
            return Fate.LOSE
        if lost:  # it connects again
            server.cli("ACL", "SETUSER", "pusher", "off")
        return Fate.PASS

    network = LateNetwork(tmp_path / "network", server.socket, decide)
    async with network.running():
        broker = connect(f"unix://pusher:secret@{network.path}", durable=False)
        # given a push whose answer is lost, and a broker that lets nobody in when it is asked again
        async with Producer(broker, "p") as producer:
            with pytest.raises(OutcomeUnknown, match="its answer was lost; now the broker says: "):
                await producer.push("q", Message("op", id="a"))
            assert lost == 1
            # when something more is pushed, of which nothing can have been sent, then that is refused
            with pytest.raises(BrokerRefused):
                await producer.push("q", Message("op", id="b"))
    # and it was said rightly: one is there, the other is not
    link = connect(server.url, durable=False).link("look")
    [counts] = await link.counts(["q"])
    assert counts.queued == 1
    assert [found.place for found in await link.find(b'"a"')] == ["queued"]
    await link.close()
