"""What Prometheus is told: its own parser understands it, the names follow its conventions, the numbers are ours."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from gorgond.redpill import Counts
from gorgond.service.metrics import Operation
from gorgond.stats.brokers import BrokerHealth
from gorgond.stats.history import History
from gorgond.stats.instances import Instances
from gorgond.stats.picture import database_row, picture
from gorgond.stats.prometheus import EDGES, exposition
from gorgond.stats.queues import Queues
from tests.programs import ROOT
from tests.unit.test_stats_instances import Process

CHANNELS = [
    {"name": "email", "sent": 7, "later": 2, "dead": 1, "off": 3, "gone": 5, "quiet": 6, "gathered": 8, "waiting": 4,
     "in_flight": 1, "delayed": 2, "p50": 1, "p99": 2, "idle": None, "stalled": 360.0, "reason": "451 busy"},
]  # fmt: skip


@pytest.fixture
def painted() -> dict[str, Any]:
    """A picture with something of everything in it."""
    instances, queues, health = Instances(0.0), Queues(), BrokerHealth("durable", "b.sock")
    instances.hear(Process('web@1.ho"st').snapshot(), 1.0)
    queues.look({"store_put": Counts(3, 2, 1, 4, 5.5, 20, 10)}, 0.0)
    health.take_answer({"redis_version": "7", "used_memory": "1000"})
    return picture(
        1000.0, 1.0, 1.0, instances.all.values(), queues.rows(), CHANNELS, [], [health.row()],
        database_row({"latency_ms": 2.5}, 3.0, 0.0, ""), History(1000), [],
    )  # fmt: skip


def operation(*micros: int) -> Operation:
    found = Operation()
    for each in micros:
        found.latency.record(each)
    found.errors, found.bytes = 1, 1000
    return found


def test_both_formats_are_understood_and_say_the_same(painted: dict[str, Any]) -> None:
    totals = {"web GET /info/{uid}": operation(1, 127, 128, 1000, 10**9)}
    plain, kind = exposition(painted, totals, "text/plain")
    assert kind.startswith("text/plain; version=")
    open, kind = exposition(painted, totals, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    samples = [
        {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}
        for families in (parse(plain.decode()), parse_openmetrics(open.decode()))  # type: ignore[no-untyped-call]
    ]
    assert samples[0] == samples[1]
    found = samples[0]
    web = (("operation", "GET /info/{uid}"), ("role", "web"))
    assert found["gorgond_operation_duration_seconds_count", *web] == 5
    assert found["gorgond_operation_duration_seconds_sum", *web] == pytest.approx(1000.001256)
    assert found["gorgond_operation_errors_total", *web] == 1
    # a bucket holds what took less than its edge, as exactly as it was measured
    for le, count in (("0.000128", 2), ("0.000256", 3), ("0.001024", 4), ("16.777216", 4), ("+Inf", 5)):
        assert found["gorgond_operation_duration_seconds_bucket", ("le", le), *web] == count
    assert found["gorgond_queue_messages", ("place", "dead"), ("queue", "store_put")] == 4
    assert found["gorgond_queue_oldest_seconds", ("queue", "store_put")] == 5.5
    assert found["gorgond_process_up", ("process", 'web@1.ho"st')] == 1
    assert found["gorgond_process_clock_ahead_seconds", ("process", 'web@1.ho"st')] == -0.25
    assert found["gorgond_broker_memory_bytes", ("broker", "durable")] == 1000
    assert found["gorgond_database_latency_seconds",] == 0.0025
    assert found["gorgond_state", ("state", "well")] + found["gorgond_state", ("state", "degraded")] <= 1


def test_channels_are_told_by_what_became_of_their_notifications_and_how_long_it_took(painted: dict[str, Any]) -> None:
    # given a channel that took so long for two of them
    text, _ = exposition(painted, {"channel email": operation(127, 10**6), "web GET /": operation(5)}, "")
    found: dict[Any, float] = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in parse(text.decode())
        for s in family.samples
        if family.name.startswith("gorgond_notification")
    }
    # then each outcome is a counter, the times are a histogram of their own,
    outcomes = {dict(key[1:])["outcome"]: number for key, number in found.items() if "notifications_total" in key[0]}
    assert outcomes == {"sent": 7, "later": 2, "dead": 1, "off": 3, "gone": 5, "quiet": 6, "gathered": 8}
    assert found["gorgond_notification_delivery_seconds_count", ("channel", "email")] == 2
    assert found["gorgond_notification_delivery_seconds_sum", ("channel", "email")] == pytest.approx(1.000127)
    assert found["gorgond_notification_stalled_seconds", ("channel", "email")] == 360
    # and no operation of a role
    assert b'role="channel"' not in text


def test_names_follow_the_conventions(painted: dict[str, Any]) -> None:
    families = list(parse(exposition(painted, {"web GET /": operation(5)}, "")[0].decode()))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("gorgond_")
        assert family.documentation
        for unit in ("ms", "milliseconds", "mb", "percent"):
            assert unit not in family.name.split("_")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)


def test_the_dashboard_and_the_docs_name_what_there_is(painted: dict[str, Any]) -> None:
    there = set()
    for family in parse(exposition(painted, {"web GET /": operation(5)}, "")[0].decode()):
        there |= {family.name, *(sample.name for sample in family.samples)}
    dashboard = (ROOT / "examples/grafana.json").read_text()
    assert json.loads(dashboard)["panels"]
    assert set(re.findall(r"\bgorgond_\w+", dashboard)) <= there
    for row in re.findall(r"^\| (`gorgond_.*?) \|", (ROOT / "docs/stats.md").read_text(), re.MULTILINE):
        first, *rest = re.findall("`(\\w+)`", row)
        kind = "_".join(first.split("_")[:2])
        assert first in there
        for name in rest:
            assert any(each.startswith(f"{kind}{name}") or each.endswith(name) for each in there), name


def test_edges_are_edges_of_what_is_measured() -> None:
    for edge in EDGES:
        below, at = operation(edge - 1), operation(edge)
        assert max(below.latency.buckets) + 1 == min(at.latency.buckets)
