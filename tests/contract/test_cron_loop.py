"""Jobs by the clock, in memory and on Redis: each time is one job, whoever looks at the clock, and whoever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gorgond import App
from gorgond.app import schedule
from gorgond.app.cron import Clock, Cron
from gorgond.app.cronloop import CronLoop
from gorgond.app.enqueuing import Outside, job_id
from gorgond.redpill import UNHEARD, Broker, Message, Room, decode
from gorgond.service.fabric import Fabric
from tests.waiting import eventually_async

EVERY = 50  # ms


class Quick(Clock):
    """A clock whose times come every few milliseconds."""

    def after(self, ms: int) -> int:
        return ms // EVERY * EVERY + EVERY


class Dying(Outside):
    """An app server that dies when it has enqueued so many."""

    def __init__(self, fabric: Fabric, most: int) -> None:
        super().__init__(fabric, "test")
        self.left = most

    async def unique(self, queue: str, step: Any) -> tuple[str, bytes]:
        answer = await super().unique(queue, step)
        if step.step == "pushed":
            self.left -= 1
            if self.left == 0:
                raise Dead
        return answer


class Dead(Exception):
    """It was killed."""


def cron(missed: Any = "all") -> Cron:
    app = App("shop")

    @app.cron("* * * * *", missed=missed)
    async def digest(ctx: Any) -> None: ...

    return Cron(app.crons["shop.digest"].job, Quick("* * * * *", "UTC"), missed)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LEASE", 0.3)


@asynccontextmanager
async def loops(broker: Broker, what: Cron, deaths: Sequence[int]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """One loop for each, as of app servers of their own, which dies when it has enqueued so many."""
    async with AsyncExitStack() as closing:
        made = []
        for number, most in enumerate(deaths):
            backend = await closing.enter_async_context(Dying(Fabric(broker, broker, Room()), most))
            link = broker.link(f"loop {number}")
            made.append(CronLoop(what, backend, link, f"app@{number}", hooks=UNHEARD))
        tasks = [asyncio.create_task(each.run()) for each in made]
        try:
            yield tasks
        finally:
            for each in made:
                each.stop()
            await asyncio.gather(*tasks, return_exceptions=True)


async def enqueued(broker: Broker) -> list[Message]:
    link = broker.link("look")
    try:
        found = await link.find(b"shop.digest")
        return [decode(each.raw) for each in found if each.queue == "app_job:shop.digest"]
    finally:
        await link.close()


async def test_each_time_is_one_job_though_servers_die(broker: Broker) -> None:
    # given app servers of which one after another dies when it has enqueued some, before it says so, and a last one
    async with loops(broker, cron(), [3, 4, 5]) as mortal:
        await eventually_async(lambda: all(task.done() for task in mortal))
        async with loops(broker, cron(), [1000]):

            async def many() -> bool:
                return len(await enqueued(broker)) >= 40

            await eventually_async(many)
    # then each time between the first and the last is one job
    ids = Counter(each.id for each in await enqueued(broker))
    link = broker.link("look")
    now = await link.clock()
    await link.close()
    first = (now - 600_000) // EVERY * EVERY
    times = {job_id("cron", "shop.digest", str(at)): at for at in range(first, now + 1000, EVERY)}
    found = sorted(times[id] for id in ids)
    assert found == list(range(found[0], found[-1] + 1, EVERY))
    assert set(ids.values()) == {1}
    # and who does it looks whether it is over already: the broker's clock may have been set back
    assert all(each.args["repeat"] for each in await enqueued(broker))


@pytest.mark.parametrize("missed", ["skip", "once"])
async def test_what_nobody_enqueued_in_time_is_made_up_for_as_it_is_declared(
    broker: Broker, missed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorgond.app.cronloop.LATE_MS", 200)
    async with loops(broker, cron(missed), [1000]):
        await eventually_async(lambda: _some(broker, 2))
    before = len(await enqueued(broker))
    link = broker.link("look")
    ended = await link.clock()
    await asyncio.sleep(1.0)  # for which nobody looks: that is what is tried
    begun = await link.clock()
    async with loops(broker, cron(missed), [1000]):
        await eventually_async(lambda: _some(broker, before + 3))
    now = await link.clock()
    await link.close()
    first = (now - 600_000) // EVERY * EVERY
    times = {job_id("cron", "shop.digest", str(at)): at for at in range(first, now + 1000, EVERY)}
    found = [times[each.id] for each in await enqueued(broker)]
    # then nothing is there of what was missed, or the last one of it
    assert sum(ended < at < begun - 200 for at in found) <= (missed == "once")
    assert max(found) > begun - 200


async def _some(broker: Broker, number: int) -> bool:
    return len(await enqueued(broker)) >= number
