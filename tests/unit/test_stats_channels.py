"""The channels of notifications as the stats server sees them: what was sent, how long it took, which are stalled."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.redpill import Counts
from gorgond.redpill.broker import Room
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from gorgond.service.channels import OPERATION
from gorgond.service.fabric import Fabric
from gorgond.service.metrics import Metrics
from gorgond.stats.channels import CHANNELS_MAX, STALLED
from gorgond.stats.collector import Collector
from tests.unit.test_stats_instances import Process

QUEUE = {"handled": 0, "failed": 0, "expired": 0, "rejoined": 0}


class Server(Process):
    """A notification server, as far as its snapshots tell."""

    def __init__(self, *channels: str) -> None:
        super().__init__("notify@1.host")
        self.metrics = Metrics()
        self.channels = channels or ("inbox", "email")
        self.reasons: Any = {}

    def snapshot(self, seconds: float = 1.0, state: str = "up") -> dict[str, Any]:
        queues = {f"notify_put:{name}": QUEUE for name in self.channels}
        told = {"role": "notify", "queues": {"notify_put": QUEUE, **queues}, "reasons": self.reasons}
        return {**super().snapshot(seconds, state), **told}

    def send(self, channel: str, seconds: float) -> None:
        self.metrics.count(f"{channel}_sent")
        self.metrics.measure(f"{OPERATION}{channel}", 1, 0, 0, seconds)


class Watch:
    """A stats server, second by second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.pending = 0
        monkeypatch.setattr("gorgond.stats.collector.time.monotonic", lambda: self.now)
        broker = MemoryBroker()
        self.collector = Collector(Fabric(broker, broker, Room(1000)))

    def second(self, server: Server, seconds: float = 1.0) -> dict[str, dict[str, Any]]:
        """Hear it, and look: the rows of the channels by name."""
        self.now += seconds
        at = 1_700_000_000.0 + self.now
        self.collector.hear(Message("stats.second", server.snapshot(seconds), sent=int(at * 1000)))
        figures = {"notify_put:email": Counts(queued=1, delayed=self.pending, in_flight=2, accepted=9)}
        self.collector.brokers[0].counts = figures
        self.collector.queues.know(figures)
        self.collector.add_up(self.now, at, hearing=True)
        picture = self.collector.picture(self.now, at, {"away": 0, "reason": ""}, [])
        return {row["name"]: row for row in picture["channels"]}


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def test_what_each_channel_did_is_told_with_how_long_it_took(watch: Watch) -> None:
    server = Server()
    # given channels that have sent nothing yet: they are there
    rows = watch.second(server)
    assert {name: (row["sent"], row["idle"]) for name, row in rows.items()} == {"inbox": (0, None), "email": (0, None)}
    # when one sends, puts off, gives up, and meets who does not want it
    for seconds in (0.2, 0.2, 90.0):
        server.send("email", seconds)
    for outcome, number in (("later", 2), ("dead", 1), ("off", 4)):
        server.metrics.count(f"email_{outcome}", number)
    server.metrics.count("pushed", 5)
    server.reasons = {"email": "the mail server says 451 busy"}
    # then its row says so, with what lies in its queue,
    row = watch.second(server)["email"]
    assert {key: row[key] for key in ("sent", "later", "dead", "off")} == {"sent": 3, "later": 2, "dead": 1, "off": 4}
    assert (row["waiting"], row["in_flight"], row["delayed"]) == (1, 2, 0)
    assert row["p50"] == pytest.approx(200_000, rel=0.07)
    assert row["p99"] == pytest.approx(90_000_000, rel=0.07)
    assert (row["idle"], row["reason"]) == (0.0, "the mail server says 451 busy")
    # the history has it, with what was given up as its errors,
    total = watch.collector.history.totals["channel email"]
    assert (total.count, total.errors) == (3, 1)
    # and these times are not taken for the server's own work
    assert "notify" not in watch.collector.history.totals
    # and what is idle is told with since when
    assert watch.second(server, 30.0)["email"]["idle"] == 30.0


def test_a_channel_is_stalled_that_sends_nothing_while_more_and_more_wait(watch: Watch) -> None:
    server = Server()
    server.send("email", 0.1)
    watch.second(server)
    # given a mail server that refuses
    watch.pending = 3
    watch.second(server)
    for _ in range(10):
        server.metrics.count("email_later")
        # when that lasts, but no more come, then nobody is told
        assert watch.second(server, STALLED / 5)["email"]["stalled"] == 0
    # when more come, then it is stalled since it failed first
    watch.pending = 4
    stalled = watch.second(server)["email"]["stalled"]
    assert stalled == pytest.approx(STALLED / 5 * 9 + 1)
    # and when one is sent, it is not any more; one that fails anew begins anew
    server.send("email", 700.0)
    server.metrics.count("email_later")
    assert watch.second(server)["email"]["stalled"] == 0
    server.metrics.count("email_later")
    watch.second(server)
    watch.pending = 9
    assert watch.second(server, STALLED - 2)["email"]["stalled"] == 0
    assert watch.second(server, 2)["email"]["stalled"] == STALLED


def test_what_waits_without_a_failure_is_no_fault(watch: Watch) -> None:
    # given a channel whose notifications are due later, as by night, and become more
    server = Server()
    for number in range(20):
        watch.pending = number
        assert watch.second(server, STALLED / 5)["email"]["stalled"] == 0


@pytest.mark.parametrize("reasons", [None, 7, [], {"email": 7}, {"email": "x" * 10_000}])
def test_a_server_that_lies_makes_no_picture_fail(watch: Watch, reasons: Any) -> None:
    server = Server(*(f"c{number}" for number in range(2 * CHANNELS_MAX)))
    server.reasons = reasons
    server.metrics.count("email_later")
    server.metrics.count("_sent")
    rows = watch.second(server)
    assert len(rows) == CHANNELS_MAX
    assert all(len(row["reason"]) <= 300 for row in rows.values())


def test_what_others_count_under_such_a_name_is_no_channel(watch: Watch) -> None:
    # given a web server that counts something that ends so
    process = Process()
    process.metrics.count("mail_sent", 5)
    watch.now += 1
    watch.collector.hear(Message("stats.second", process.snapshot(), sent=0))
    assert watch.second(Server("inbox")).keys() == {"inbox"}
