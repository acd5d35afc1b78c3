"""The last snapshot heard of each instance, and its work by the differences of its snapshots.

    up, draining    it says so, each second
    silent          it says nothing, and has not said that it would end: it is missed until it is heard again, or the
                    operator says that it will not be (`forget`)
    failed          it has said why it cannot run; it is missed likewise
    gone            it has ended in good order
    done            it has ended since it had done all that it had to do

A stats server that begins expects those that the one before it had heard (`expect`, `expected`). One that it does not
hear either is missed, as if it had been heard before.

An instance that is new to us is counted from its first snapshot on if it began after we did; otherwise that one is what
later ones are compared with. A process that takes another's name begins anew.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from gorgond.service.metrics import Operation, upper_edge

SILENT = 2.0  # seconds without a word after which an instance counts as silent: it speaks each second
SETTLED = 3.0  # seconds of listening after which who was not heard is missed
FORGOTTEN = 3600.0  # seconds after which nothing is said any more of one that has ended
DOUBLED = 60.0  # seconds for which it is told that two processes have one name
FORMER = 4  # processes before the present one of which it is known that they had the name
INSTANCES_MAX = 1000

STATES = ("up", "draining", "silent", "failed", "done", "gone")
MISSING = ("silent", "failed")
ENDED = ("gone", "done")

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
    run: object  # of the process: what no other has; None: it was not heard by us
    state: str = "up"
    why: str = ""  # it has failed
    restarts: int = 0
    former: deque[object] = field(default_factory=lambda: deque(maxlen=FORMER))
    doubled: float = float("-inf")  # when a process was heard that another had succeeded
    rates: dict[str, float] = field(default_factory=lambda: {"in": 0.0, "out": 0.0, "errors": 0.0, "cpu": 0.0})

    def silent(self, now: float) -> float:
        """Seconds since it, or its slowest loop, gave a sign of life."""
        return max(now - self.heard, 0.0)


@dataclass(frozen=True, slots=True)
class Expected:
    """An instance that the next stats server is to miss when it does not hear it: what is known of it, its state, when
    it was heard last in seconds since 1970, and why it has failed."""

    name: str
    role: str
    instance: str
    host: str
    version: str
    state: str
    heard: float
    why: str

    @classmethod
    def of(cls, heard: float, **texts: str) -> Expected:
        """One that was written down. Raises TypeError, ValueError for what is none."""
        return cls(heard=float(heard), **{key: str(text) for key, text in texts.items()})


@dataclass(frozen=True, slots=True)
class Done:
    """The work of an instance between two snapshots, by operation; its counters that grew, by how much; and its groups
    that were deleted past it and made again, by their queues."""

    instance: Instance
    operations: Mapping[str, Operation]
    counted: Mapping[str, int]
    rejoined: Sequence[str]


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
        self._expected: dict[str, Instance] = {}  # who was not heard yet, and need not be until
        self._due = now

    def expect(self, them: Iterable[Expected], now: float, at: float) -> None:
        """Miss these unless they are heard soon. `at` is `now` in seconds since 1970."""
        for each in them:
            missed = each.state in MISSING
            heard = now - max(at - each.heard, 0.0) if missed else now
            last = {**_UNHEARD, **{key: getattr(each, key) for key in _KEPT}}
            state = each.state if missed else "silent"
            self._expected[each.name] = Instance(each.name, last, heard, heard, None, state, each.why)
        self._due = now + SETTLED

    def expected(self, now: float, at: float) -> list[Expected]:
        """The instances that are there or missed, for the next stats server. One that drains has said that it will
        end."""
        return [
            Expected(
                **{key: each.last.get(key, "") for key in _KEPT} | {"name": each.name},
                state=each.state,
                heard=int(at - each.silent(now)),
                why=each.why,
            )
            for each in (self._expected | self.all).values()
            if each.state not in (*ENDED, "draining")
        ]

    def hear(self, snapshot: Mapping[str, Any], now: float) -> Done | None:
        """Take a snapshot in; what was done since the one before. None for what is no snapshot."""
        try:
            return self._hear(snapshot, now)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.warning("a snapshot of %.100s is not understood: %r", snapshot.get("name"), error)
            return None

    def _hear(self, snapshot: Mapping[str, Any], now: float) -> Done | None:
        for keys, kind in ((_TEXTS, str), (_NUMBERS, (int, float))):
            for key in keys:
                if not isinstance(snapshot[key], kind):
                    raise TypeError(f"{key} is {snapshot[key]!r}")
        if not isinstance(snapshot.get("clock", 0.0), (int, float, NoneType)):
            raise TypeError(f"clock is {snapshot['clock']!r}")
        name = self._called(snapshot)
        run = snapshot.get("run", snapshot["pid"])  # an earlier gorgond has none
        known = self.all.get(name)
        before: Mapping[str, Any] = {}
        if known is None or known.run is None:
            self._expected.pop(name, None)
            if len(self.all) >= INSTANCES_MAX:
                return None
            known = self.all[name] = Instance(name, snapshot, now, now - snapshot["uptime"], run)
            if snapshot["uptime"] > now - self._listening_since + 1:
                before = snapshot
            else:
                self._events.append(LifecycleEvent("start", name, known.since, f"{name} started"))
        elif known.run == run and known.last["uptime"] <= snapshot["uptime"]:
            before = known.last
        elif run in known.former and known.state in ("up", "draining"):
            known.doubled = now
            return None
        else:
            self._successor(known, snapshot, now)
            known.former.append(known.run)
            known.run = run
        known.rates = _rates(before, snapshot)
        operations = dict(_differences(before.get("operations", {}), snapshot["operations"]))
        known.last, known.heard = snapshot, now
        ended = snapshot["state"] == "gone" and snapshot.get("done") is True
        self._enter(known, "done" if ended else snapshot["state"], now)
        counted = _growth(before.get("counters", {}), snapshot["counters"])
        return Done(known, operations, counted, _groups_made_again(before.get("queues", {}), snapshot["queues"]))

    def _called(self, snapshot: Mapping[str, Any]) -> str:
        """The name under which we know who says this: its own, or, where one of another machine has that, with its
        machine."""
        name, machine = str(snapshot["name"]), str(snapshot.get("machine", ""))  # an earlier gorgond has none
        apart, known = f"{name}:{machine}", self.all.get(name)
        if apart in self._expected or apart in self.all:
            return apart
        # One that was restarted may be on another machine; one that speaks again after its successor is a second one.
        if known is None or snapshot.get("run") not in known.former or known.last.get("machine", "") in ("", machine):
            return name
        if known.state not in ("up", "draining"):
            return name
        log.warning("two hosts are called %s: %s is also on machine %s", snapshot.get("host"), name, machine)
        return apart

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

    def note_failure(self, name: str, run: object, why: str, now: float) -> None:
        """A process says why it cannot run under this name. That is no news while another one does."""
        known = (self._expected | self.all).get(name)
        if known is not None and (run == known.run or known.state not in ("up", "draining")):
            known.why = why
            self._enter(known, "failed", now)

    def forget(self, name: str) -> None:
        """Miss it no more."""
        self._expected.pop(name, None)
        if name in self.all and self.all[name].state not in ("up", "draining"):
            del self.all[name]

    def take_events(self) -> list[LifecycleEvent]:
        """The events in the lives of instances since the last call."""
        events, self._events = self._events, []
        return events

    def look(self, now: float, hearing: bool) -> None:
        """See who has become silent; nobody while we hear nothing since the broker is away."""
        if not hearing:
            self._due = now + SETTLED
        elif now > self._due:
            self.all |= self._expected
            self._expected.clear()
        for name, instance in list(self.all.items()):
            if instance.state in ENDED:
                if instance.silent(now) > FORGOTTEN:
                    del self.all[name]
            elif instance.state != "failed":
                if not hearing:
                    instance.heard = now
                if instance.silent(now) > SILENT:
                    self._enter(instance, "silent", now)

    def _enter(self, instance: Instance, state: str, now: float) -> None:
        if state not in STATES:
            raise ValueError(f"{state!r} is no state")
        if state == instance.state:
            return
        if state in _ENDS:
            self._events.append(LifecycleEvent("stop", instance.name, now, f"{instance.name} {_ENDS[state]}"))
        instance.state, instance.since = state, now
        if state in (*MISSING, *ENDED):
            instance.rates = dict.fromkeys(instance.rates, 0.0)


_KEPT = ("name", "role", "instance", "host", "version")
_UNHEARD: Mapping[str, Any] = {
    "pid": 0, "uptime": 0.0, "silent": 0.0, "lag": 0.0, "rss": 0, "cpu": 0.0, "status": "", "queues": {},
}  # fmt: skip

_ENDS = {"gone": "stopped", "done": "is done", "failed": "cannot run"}


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


def _groups_made_again(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The queues whose group was made again between two snapshots of one process; one of an earlier gorgond tells of
    none."""
    return [queue for queue, row in after.items() if row.get("rejoined", 0) > before.get(queue, {}).get("rejoined", 0)]


def _growth(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The counters that grew between two snapshots of one process, and by how much."""
    return {name: number - before.get(name, 0) for name, number in after.items() if number > before.get(name, 0)}


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
