"""The picture as one screen, the verdict first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gorgond.commands.operator import listing, text
from gorgond.commands.operator.replication import replication_lines
from gorgond.commands.operator.text import Row
from gorgond.service.plain import plain
from gorgond.stats.instances import STATES
from gorgond.stats.verdict import SHOWN

EXIT_CODES = {"well": 0, "degraded": 1, "down": 2, "unknown": 3}

_SIGNS = {"well": "●", "degraded": "▲", "down": "✖", "unknown": "○"}
_COLOURS = {"well": text.GREEN, "degraded": text.YELLOW, "down": text.RED, "unknown": text.YELLOW}
_SPANS = (("minute", "last minute"), ("hour", "last hour"), ("day", "last day"))
_KEPT = {
    "always": "; what is accepted survives a power failure",
    "everysec": "; a power failure loses what was accepted in the second before it",
    "none": "; what is accepted is lost when the broker dies",
    "unknown": "",
}
_PLACES = ("stored", "queued", "in_flight", "delayed", "dead", "expired", "dropped", "overflow")
MARKS = 3  # of the newest things that happened


def overview(picture: Row, colours: bool) -> list[str]:
    """The lines of `gorgonctl status`, fit for a terminal."""
    verdict: Mapping[str, Any] = picture["verdict"]
    state: str = verdict["state"]
    parts = [
        [*_headline(state, verdict), f"  {_about(picture)}"],
        _requests(picture["spans"]),
        _roles(picture["roles"]),
        _queues(picture["queues"]),
        listing.channel_table(picture.get("channels", ())),  # an earlier stats server has none
        [*_ledger(picture["ledger"]), *map(_broker, picture["redis"]), *_database(picture["database"])],
        *(replication_lines(row["replication"]) for row in picture["redis"] if "replication" in row),
        [f"{text.clock(mark['at'])}  {mark['text']}" for mark in picture["marks"][-MARKS:]],
    ]
    first, *others = [plain(line) for part in parts if part for line in ("", *part)][1:]
    return [f"{text.BOLD}{_COLOURS[state]}{first}{text.PLAIN}" if colours else first, *others]


def _headline(state: str, verdict: Row) -> Iterator[str]:
    yield f"{_SIGNS[state]} {verdict['text']}"
    for reason in verdict["reasons"][SHOWN:]:
        yield f"  {reason}"


def _about(picture: Row) -> str:
    watched = f"watched for {text.duration(picture['uptime'])}"
    kept = "" if any(broker.get("lost") for broker in picture["redis"]) else _KEPT[picture["durability"]]
    return f"gorgond {picture['version']}, {watched}, {text.clock(picture['at'])}{kept}"


def _requests(spans: Row) -> list[str]:
    rows = [(title, spans[span]) for span, title in _SPANS if spans[span]["count"]]
    return text.table(
        ("requests", ">count", ">per s", ">errors", ">bytes", ">median", ">95 %", ">99 %", ">longest"),
        [_span(title, row) for title, row in rows],
    )


def _span(title: str, row: Row) -> Sequence[str]:
    each = row["count"] / max(row["seconds"], 1)
    counts = text.count(row["count"]), text.rate(each), text.count(row["errors"]), text.size(row["bytes"])
    times = [text.latency(row[key]) for key in ("p50", "p95", "p99", "max")]
    return (title, *counts, *times)


def _roles(rows: Sequence[Row]) -> list[str]:
    states = ("up", *(each for each in STATES[1:] if any(row.get(each) for row in rows)))
    header = ("role", *(f">{each}" for each in states), ">in/s", ">out/s")
    return text.table(
        header,
        [
            (row["role"], *(str(row.get(state) or "") for state in states), text.rate(row["in"]), text.rate(row["out"]))
            for row in rows
        ],
    )


def _queues(rows: Sequence[Row]) -> list[str]:
    return text.table((*listing.NOW, ""), [(*listing.now(row), listing.paused_cell(row)) for row in rows])


def _ledger(ledger: Row) -> Iterator[str]:
    if ledger["accepted"]:
        sums = " + ".join(f"{ledger[key]:,} {key.replace('_', ' ')}" for key in _PLACES if ledger[key])
        yield f"{ledger['text']}: {ledger['accepted']:,} accepted = {sums or 0}"


def _broker(row: Row) -> str:
    name = f"broker {row['where']}"
    if row["away"]:
        return f"{name} has been away for {text.duration(row['away'])}: {row['reason']}"
    memory = text.size(row["memory"]) + (f" of {text.size(row['maxmemory'])}" if row["maxmemory"] else "")
    kept = f"on disk {row['fsync']}".rstrip() if row["aof"] else "keeps nothing on disk"
    return f"{name}: Redis {row['version']}, {kept}, {memory}, {row['clients']} clients"


def _database(row: Row) -> Iterator[str]:
    if row["name"] and row["away"]:
        yield f"database {row['name']} has not answered for {text.duration(row['away'])}: {row['reason']}"
    elif row["name"]:
        took = text.latency(row["latency_ms"] * 1000)
        yield f"database {row['name']} {row['version']}".rstrip() + f": answers in {took}"
