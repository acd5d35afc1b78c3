"""The provider over a real Redis into a database: all arrives, once, at its rate, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.config import Config, load
from gorgond.providers.source import Item
from gorgond.redpill import Counts, connect
from gorgond.redpill.broker import CLAIM_BYTES
from gorgond.roles.provider import DataProvider
from gorgond.roles.store import DataStore
from gorgond.service.fabric import connect_fabric
from gorgond.service.systemd import Notifier
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.programs import gorgond
from tests.waiting import eventually_async


@pytest.fixture(autouse=True)
def _no_append_only_file(expected_logs: Callable[[str], None]) -> None:
    expected_logs("loses its messages when it dies")


def configured(url: str, database: Path, **settings: str) -> Config:
    """The configuration with this broker, this database, and these settings of the provider or `queue_limit`."""
    flags = {f"{'broker' if key == 'queue_limit' else 'provider.random'}.{key}": text for key, text in settings.items()}
    return load(os.devnull, {}, {"broker.url": url, "store.url": f"sqlite:///{database}", **flags})


def provider(config: Config) -> DataProvider:
    return DataProvider(config, connect_fabric(config), "random")


async def counts(url: str) -> Counts:
    link = connect(url).link("test")
    try:
        [found] = await link.counts(["store_put"])
    finally:
        await link.close()
    return found


def stored(database: Path) -> int:
    store = open_store(f"sqlite:///{database}")
    [count] = store.count([Query("items", {})])
    store.close()
    assert isinstance(count, int)
    return count


async def test_all_items_arrive_in_the_database_once(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given a store server and a provider of 2000 items, on a queue that holds 100
    database = tmp_path / "test.db"
    config = configured(shared_redis.url, database, count="2000", rate="1000000", queue_limit="100")
    server = DataStore(config, connect_fabric(config), "1")
    serving = asyncio.create_task(server.run(Notifier()))
    await server.ready.wait()
    # when the provider runs to its end
    source = provider(config)
    await source.run(Notifier())
    # then it was refused again and again, and lost and doubled nothing
    assert source.metrics.counters["pushed"] == 2000
    assert source.metrics.counters["refused"] >= source.metrics.counters["retried"] > 0
    await eventually_async(lambda: stored(database) == 2000)
    server.stop()
    await serving
    figures = await counts(shared_redis.url)
    assert (figures.accepted, figures.done, figures.difference()) == (2000, 2000, 0)


async def test_keeps_its_rate(shared_redis: RedisServer, tmp_path: Path) -> None:
    source = provider(configured(shared_redis.url, tmp_path / "test.db", count="300", rate="300", size="10"))
    started = time.monotonic()
    await source.run(Notifier())
    assert time.monotonic() - started >= 0.95  # later on a machine that has other things to do
    assert (await counts(shared_redis.url)).queued == 300


async def test_a_broker_outage_is_a_pause(
    redis_factory: Callable[..., RedisServer], tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    # given a provider in the middle of its work, on a Redis that keeps every change
    expected_logs("is away, waiting for it|is back after")
    server = redis_factory(appendonly="yes", appendfsync="always")
    source = provider(configured(server.url, tmp_path / "test.db", count="3000", rate="2000", size="10"))
    running = asyncio.create_task(source.run(Notifier()))
    await eventually_async(lambda: source.pushing.pushed > 500)
    # when the broker is killed and comes back
    server.kill()
    await asyncio.to_thread(server.start)
    await running
    # then all items are there once
    figures = await counts(server.url)
    assert (figures.queued, figures.accepted) == (3000, 3000)


async def test_ends_when_asked_though_the_queue_is_full(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given a provider that finds its queue full
    source = provider(configured(shared_redis.url, tmp_path / "test.db", queue_limit="50", rate="10000"))
    running = asyncio.create_task(source.run(Notifier()))
    await eventually_async(lambda: source.metrics.counters.get("refused"))
    assert "the queue is full" in source.doing()
    # when it is asked to end
    source.stop()
    await running
    # then what it counted is what the broker has
    assert source.pushing.pushed == (await counts(shared_redis.url)).accepted <= 50


def test_as_a_command_it_ends_with_a_summary_and_exit_code_0(shared_redis: RedisServer) -> None:
    done = gorgond("provider", "--count", "40", "--rate", "1000", "--broker", shared_redis.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert "pushed 40 items in " in done.stderr
    assert "refused 0, retried 0" in done.stderr


def test_large_items_travel_in_batches_that_are_taken_whole(tmp_path: Path) -> None:
    large = provider(configured("memory://large", tmp_path / "no.db", size="100000"))
    parts = large.pushing.parts([Item(str(n), {"body": "x" * 100_000}) for n in range(500)])
    for part in parts[:-1]:
        assert 1 < len(part.messages) < 100
    assert max(sum(map(len, part.messages)) for part in parts) <= CLAIM_BYTES
    assert sum(len(part.messages) for part in parts) == 500


async def test_it_ends_soon_though_the_broker_is_away(tmp_path: Path, expected_logs: Callable[[str], None]) -> None:
    expected_logs("is away, waiting for it")
    service = provider(configured(f"unix://{tmp_path}/nobody.sock", tmp_path / "no.db"))
    running = asyncio.create_task(service.run(Notifier()))
    await eventually_async(lambda: service.fabric.durable.outage.length)

    service.stop()

    await asyncio.wait_for(running, 60)
    assert service.pushing.pushed == 0
