"""Jobs as the stats server sees them: what waits and failed, how long they waited and took, when they come next."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.redpill import Counts, now_ms
from gorgond.redpill.broker import Room
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from gorgond.service.fabric import Fabric
from gorgond.service.metrics import Metrics
from gorgond.stats.collector import Collector
from gorgond.stats.picture import database_row
from tests.unit.test_stats_instances import Process

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
