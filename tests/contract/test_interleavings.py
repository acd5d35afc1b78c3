"""Every message is in exactly one place, and none is done twice, whatever happens in whatever order.

An interleaving is a walk (walk.py), drawn from a seed.

    INTERLEAVINGS_SEED=1234 pytest tests/contract/test_interleavings.py    one of them again: a failure names its seed
    tools/prove interleavings                                              more of them
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest
import redis

from gorgond.redpill.redisbroker import RedisBroker
from tests.conftest import RedisServer
from tests.contract.failoverwalk import FailoverWalk
from tests.contract.walk import walk, walk_to_the_end
from tests.contract.worlds import InMemory, InRedis, links_of

MANY = int(os.environ.get("INTERLEAVINGS", "1000"))  # on each broker; tools/prove interleavings plays 200,000
SEED = os.environ.get("INTERLEAVINGS_SEED")
PARTS = 20  # in which they are played: a test lasts some seconds, on a busy machine too


def seeds(many: int) -> Sequence[int]:
    """The seeds to try: others in each run, unless one is asked for."""
    if SEED is not None:
        return [int(SEED)]
    first = random.randrange(10**9)
    return range(first, first + many)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of a broker is late because the machine is busy."""
    monkeypatch.setattr("gorgond.redpill.rediswire.ROUND_TIMEOUT", 60.0)


@pytest.mark.parametrize("many", [MANY // PARTS] * PARTS)
async def test_interleavings_in_memory(many: int) -> None:
    for seed in seeds(many):
        world = InMemory()
        await walk(world, links_of(world.broker), seed, outages=True)


@pytest.mark.parametrize("many", [MANY // PARTS] * PARTS)
async def test_interleavings_on_redis_go_as_in_memory(shared_redis: RedisServer, many: int) -> None:
    broker = RedisBroker(shared_redis.url, durable=False)
    links = links_of(broker)
    with redis.Redis.from_url(shared_redis.url) as client:
        for seed in seeds(many):
            world = InMemory()
            expected = await walk(world, links_of(world.broker), seed)
            found = await walk(InRedis(broker, client), links, seed)
            for number, (one, other) in enumerate(zip(expected, found, strict=True)):
                assert one == other, f"step {number} of INTERLEAVINGS_SEED={seed}: {expected[: number + 1]}"
    for link in links:
        await link.close()


@pytest.mark.parametrize("many", [MANY // PARTS] * PARTS)
async def test_interleavings_of_consumers_that_take_turns(many: int, shared_redis: RedisServer) -> None:
    broker = RedisBroker(shared_redis.url, durable=False)
    links = links_of(broker)
    with redis.Redis.from_url(shared_redis.url) as client:
        for seed in seeds(many):
            await walk(InRedis(broker, client), links, seed, turns=True)
    for link in links:
        await link.close()


@pytest.mark.parametrize("many", [MANY // PARTS // 8] * PARTS)
async def test_interleavings_with_failovers(many: int, shared_redis: RedisServer) -> None:
    broker = RedisBroker(shared_redis.url, durable=False)
    links, failovers = links_of(broker), 0
    with redis.Redis.from_url(shared_redis.url) as client:
        for seed in seeds(many):
            client.flushdb()
            steps = FailoverWalk(InRedis(broker, client), links, seed, client)
            await walk_to_the_end(steps, seed)
            failovers += steps.failovers
    assert failovers or SEED or many < 3  # of 150 walks one has none
    for link in links:
        await link.close()
