"""The picture and what was counted since this server started, for Prometheus: names by its conventions, units in
seconds and bytes (https://prometheus.io/docs/practices/naming/). docs/stats.md explains each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gorgond.service.channels import OPERATION, OUTCOMES
from gorgond.service.metrics import Histogram, Operation, upper_edge
from gorgond.stats.replication import agreeing_sentinels, masters, server_rows

EDGES = tuple(2**power for power in range(7, 25))
"""µs below which a bucket of Prometheus ends: 128 µs to 16.8 s, each twice the one before."""

STATES = ("well", "degraded", "down", "unknown")
_PLACES = {"queued": "queued", "in_flight": "in_flight", "delayed": "delayed", "dead": "dead"}
_COUNTED = {
    "accepted": "Messages that were accepted",
    "done": "Messages that were handled",
    "expired": "Messages dropped past their deadline",
    "retried": "Messages put off to be tried again",
    "recovered": "Messages returned from the desks of dead instances",
    "requeued": "Dead letters put back",
    "dropped": "Dead letters deleted",
    "overflow": "Events dropped since their group was full",
}


def exposition(picture: Mapping[str, Any], totals: Mapping[str, Operation], accept: str) -> tuple[bytes, str]:
    """The text that is scraped, and its content type, which is OpenMetrics where `accept` asks for it.

    `totals` has each operation's figures since the server started, by "role operation", and by "channel NAME" how long
    notifications took.
    """
    registry = CollectorRegistry()
    operations = {name: sum for name, sum in totals.items() if not name.startswith(OPERATION)}
    families = [*_operations(operations), *_of_picture(picture), *_of_channels(picture["channels"], totals)]
    registry.register(_Once(families))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


_Value = Callable[[Mapping[str, Any]], float]
_Known = Callable[[Mapping[str, Any]], float | None]


class _Once(Collector):
    """Hands out what was made."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _operations(totals: Mapping[str, Operation]) -> Iterator[Metric]:
    labels = ["role", "operation"]
    took = HistogramMetricFamily("gorgond_operation_duration_seconds", "How long operations took", labels=labels)
    errors = CounterMetricFamily("gorgond_operation_errors", "Operations that failed", labels=labels)
    sizes = CounterMetricFamily("gorgond_operation_bytes", "Bytes of requests and answers", labels=labels)
    for name, operation in sorted(totals.items()):
        role, _, what = name.partition(" ")
        took.add_metric([role, what], _buckets(operation.latency), operation.latency.total / 1e6)
        errors.add_metric([role, what], operation.errors)
        sizes.add_metric([role, what], operation.bytes)
    yield from (took, errors, sizes)


def _buckets(latency: Histogram) -> list[tuple[str, float]]:
    """How many took at most so long, for each edge; what Prometheus calls le."""
    found: list[tuple[str, float]] = []
    buckets = sorted(latency.buckets.items())
    seen = place = 0
    for edge in EDGES:
        while place < len(buckets) and upper_edge(buckets[place][0]) < edge:
            seen += buckets[place][1]
            place += 1
        found.append((repr(edge / 1e6), seen))
    return [*found, ("+Inf", latency.count)]


def _of_picture(picture: Mapping[str, Any]) -> Iterator[Metric]:
    state = GaugeMetricFamily("gorgond_state", "1 for what the verdict is", labels=["state"])
    for each in STATES:
        state.add_metric([each], picture["verdict"]["state"] == each)
    yield state
    yield from _of_queues(picture["queues"])
    yield from _of_instances(picture["instances"])
    yield from _of_brokers(picture["redis"])
    difference = GaugeMetricFamily("gorgond_ledger_difference", "Accepted messages that are in no place")
    difference.add_metric([], picture["ledger"]["difference"])
    yield difference
    database = picture["database"]
    up = GaugeMetricFamily("gorgond_database_up", "Whether a store server tells of the database")
    up.add_metric([], not database["away"])
    latency = GaugeMetricFamily("gorgond_database_latency_seconds", "How long the database takes for a sign of life")
    latency.add_metric([], database["latency_ms"] / 1000)
    yield from (up, latency)


def _of_queues(rows: list[Mapping[str, Any]]) -> Iterator[Metric]:
    messages = GaugeMetricFamily("gorgond_queue_messages", "Messages in a queue, by place", labels=["queue", "place"])
    oldest = GaugeMetricFamily("gorgond_queue_oldest_seconds", "Age of the message at the head", labels=["queue"])
    for row in rows:
        for place, figure in _PLACES.items():
            messages.add_metric([row["name"], place], row[figure])
        oldest.add_metric([row["name"]], row["oldest"])
    yield from (messages, oldest)
    for figure, text in _COUNTED.items():
        counter = CounterMetricFamily(f"gorgond_queue_{figure}", text, labels=["queue"])
        for row in rows:
            counter.add_metric([row["name"]], row[figure])
        yield counter


def _of_channels(rows: list[Mapping[str, Any]], totals: Mapping[str, Operation]) -> Iterator[Metric]:
    outcomes = CounterMetricFamily(
        "gorgond_notifications",
        "Notifications by what became of an attempt to send them",
        labels=["channel", "outcome"],
    )
    took = HistogramMetricFamily(
        "gorgond_notification_delivery_seconds",
        "From a notification's being accepted to its being sent",
        labels=["channel"],
    )
    stalled = GaugeMetricFamily(
        "gorgond_notification_stalled_seconds",
        "For how long a channel has sent nothing while more and more wait; 0: it sends, or none wait",
        labels=["channel"],
    )
    for row in rows:
        name = row["name"]
        for outcome in OUTCOMES:
            outcomes.add_metric([name, outcome], row[outcome])
        latency = totals.get(OPERATION + name, Operation()).latency
        took.add_metric([name], _buckets(latency), latency.total / 1e6)
        stalled.add_metric([name], row["stalled"])
    yield from (outcomes, took, stalled)


def _of_instances(rows: list[Mapping[str, Any]]) -> Iterator[Metric]:
    about = InfoMetricFamily("gorgond_process", "The processes of the fabric", labels=["process"])
    for row in rows:
        about.add_metric(
            [row["name"]], {"role": row["role"], "version": row["version"], "host": row["host"]}
        )  # fmt: skip
    yield about
    gauges: Mapping[str, tuple[str, _Value]] = {
        "up": ("Whether it is up", lambda row: row["state"] == "up"),
        "resident_memory_bytes": ("Memory it has", lambda row: row["rss"]),
        "cpu_ratio": ("Share of a core it uses", lambda row: row["cpu"]),
        "loop_lag_seconds": ("By how much its event loop was late", lambda row: row["lag"]),
        "silence_seconds": ("Time since it was heard", lambda row: row["silent"]),
    }
    for name, (text, value) in gauges.items():
        gauge = GaugeMetricFamily(f"gorgond_process_{name}", text, labels=["process"])
        for row in rows:
            gauge.add_metric([row["name"]], value(row))
        yield gauge
    clocks = GaugeMetricFamily(
        "gorgond_process_clock_ahead_seconds",
        "By how much its host's clock is ahead of the broker's; negative: behind",
        labels=["process"],
    )
    for row in rows:
        if row["clock"] is not None:
            clocks.add_metric([row["name"]], row["clock"])
    yield clocks
    restarts = CounterMetricFamily("gorgond_process_restarts", "How often it was started again", labels=["process"])
    for row in rows:
        restarts.add_metric([row["name"]], row["restarts"])
    yield restarts


def _of_brokers(rows: list[Mapping[str, Any]]) -> Iterator[Metric]:
    gauges: Mapping[str, tuple[str, _Value]] = {
        "up": ("Whether the broker answers", lambda row: not row["away"]),
        "memory_bytes": ("Memory it uses", lambda row: row["memory"]),
        "memory_max_bytes": ("Memory it may use; 0: as much as there is", lambda row: row["maxmemory"]),
        "clients": ("Connections it has", lambda row: row["clients"]),
    }
    for name, (text, value) in gauges.items():
        gauge = GaugeMetricFamily(f"gorgond_broker_{name}", text, labels=["broker"])
        for row in rows:
            gauge.add_metric([row["name"]], value(row))
        yield gauge
    yield from _of_replication({row["name"]: row["replication"] for row in rows})
    counters = {
        "rejected_connections": ("Connections it refused", "rejected"),
        "delayed_fsyncs": ("Writes that waited for its disk", "delayed_fsync"),
    }
    for name, (text, figure) in counters.items():
        counter = CounterMetricFamily(f"gorgond_broker_{name}", text, labels=["broker"])
        for row in rows:
            counter.add_metric([row["name"]], row[figure])
        yield counter


def _of_replication(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """The servers that each broker is made of, by its name."""
    whole: Mapping[str, tuple[str, _Value]] = {
        "copies": ("Servers that have what is accepted", lambda row: row["copies"]),
        "masters": ("Servers that take themselves for the master", lambda row: len(masters(row))),
        "sentinels_agreeing": ("Sentinels that name the same master", lambda row: len(agreeing_sentinels(row))),
    }
    for name, (text, value) in whole.items():
        gauge = GaugeMetricFamily(f"gorgond_broker_{name}", text, labels=["broker"])
        for broker, row in rows.items():
            gauge.add_metric([broker], value(row))
        yield gauge
    failovers = CounterMetricFamily(
        "gorgond_broker_failovers", "How often another one became the master", labels=["broker"]
    )
    for broker, row in rows.items():
        failovers.add_metric([broker], row["failovers"])
    yield failovers
    servers: Mapping[str, tuple[str, _Known]] = {
        "up": ("Whether it answers", lambda server: bool(server.get("role") or server.get("names"))),
        "lag_bytes": ("What a replica has not told its master to have", lambda server: server.get("lacks")),
        "lag_seconds": ("Time since its master heard it", lambda server: server.get("heard")),
        "certificate_ends_seconds": ("Time until its certificate ends", lambda server: server["ends_in"]),
    }
    for name, (text, known) in servers.items():
        gauge = GaugeMetricFamily(f"gorgond_server_{name}", text, labels=["broker", "server"])
        for broker, row in rows.items():
            for server in server_rows(row):
                if (figure := known(server)) is not None:
                    gauge.add_metric([broker, server["where"]], figure)
        yield gauge
