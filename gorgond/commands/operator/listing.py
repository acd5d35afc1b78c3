"""The picture as tables: every queue, every channel of notifications, every instance."""

from __future__ import annotations

from collections.abc import Sequence

from gorgond.commands.operator import text
from gorgond.commands.operator.text import Row
from gorgond.redpill import now_ms
from gorgond.stats.verdict import PRESENT

NOW = ("queue", ">waiting", ">oldest", ">in flight", ">delayed", ">dead", ">in/s", ">out/s")
SINCE = ("accepted", "done", "retried", "recovered", "expired")


def queue_table(queues: Sequence[Row]) -> list[str]:
    """The lines of `gorgonctl queues`."""
    header = (*NOW, *(f">{figure}" for figure in SINCE), "")
    since = [[text.count(row[figure]) for figure in SINCE] for row in queues]
    return text.table(header, [(*now(row), *some, paused_cell(row)) for row, some in zip(queues, since, strict=True)])


def now(row: Row) -> Sequence[str]:
    """The messages of a queue by where they are, and what moves: cells under the header NOW."""
    oldest = text.duration(row["oldest"]) if row["queued"] else ""
    figures = [text.count(row[key]) for key in ("in_flight", "delayed", "dead")]
    return (row["name"], text.count(row["queued"]), oldest, *figures, text.rate(row["in"]), text.rate(row["out"]))


def paused_cell(row: Row) -> str:
    """A cell that says so."""
    return "paused" if row["paused"] else ""


def channel_table(channels: Sequence[Row]) -> list[str]:
    """The lines of `gorgonctl notifications`."""
    header = (
        "channel", ">sent", ">later", ">given up", ">off", ">waiting", ">in flight", ">delayed", ">median", ">99 %",
        ">last sent", "last failure",
    )  # fmt: skip
    return text.table(header, [_channel(row) for row in channels])


def _channel(row: Row) -> Sequence[str]:
    sent = [text.count(row[key]) for key in ("sent", "later", "dead")]
    lies = [text.count(row[key]) for key in ("waiting", "in_flight", "delayed")]
    took = [text.latency(row[key]) if row[key] else "" for key in ("p50", "p99")]
    idle = "" if row["idle"] is None else text.duration(row["idle"])
    return (row["name"], *sent, text.count(row["off"] + row["gone"]), *lies, *took, idle, row["reason"])


def instance_table(instances: Sequence[Row]) -> list[str]:
    """The lines of `gorgonctl instances`."""
    header = (
        "instance", "state", ">since", ">in/s", ">out/s", ">errors/s", ">lag", ">clock", ">memory", ">cpu", ">restarts",
        "does",
    )  # fmt: skip
    return text.table(header, [_instance(row) for row in instances])


def _instance(row: Row) -> Sequence[str]:
    since = text.duration(max(now_ms() - row["since"], 0) / 1000)
    rates = [text.rate(row[key]) for key in ("in", "out", "errors")]
    lag = text.latency(max(row["lag"], 0) * 1e6)
    gone = row["state"] not in PRESENT
    vitals = [lag, _clock(row["clock"]), text.size(row["rss"]), f"{row['cpu'] * 100:.0f} %"]
    now = ("", "", "", "") if gone else vitals
    return (row["name"], row["state"], since, *rates, *now, str(row["restarts"]), "" if gone else row["status"])


def _clock(ahead: float | None) -> str:
    """By how much the clock of its host is ahead of the broker's."""
    return "" if ahead is None else f"{round(ahead, 1) + 0.0:+,.1f} s"  # no -0.0
