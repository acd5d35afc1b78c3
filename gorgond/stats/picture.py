"""The picture: all that is known at one moment as one JSON object, the same for everybody who looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gorgond import __version__
from gorgond.roles import place
from gorgond.service.metrics import Operation
from gorgond.stats.brokers import durability
from gorgond.stats.history import History
from gorgond.stats.instances import DOUBLED, SETTLED, STATES, Instance
from gorgond.stats.queues import ledger
from gorgond.stats.verdict import verdict

PUBLIC = "web"  # the series of all requests of web servers
LATELY = 5  # seconds shown one by one

Row = dict[str, Any]


def picture(
    at: float,
    now: float,
    uptime: float,
    instances: Iterable[Instance],
    queues: Sequence[Row],
    channels: Sequence[Row],
    jobs: Sequence[Row],
    redis: Sequence[Row],
    database: Row,
    history: History,
    marks: Sequence[Row],
) -> Row:
    """The whole picture `at` seconds since 1970, which is `now` by the clock of the instances. The rows are those of
    `Queues`, `Channels`, `Jobs`, `BrokerHealth` (the durable broker's first), `database_row` and `Marks`."""
    people = [instance_row(each, now, at) for each in sorted(instances, key=_place)]
    books = ledger(queues)
    spans = spans_of(history, int(at))
    return {
        "at": int(at * 1000),
        "version": __version__,
        "uptime": round(uptime, 1),
        "verdict": verdict(people, queues, channels, redis, database, books, spans["second"], uptime > SETTLED),
        "durability": durability(redis),
        "spans": spans,
        "roles": roles(people),
        "instances": people,
        "queues": list(queues),
        "channels": list(channels),
        "jobs": list(jobs),
        "ledger": books,
        "redis": list(redis),
        "database": dict(database),
        "marks": list(marks),
    }


def _place(instance: Instance) -> tuple[tuple[int, str], str]:
    """By role, as the table of roles has them, then by name."""
    return place(instance.last["role"]), instance.name


def instance_row(instance: Instance, now: float, at: float) -> Row:
    """One instance; `since` is ms since 1970, `in`, `out` and `errors` are per second, the other times seconds.
    `clock` is by how much its host's clock is ahead of the broker's, None where it does not say; `set` what Sentinels
    call the broker that it has, empty for a Redis by itself; `route` which queues it routes elsewhere."""
    last = instance.last
    return {
        "name": instance.name,
        "role": last["role"],
        "instance": last["instance"],
        "host": last.get("host", ""),
        "machine": last.get("machine", ""),
        "pid": last["pid"],
        "state": instance.state,
        "since": int((at - now + instance.since) * 1000),
        "uptime": last["uptime"],
        "in": round(instance.rates["in"], 1),
        "out": round(instance.rates["out"], 1),
        "errors": round(instance.rates["errors"], 1),
        "lag": last["lag"],
        "clock": last.get("clock"),
        "set": last.get("set", ""),
        "route": last.get("route", ""),
        "rss": last["rss"],
        "cpu": round(instance.rates["cpu"], 4),
        "silent": round(instance.silent(now), 1),
        "failed": instance.why if instance.state == "failed" else "",
        "doubled": now - instance.doubled < DOUBLED,
        "stuck": last["silent"],
        "restarts": instance.restarts,
        "version": last["version"],
        "status": last["status"],
        "queues": sorted(last["queues"]),
    }


def roles(people: Sequence[Row]) -> list[Row]:
    """How many instances of each role are how, and what they take and finish per second together."""
    found: dict[str, Row] = {}
    for each in people:
        role = found.setdefault(each["role"], {"role": each["role"], **dict.fromkeys(STATES, 0), "in": 0.0, "out": 0.0})
        role[each["state"]] += 1
        role["in"] = round(role["in"] + each["in"], 1)
        role["out"] = round(role["out"] + each["out"], 1)
    return [found[name] for name in sorted(found, key=place)]


def spans_of(history: History, now: int, series: str = PUBLIC) -> Row:
    """The work of the last seconds, one by one, and of the last minute, hour and day."""
    return {
        "second": [row(*each) for each in history.rows(series, 0, LATELY, now)],
        "minute": sum_rows(history.rows(series, 0, 60, now)),
        "hour": sum_rows(history.rows(series, 1, 60, now)),
        "day": sum_rows(history.rows(series, 2, 24, now)),
    }


def sum_rows(rows: Iterable[tuple[int, int, Operation]]) -> Row:
    """Some periods as one; its percentiles are those of all that was done."""
    begin, seconds, sum = -1, 0, Operation()
    for at, covered, operation in rows:
        begin = at if begin < 0 else begin
        seconds += covered
        sum.merge(operation)
    return row(begin, seconds, sum)


def row(at: int, seconds: int, operation: Operation) -> Row:
    """A period: when it began in ms since 1970, how many of its seconds were listened to; latencies in µs."""
    latency = operation.latency
    return {
        "at": at * 1000,
        "seconds": seconds,
        "count": operation.count,
        "errors": operation.errors,
        "bytes": operation.bytes,
        "p50": latency.percentile(50),
        "p95": latency.percentile(95),
        "p99": latency.percentile(99),
        "max": latency.highest,
    }


def database_row(answer: Mapping[str, Any], latency: float, away: float, reason: str) -> Row:
    """The database as a store server told of it, `latency` ms for the whole way through the queue and back, and the
    seconds since one did."""
    return {
        "name": answer.get("database", ""),
        "version": answer.get("version", ""),
        "latency_ms": answer.get("latency_ms", 0.0),
        "roundtrip_ms": round(latency, 3),
        "pool": answer.get("pool", {"open": 0, "busy": 0}),
        "away": round(away, 1),
        "reason": reason,
    }
