"""Leases, and what runs every so often on one instance at a time; in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gorgond import Context
from gorgond.app import schedule as schedule_module
from gorgond.app.application import Schedule
from gorgond.app.schedule import ScheduleLoop
from gorgond.redpill import Broker, Link, now_ms
from gorgond.redpill.memory import MemoryBroker
from tests.backends import Nobody
from tests.waiting import eventually_async


@contextlib.asynccontextmanager
async def linked(broker: Broker) -> AsyncIterator[Link]:
    link = broker.link("test")
    try:
        yield link
    finally:
        await link.close()


# ---- the lease


async def test_one_has_it_until_it_ends_or_is_given_up(broker: Broker) -> None:
    async with linked(broker) as link:
        # given a lease that anna took
        first = await link.lease("job", "anna", 60)
        assert first.token > 0
        # then she may keep it, with the same token, and nobody else gets it, but others of other names
        assert (await link.lease("job", "anna", 60)).token == first.token
        assert (await link.lease("job", "bob", 60)).token == 0
        assert (await link.lease("other", "bob", 60)).token > 0
        # when she gives it up
        assert (await link.lease("job", "anna", 0)).token == 0
        # then bob gets it, with a higher token
        assert (await link.lease("job", "bob", 60)).token > first.token


async def test_when_it_has_ended_another_one_gets_it_and_the_old_owner_can_tell(broker: Broker) -> None:
    async with linked(broker) as link:
        first = await link.lease("job", "anna", 0.02)

        async def bobs() -> int:
            return (await link.lease("job", "bob", 0.02)).token

        assert await eventually_async(bobs) > first.token

        # and if nobody took it meanwhile, its owner sees by the token that it had ended
        async def annas() -> int:
            return (await link.lease("job", "anna", 60)).token

        assert await eventually_async(annas) > first.token + 1


async def test_when_it_was_done_last_is_known_to_all(broker: Broker) -> None:
    async with linked(broker) as link:
        first = await link.lease("job", "anna", 60)
        assert first.done is None
        lease = await link.lease("job", "anna", 60, done=first.at - 5000)
        assert lease.done is not None
        assert 5 <= lease.done < 65
        seen = (await link.lease("job", "bob", 60)).done
        assert seen is not None
        assert 5 <= seen < 65


# ---- what runs every so often


class Job:
    """A handler that counts its runs; each waits until it may end."""

    def __init__(self) -> None:
        self.begun = self.ended = self.cancelled = self.sent = 0
        self.open = asyncio.Event()

    async def __call__(self, ctx: Context) -> None:
        self.begun += 1
        self.sent = ctx.sent
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "LOOK", 0.02)


def loop_of(broker: Broker, job: Any, owner: str, seconds: float = 3600) -> ScheduleLoop:
    return ScheduleLoop(Schedule("app.job", seconds, job), Nobody(), broker.link(owner), owner)


async def test_it_runs_when_it_is_due_and_on_one_of_all(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    # given three instances, with a lease that outlasts whatever keeps a busy machine
    monkeypatch.setattr(schedule_module, "LEASE", 600.0)
    job = Job()
    loops = [loop_of(broker, job, f"app@{number}") for number in range(3)]
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    # when it was never run, then one of them does
    await eventually_async(lambda: job.begun == 1)
    job.open.set()
    await eventually_async(lambda: job.ended == 1)
    # and no other one, since it is not due again
    async with linked(broker) as link:

        async def done() -> bool:
            return (await link.lease("every:app.job", "look", 0.001)).done is not None

        await eventually_async(done)
    assert job.begun == 1
    for loop in loops:
        loop.stop()
    await asyncio.gather(*tasks)


async def test_it_runs_again_and_again_and_knows_when_it_began(broker: Broker) -> None:
    job, before = Job(), now_ms()
    job.open.set()
    loop = loop_of(broker, job, "app@1", seconds=0.05)
    task = asyncio.create_task(loop.run())
    await eventually_async(lambda: job.ended >= 3)
    loop.stop()
    await task
    assert before <= job.sent <= now_ms()


async def test_it_moves_when_its_instance_is_killed(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "LEASE", 3.0)
    # given an instance that dies while it runs it
    first, second = Job(), Job()
    dying = asyncio.create_task(loop_of(broker, first, "app@1").run())
    await eventually_async(lambda: first.begun == 1)
    other = loop_of(broker, second, "app@2")
    task = asyncio.create_task(other.run())
    await asyncio.sleep(0.1)
    assert second.begun == 0
    dying.cancel()
    # then the other one runs it, when the lease has ended
    await eventually_async(lambda: second.begun == 1)
    second.open.set()
    other.stop()
    await task
    assert (second.ended, first.ended) == (1, 0)


async def test_one_that_lost_its_lease_is_cancelled(broker: Broker, expected_logs: Callable[[str], None]) -> None:
    expected_logs("app.job is cancelled: its lease has ended")
    job = Job()
    loop = loop_of(broker, job, "app@1")
    task = asyncio.create_task(loop.run())
    await eventually_async(lambda: job.begun == 1)
    # when its lease has gone to another one, as after a pause of the process
    async with linked(broker) as link:
        await link.lease("every:app.job", "app@1", 0)
        await link.lease("every:app.job", "app@2", 60)
    # then its run is cancelled
    await eventually_async(lambda: job.cancelled == 1)
    loop.stop()
    await task


async def test_a_run_that_fails_is_tried_again_when_it_is_due(
    broker: Broker, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("app.job failed")
    runs = 0

    async def job(_: Context) -> None:
        nonlocal runs
        runs += 1
        raise KeyError("x")

    loop = loop_of(broker, job, "app@1", seconds=0.05)
    task = asyncio.create_task(loop.run())
    await eventually_async(lambda: runs >= 2)
    loop.stop()
    await task


async def test_without_its_broker_it_is_cancelled_before_the_lease_ends_elsewhere(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("is cancelled: the broker is away|is away, waiting for it|is back after")
    monkeypatch.setattr(schedule_module, "LEASE", 0.3)
    broker, job = MemoryBroker(), Job()
    loop = loop_of(broker, job, "app@1")
    task = asyncio.create_task(loop.run())
    await eventually_async(lambda: job.begun == 1)
    broker.kill()
    await eventually_async(lambda: job.cancelled == 1)
    broker.start()
    job.open.set()
    await eventually_async(lambda: job.ended == 1)
    loop.stop()
    await task
