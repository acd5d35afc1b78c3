"""Instances of a provider that are killed while they poll: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import pytest

from gorgond.redpill import Done, Message, Outcome, Subscription
from gorgond.service.machine import host_name, machine_id
from tests.conftest import RedisServer
from tests.databases import WHOLE
from tests.echo import ECHO
from tests.integration.killing import Child, Fabric
from tests.plugin import make_plugin
from tests.waiting import eventually_async

LINES, KILLS = 3000, 8
LEASE = "gorgon:{provider:echo}:lease"
_numbers = count()


@pytest.fixture(params=WHOLE)
def fabric(request: pytest.FixtureRequest, durable: RedisServer, fabric_of: Callable[..., Fabric]) -> Fabric:
    if request.param == "sqlite":
        return fabric_of(durable.url)
    return fabric_of(durable.url, f"{request.getfixturevalue('mongod_url')}source_kills{next(_numbers)}")


async def test_a_poller_that_is_killed_loses_and_doubles_nothing(
    fabric: Fabric, durable: RedisServer, tmp_path: Path
) -> None:
    # given a kind of provider from another package, two instances of one, and lines that come all the time
    lines, conf = tmp_path / "lines", tmp_path / "conf"
    lines.touch()
    conf.write_text(f"[provider.echo]\nkind = echo\nfile = {lines}\n")
    plugin = make_plugin(tmp_path / "plugin", {}, {"gorgond.providers": {"echo": ECHO}})
    environ = {"GORGOND_CONFIG": str(conf), "PYTHONPATH": str(plugin), "TEST_LEASE": "2", "TEST_SILENCE": "2"}
    heard: Counter[str] = Counter()

    async def hear(events: Sequence[Message]) -> Sequence[Outcome]:
        heard.update(event.args["id"] for event in events)
        return [Done()] * len(events)

    group = Subscription(fabric.broker, "provider_data", "test", "test", hear)
    hearing = asyncio.create_task(group.run())
    await group.joined.wait()
    fabric.start_store(**environ)
    instances = {name: fabric.child("provider", name, **environ) for name in ("echo", "echo.2")}
    writing = asyncio.create_task(_write(lines))
    # when whoever polls is killed again and again, and started again
    for kill in range(KILLS):
        owner = await eventually_async(lambda: asyncio.to_thread(_owner, durable, instances))
        await eventually_async(functools.partial(_goes_on, fabric, (await fabric.counts()).accepted))
        await asyncio.sleep(random.uniform(0, 0.05))
        instances[owner].kill()
        instances[owner] = fabric.child("provider", owner, **environ)
        if kill % 2:  # so that the other one goes on
            await eventually_async(lambda: asyncio.to_thread(_owner, durable, instances))
    await writing
    # then each line is there once
    wanted = {f"echo:{n}" for n in range(LINES)}
    await eventually_async(lambda: asyncio.to_thread(lambda: wanted <= fabric.stored()), 120)
    counts = await fabric.drained()
    assert fabric.stored() == wanted
    assert (counts.dead, counts.difference()) == (0, 0)
    # and each arrival was told, twice only where one was killed in between
    await eventually_async(lambda: set(heard) == wanted)
    assert sum(heard.values()) <= LINES + KILLS * 20
    group.stop()
    await hearing


def _owner(redis: RedisServer, instances: dict[str, Child]) -> str:
    """The instance that polls."""
    owner = redis.cli("HGET", LEASE, "owner")
    return next((each for each in instances if owner == f"provider@{each}.{host_name()}:{machine_id()}"), "")


async def _goes_on(fabric: Fabric, accepted: int) -> bool:
    """Whether more was pushed by now."""
    return (await fabric.counts()).accepted > accepted


async def _write(lines: Path) -> None:
    for first in range(0, LINES, 10):
        with lines.open("a") as file:
            file.writelines(f"line {n}\n" for n in range(first, first + 10))
        await asyncio.sleep(0.05)
