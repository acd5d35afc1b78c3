"""App servers, stores and Redis killed under jobs: none is lost, no effect happens twice, no time of the clock is
doubled or missed."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gorgond.app.enqueuing import Outside, Request, enqueue, job_id
from gorgond.redpill import Room, now_ms
from gorgond.service.fabric import Fabric as Brokers
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.integration import killjobs
from tests.integration.killing import Child, Fabric

JOBS = int(os.environ.get("JOBS", "300"))
DEATHS = int(os.environ.get("DEATHS", "6"))  # of each: an app server, a store, Redis
OUTAGE = r"is away, waiting for it|is back after|times more, each time"


class Enqueuer:
    """Enqueues jobs, and notes which were accepted; each tenth has a key, and is asked for twice."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.accepted: set[int] = set()

    async def run(self) -> None:
        broker = self.fabric.broker
        async with Outside(Brokers(broker, broker, Room()), "test") as backend:
            for number in range(JOBS):
                key = f"key {number}" if number % 10 == 0 else ""
                for copy in range(2 if key else 1):
                    asked = Request({"number": number}, unique=key)
                    await enqueue(backend, killjobs.first, job_id("test", str(number), str(copy)), asked)
                asked = Request({"number": number, "shop": number % 5})
                await enqueue(backend, killjobs.bounded, job_id("test", "bounded", str(number)), asked)
                self.accepted.add(number)
                await asyncio.sleep(0.01)


def effects(store: str) -> list[dict[str, Any]]:
    database, found = open_store(store), list[dict[str, Any]]()
    try:
        while True:
            filter = {"id": {"$gt": found[-1]["id"] if found else ""}}
            (answer,) = database.find([Query("effects", filter, (("id", 1),), 1000)])
            assert isinstance(answer, bytes)
            some = json.loads(answer)
            if not some:
                return found
            found += some
    finally:
        database.close()


@pytest.mark.parametrize("database", ["sqlite", "mongodb"])
async def test_kills_lose_no_job_and_double_no_effect(
    fabric_of: Callable[..., Fabric],
    redis_factory: Callable[..., RedisServer],
    expected_logs: Callable[[str], None],
    request: pytest.FixtureRequest,
    database: str,
) -> None:
    expected_logs(OUTAGE)
    chance = random.Random(7)
    server = redis_factory(appendonly="yes", appendfsync="always")
    fabric = fabric_of(server.url)
    if database == "mongodb":
        fabric = Fabric(fabric.directory, server.url, request.getfixturevalue("mongod_url") + f"kills{os.getpid()}")
    children: dict[tuple[str, str], Child] = {}

    def start(role: str, instance: str) -> None:
        module = ("--module", "tests.integration.killjobs") if role == "app" else ()
        weak = {"TEST_SILENCE": "2", "TEST_LEASE": "2"}
        children[role, instance] = fabric.child(role, "--instance", instance, *module, **weak)

    for role, instance in itertools.product(("store", "app"), "12"):
        start(role, instance)
    enqueuer = Enqueuer(fabric)
    try:
        # given jobs that are enqueued all the time, one of them by the clock
        enqueuing = asyncio.create_task(enqueuer.run())
        # when app servers, stores and Redis are killed again and again
        for number in range(3 * DEATHS):
            await asyncio.sleep(chance.uniform(0, 0.5))
            if number % 3 == 2:
                server.kill()
                await asyncio.to_thread(server.start)
                continue
            role, instance = ("app", "store")[number % 3], chance.choice("12")
            children[role, instance].kill()
            start(role, instance)
        await enqueuing
        for name in ("first", "second", "bounded"):
            counts = await fabric.drained(f"app_job:killjobs.{name}", timeout=600)
            assert (counts.dead, counts.difference()) == (0, 0), counts
        ended = now_ms()
        for instance in "12":
            assert children["app", instance].stop() == 0
        found = effects(fabric.store)
        # then each job has had each effect once
        for what in ("first", "second", "bounded"):
            assert Counter(each["number"] for each in found if each["what"] == what) == Counter(enqueuer.accepted)
        # and each time of the clock was one job, from the first to the last
        every = killjobs.EVERY
        times = {
            job_id("cron", "killjobs.clocked", str(at)): at
            for at in range(ended // every * every - 3_600_000, ended + 60_000, every)
        }
        clocked = sorted(times[each["job"]] for each in found if each["what"] == "clocked")
        assert len(clocked) > 3
        assert clocked == list(range(clocked[0], clocked[-1] + 1, every))
    finally:
        for child in children.values():
            child.kill()
