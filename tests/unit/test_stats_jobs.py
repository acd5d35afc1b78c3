"""Jobs as the stats server sees them: what waits and failed, how long they waited and took, when they come next."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gorgond.app.jobsearch import search_jobs
from gorgond.config import load
from gorgond.http.answers import Problem
from gorgond.redpill import Counts, DeadLetter, DeadlineExceeded, Link, Producer, now_ms
from gorgond.redpill.broker import Room
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from gorgond.roles.stats import StatsMonitor
from gorgond.service.fabric import Fabric
from gorgond.service.metrics import Metrics
from gorgond.stats.collector import Collector
from gorgond.stats.letters import Links
from gorgond.stats.operating import Operating
from gorgond.stats.picture import database_row
from tests.unit.test_stats_instances import Process
from tests.unit.test_stats_log import PASSWORD, request, visitors

QUEUE = "app_job:shop.resize"


class Server(Process):
    """An app server, as far as its snapshots tell."""

    def __init__(self) -> None:
        super().__init__("app@1.host")
        self.metrics = Metrics()

    def snapshot(self, seconds: float = 1.0, state: str = "up") -> dict[str, Any]:
        queues = {QUEUE: {"handled": 0, "failed": 0, "expired": 0, "rejoined": 0}}
        return {**super().snapshot(seconds, state), "role": "app", "queues": queues}

    def do(self, waited: float, took: float) -> None:
        self.metrics.measure(f"{QUEUE} wait", 1, 0, 0, waited)
        self.metrics.measure(f"{QUEUE} shop.resize", 1, 0, 0, took)


class Watch:
    """A stats server, second by second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self._began = now_ms() / 1000 - self.now
        monkeypatch.setattr("gorgond.stats.collector.time.monotonic", lambda: self.now)
        broker = MemoryBroker()
        self.collector = Collector(Fabric(broker, broker, Room(1000)))

    def second(self, server: Server, seconds: float = 1.0) -> dict[str, Any]:
        """Hear it, and look: the picture."""
        self.now += seconds
        at = self._began + self.now
        self.collector.hear(Message("stats.second", server.snapshot(seconds), sent=int(at * 1000)))
        figures = {QUEUE: Counts(queued=1, delayed=2, in_flight=3, dead=4, done=5, accepted=15), "store_put": Counts()}
        self.collector.brokers[0].counts = figures
        self.collector.queues.know(figures)
        self.collector.add_up(self.now, at, hearing=True)
        return self.collector.picture(self.now, at, database_row({}, 0.0, 0.0, ""), ())


def test_what_a_job_does_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, server = Watch(monkeypatch), Server()
    watch.second(server)
    # when two were done of which one waited for long
    server.do(0.01, 0.5)
    server.do(3.0, 0.5)
    [row] = watch.second(server)["jobs"]
    # then there is a row of it, and of no other queue
    told = {name: row[name] for name in ("name", "waiting", "running", "scheduled", "failed", "done", "paused")}
    assert told == {"name": "shop.resize", "waiting": 1, "running": 3, "scheduled": 2, "failed": 4, "done": 5,
                    "paused": False}  # fmt: skip
    times = [row[name] for name in ("wait_p50", "wait_p99", "work_p50", "work_p99")]
    assert times == pytest.approx([10_000, 3_000_000, 500_000, 500_000], rel=0.1)
    # and an hour later that is over
    [row] = watch.second(server, 3600)["jobs"]
    assert [row[name] for name in ("wait_p50", "wait_p99", "work_p50", "work_p99")] == [0, 0, 0, 0]


def test_waiting_is_no_work_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, server = Watch(monkeypatch), Server()
    watch.second(server)
    server.do(0.01, 0.5)
    watch.second(server)
    totals = watch.collector.history.totals
    assert totals["app"].count == 1
    assert totals[f"app {QUEUE} wait"].count == 1


def test_a_job_with_a_clock_is_there_before_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, server = Watch(monkeypatch), Server()
    clock = {"cron": "30 7 * * *", "tz": "UTC", "last": 0, "next": 1_700_000_000_000}
    watch.collector.jobs.crons = [{"id": "shop.digest", **clock}]
    row, other = watch.second(server)["jobs"]
    assert (row["name"], row["waiting"]) == ("shop.digest", 0)
    assert {name: row[name] for name in clock} == clock
    assert other["cron"] is None


class OnlyTheEighth:
    """A broker with one dead letter, and where the operator works on it."""

    def __init__(self) -> None:
        self.sought: list[Mapping[str, Any]] = []

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[Links]:
        yield {"durable": cast("Link", self)}

    async def dead(self, queue: str, after: int, most: int) -> Sequence[DeadLetter]:
        return [DeadLetter(8, 0, "it is broken", 3, Message("shop.resize", {"args": {}}, "j8").encode())]

    async def requeue(self, queue: str, number: int) -> bool:
        return number == 8

    async def find(self, collection: str, filter: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        self.sought.append(filter)
        return []

    async def replace(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
        raise AssertionError


async def test_who_puts_back_what_is_gone_changes_no_other_jobs_status(tmp_path: Path) -> None:
    server = OnlyTheEighth()
    operating, asked = Operating(server, visitors(tmp_path)), request(Authorization=f"Bearer {PASSWORD}")
    asked.parameters = {"broker": "durable", "queue": QUEUE, "number": 7}
    with pytest.raises(Problem, match="there is no dead letter 7"):
        await operating.requeue(asked)
    assert server.sought == []
    asked.parameters["number"] = 8
    assert (await operating.requeue(asked)).status == 204
    assert server.sought == [{"id": {"$in": ["j8:run", "j8:end"]}}]


async def test_nothing_is_put_back_whose_status_no_store_has_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a queue that takes everything, and no store that does
    async def push(*_: Any, **__: Any) -> None: ...

    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(Producer, "push", push)
    monkeypatch.setattr("gorgond.roles.stats.ANSWER", 0.01)
    broker = MemoryBroker()
    flags = {"stats.port": "0", "stats.address": "127.0.0.1"}
    server = StatsMonitor(load(os.devnull, {}, flags), Fabric(broker, broker, Room()), "1")
    # then who begins a job anew hears of it: it would be taken for over, and not be done
    with pytest.raises(DeadlineExceeded, match="no answer from store_put"):
        await server.replace("jobs", [{"id": "j8:end", "state": "queued"}])


async def test_what_is_found_does_not_depend_on_how_large_results_are() -> None:
    # given a store with more results than fit into an answer
    numbers, large = range(190), f'"{"x" * 100_000}"'

    async def find(_: str, filter: Mapping[str, Any], *, fields: Sequence[str] = (), **__: Any) -> list[dict[str, Any]]:
        if "id" not in filter:
            return [{"id": f"j{number}:end"} for number in numbers]
        found, size = [], 0
        for number in numbers:
            begun = {"id": f"j{number}", "job": "shop.resize", "args": "{}", "ts": 1}
            end = {**begun, "id": f"j{number}:end", "state": "done", "result": large}
            for each in (begun, end):
                told = {name: value for name, value in each.items() if not fields or name in ("id", "ts", *fields)}
                size += sum(len(str(value)) for value in told.values())
                if size < 15_000_000:
                    found.append(told)
        return found

    found = await search_jobs(find, "", state="done", most=1000)
    assert (len(found["jobs"]), found["more"]) == (190, False)
