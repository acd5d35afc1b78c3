"""A paused queue stays paused when everything is restarted, also on a broker that forgets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.config import load
from gorgond.redpill import Caller, Counts, Message, Producer, now_ms
from gorgond.roles.store import DataStore
from gorgond.service.fabric import Fabric, connect_fabric
from gorgond.service.systemd import Notifier
from tests.conftest import RedisServer
from tests.waiting import eventually_async


@pytest.fixture
def durable(redis_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_factory(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")


@pytest.fixture
def calls(redis_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_factory(maxmemory_policy="noeviction")


async def counts(fabric: Fabric) -> list[Counts]:
    """The figures of store_get on both brokers."""
    found = []
    for broker in fabric.brokers:
        link = broker.link("test")
        try:
            found += await link.counts(["store_get"])
        finally:
            await link.close()
    return found


async def both_paused(fabric: Fabric) -> bool:
    return all(each.paused for each in await counts(fabric))


async def none_paused(fabric: Fabric) -> bool:
    return not any(each.paused for each in await counts(fabric))


async def test_a_broker_of_calls_that_forgets_is_told_again(
    durable: RedisServer, calls: RedisServer, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("is away, waiting for it|is back after")
    flags = {"broker.url": durable.url, "broker.calls": calls.url, "store.url": f"sqlite:///{tmp_path}/test.db"}
    config = load(os.devnull, {}, flags)
    fabric = connect_fabric(config)
    link = fabric.durable.link("test")
    # given store_get paused by what remembers it, and a store that consumes from both brokers
    await link.pause("store_get")
    server = DataStore(config, fabric, "1")
    running = asyncio.create_task(server.run(Notifier()))
    await eventually_async(lambda: both_paused(fabric))
    # when both are killed and come back
    for redis in (durable, calls):
        redis.kill()
        redis.start()
    await eventually_async(lambda: both_paused(fabric))
    # then a question is taken, and waits
    async with (
        Producer(fabric.calls, "test") as producer,
        Caller(fabric.calls, producer, "test_data", "test") as caller,
    ):
        answer = caller.call("store_get", Message("items.count", {"filter": {}}, deadline=now_ms() + 60_000))
        await eventually_async(lambda: _waiting(fabric))
        # until the queue is resumed
        await link.persist(lambda: link.resume("store_get"))
        assert (await answer).body == b"0"
    await eventually_async(lambda: none_paused(fabric))
    await link.close()
    server.stop()
    await running


async def _waiting(fabric: Fabric) -> bool:
    return [each.queued for each in await counts(fabric)] == [0, 1]
