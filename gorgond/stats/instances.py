"""The last snapshot heard of each instance, and its work by the differences of its snapshots.

An instance that is new to us is counted from its first snapshot on if it began after we did; otherwise that one is what
later ones are compared with. A process that takes another's name begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from gorgond.service.metrics import Operation, upper_edge

SILENT = 2.0  # seconds without a word after which an instance counts as silent: it speaks each second
GONE = 60.0  # seconds after which it counts as gone
FORGOTTEN = 3600.0  # seconds after which nothing is said of it any more
INSTANCES_MAX = 1000

_TEXTS = ("name", "role", "instance", "version", "state", "status")
_NUMBERS = ("pid", "uptime", "silent", "lag", "rss", "cpu")

log = logging.getLogger("gorgond.stats")


@dataclass(slots=True)
class Instance:
    """One name, and the process that has it now. Times are seconds of the monotonic clock."""

    name: str
    last: Mapping[str, Any]  # the newest snapshot
    heard: float
    since: float  # when its state began
    state: str = "up"
    restarts: int = 0
    rates: dict[str, float] = field(default_factory=lambda: {"in": 0.0, "out": 0.0, "errors": 0.0, "cpu": 0.0})

    def silent(self, now: float) -> float:
        """Seconds since it, or its slowest loop, gave a sign of life."""
        return max(now - self.heard, 0.0)


@dataclass(frozen=True, slots=True)
class Done:
    """The work of an instance between two snapshots: by operation."""

    instance: Instance
    operations: Mapping[str, Operation]


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """Something that happened to an instance: start, restart, upgrade or stop, in words."""

    kind: str
    name: str
    at: float
    text: str


class Instances:
    """All instances that were heard, from `now` on."""

    def __init__(self, now: float) -> None:
        self.all: dict[str, Instance] = {}
        self._events: list[LifecycleEvent] = []
        self._listening_since = now

    def heard(self, snapshot: Mapping[str, Any], now: float) -> Done | None:
        """Take a snapshot in; what was done since the one before. None for what is no snapshot."""
        try:
            return self._heard(snapshot, now)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.warning("a snapshot of %.100s is not understood: %r", snapshot.get("name"), error)
            return None

    def _heard(self, snapshot: Mapping[str, Any], now: float) -> Done | None:
        for keys, kind in ((_TEXTS, str), (_NUMBERS, (int, float))):
            for key in keys:
                if not isinstance(snapshot[key], kind):
                    raise TypeError(f"{key} is {snapshot[key]!r}")
        if not isinstance(snapshot.get("clock", 0.0), (int, float, NoneType)):
            raise TypeError(f"clock is {snapshot['clock']!r}")
        name: str = snapshot["name"]
        known = self.all.get(name)
        before: Mapping[str, Any] = {}
        if known is None:
            if len(self.all) >= INSTANCES_MAX:
                return None
            known = self.all[name] = Instance(name, snapshot, now, now - snapshot["uptime"])
            if snapshot["uptime"] > now - self._listening_since + 1:
                before = snapshot
            else:
                self._events.append(LifecycleEvent("start", name, known.since, f"{name} started"))
        elif known.last["pid"] == snapshot["pid"] and known.last["uptime"] <= snapshot["uptime"]:
            before = known.last
        else:
            self._successor(known, snapshot, now)
        known.rates = _rates(before, snapshot)
        operations = dict(_differences(before.get("operations", {}), snapshot["operations"]))
        known.last, known.heard = snapshot, now
        self._enter(known, snapshot["state"], now)
        return Done(known, operations)

    def _successor(self, known: Instance, snapshot: Mapping[str, Any], now: float) -> None:
        """Another process has the name."""
        was, version = known.last["version"], snapshot["version"]
        known.restarts += 1
        known.since = now - snapshot["uptime"]
        if version != was:
            text = f"{known.name} upgraded from {was} to {version}"
            self._events.append(LifecycleEvent("upgrade", known.name, known.since, text))
        else:
            self._events.append(LifecycleEvent("restart", known.name, known.since, f"{known.name} restarted"))

    def take_events(self) -> list[LifecycleEvent]:
        """The events in the lives of instances since the last call."""
        events, self._events = self._events, []
        return events

    def look(self, now: float, hearing: bool) -> None:
        """See who has become silent, who is gone; nobody while we hear nothing since the broker is away."""
        for name, instance in list(self.all.items()):
            if not hearing and instance.state != "gone":
                instance.heard = now
            silent = instance.silent(now)
            if instance.state == "gone":
                if silent > FORGOTTEN:
                    del self.all[name]
            elif silent > GONE:
                self._enter(instance, "gone", now)
            elif silent > SILENT:
                self._enter(instance, "silent", now)

    def _enter(self, instance: Instance, state: str, now: float) -> None:
        if state not in ("up", "draining", "silent", "gone"):
            raise ValueError(f"{state!r} is no state")
        if state == instance.state:
            return
        if state == "gone":
            self._events.append(LifecycleEvent("stop", instance.name, now, f"{instance.name} {_end(instance.state)}"))
        instance.state, instance.since = state, now
        if state in ("silent", "gone"):
            instance.rates = dict.fromkeys(instance.rates, 0.0)


def _end(state: str) -> str:
    return "is gone without a word" if state == "silent" else "stopped"


def _rates(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """Its work per second: messages or requests taken, those done well, those not, and the share of a core."""
    seconds = after["uptime"] - before.get("uptime", 0.0)
    if seconds <= 0:
        return {"in": 0.0, "out": 0.0, "errors": 0.0, "cpu": 0.0}
    (came, went, failed), (came_then, went_then, failed_then) = _work(after), _work(before) if before else (0, 0, 0)
    cpu = (after["cpu"] - before.get("cpu", 0.0)) / seconds
    return {
        "in": (came - came_then) / seconds,
        "out": (went - went_then) / seconds,
        "errors": (failed - failed_then) / seconds,
        "cpu": max(cpu, 0.0),
    }


def _work(snapshot: Mapping[str, Any]) -> tuple[float, float, float]:
    """How much came to an instance, how much it did well, and how much not, since it started."""
    counters: Mapping[str, int] = snapshot["counters"]
    consumers = snapshot["queues"].values()
    answered = sum(number for name, number in counters.items() if name.startswith("http "))
    broken = sum(number for name, number in counters.items() if name.startswith("http 5"))
    handled = sum(consumer["handled"] for consumer in consumers)
    failed = sum(consumer["failed"] for consumer in consumers)
    expired = sum(consumer["expired"] for consumer in consumers)
    pushed = counters.get("pushed", 0)
    return answered + handled + failed + expired, answered - broken + handled + pushed, broken + failed


def _differences(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Operation]]:
    """The work on each operation between two snapshots of one process, where there was any."""
    for name, new in after.items():
        old = before.get(name)
        if old is None:
            operation = Operation.of(new)
        elif new["count"] == old["count"]:
            continue
        else:
            operation = _difference(old, new)
        if operation.count:
            yield name, operation


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Operation:
    """Exact but for the highest value: where it is not a new record, it is known to its bucket."""
    then = old["buckets"]
    buckets = {bucket: count - then.get(bucket, 0) for bucket, count in new["buckets"].items()}
    found = Operation()
    found.errors, found.bytes = new["errors"] - old["errors"], new["bytes"] - old["bytes"]
    latency = found.latency
    latency.buckets = {int(bucket): count for bucket, count in buckets.items() if count}
    latency.count, latency.total = new["count"] - old["count"], new["total"] - old["total"]
    if new["highest"] > old["highest"]:
        latency.highest = new["highest"]
    elif latency.buckets:
        latency.highest = min(upper_edge(max(latency.buckets)), new["highest"])
    return found
