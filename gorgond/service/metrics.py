"""How an instance counts and tells: once a second a snapshot goes to the live topic `stats`.

Figures only grow while the process lives; for a rate, subtract two snapshots. Latencies are histograms whose
buckets can be added up, so percentiles over many instances are exact to a bucket: 16 buckets to each doubling, 6 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPERATIONS_MAX = 100  # beyond it they are counted together, as OTHER
NAME_MAX = 200  # characters of an operation's name
OTHER = "other"

_LINEAR = 16  # below it each µs has a bucket of its own, above it each doubling is divided into so many


class Histogram:
    """Counts of values by size; values are microseconds by convention."""

    __slots__ = ("buckets", "count", "highest", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.highest = 0

    def record(self, value: int, times: int = 1) -> None:
        """Count a value, a whole number, so many times; negative ones count as 0."""
        if value < 0:
            value = 0
        shift = value.bit_length() - 5
        bucket = value if shift <= 0 else (shift << 4) + (value >> shift)
        buckets = self.buckets
        buckets[bucket] = buckets[bucket] + times if bucket in buckets else times
        self.count += times
        self.total += value * times
        if value > self.highest:
            self.highest = value

    def merge(self, other: Histogram) -> None:
        """Add another's counts to these."""
        for bucket, count in other.buckets.copy().items():  # which another thread may be writing
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    def percentile(self, percent: float) -> int:
        """The value that `percent` of the values do not exceed, to the upper edge of its bucket; 0 when empty."""
        rank = self.count * percent / 100
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(upper_edge(bucket), self.highest)
        return 0

    def snapshot(self) -> dict[str, Any]:
        """For the wire: {"count", "total", "highest", "buckets": {"17": 3, …}}."""
        buckets = {str(bucket): count for bucket, count in self.buckets.items()}
        return {"count": self.count, "total": self.total, "highest": self.highest, "buckets": buckets}

    @classmethod
    def of(cls, snapshot: Mapping[str, Any]) -> Histogram:
        """The histogram of a snapshot."""
        found = cls()
        found.buckets = {int(bucket): count for bucket, count in snapshot["buckets"].items()}
        found.count, found.total, found.highest = snapshot["count"], snapshot["total"], snapshot["highest"]
        return found


def upper_edge(bucket: int) -> int:
    """The largest value that falls into `bucket`."""
    if bucket < 2 * _LINEAR:
        return bucket
    shift = (bucket >> 4) - 1
    return ((bucket - (shift << 4) + 1) << shift) - 1


class Operation:
    """All that was done of one kind: how long each took, how many failed, and their bytes."""

    __slots__ = ("bytes", "errors", "latency")

    def __init__(self) -> None:
        self.latency = Histogram()
        self.errors = 0
        self.bytes = 0

    @property
    def count(self) -> int:
        """How many were done."""
        return self.latency.count

    def merge(self, other: Operation) -> None:
        """Add another's figures to these."""
        self.latency.merge(other.latency)
        self.errors += other.errors
        self.bytes += other.bytes

    def snapshot(self) -> dict[str, Any]:
        """For the wire: that of the latencies with "errors" and "bytes"."""
        return {"errors": self.errors, "bytes": self.bytes, **self.latency.snapshot()}

    @classmethod
    def of(cls, snapshot: Mapping[str, Any]) -> Operation:
        """The operation of a snapshot."""
        found = cls()
        found.latency = Histogram.of(snapshot)
        found.errors, found.bytes = snapshot["errors"], snapshot["bytes"]
        return found


class Metrics:
    """The figures of one instance since it started: counters, and its operations by name ("store_get items.find").

    It is written from one thread; others write a `part` of it each, so that no lock is needed for each request. It may
    be read from any.
    """

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self._operations: dict[str, Operation] = {}
        self._parts: list[Metrics] = []

    def part(self) -> Metrics:
        """One for another thread, whose operations are told together with these."""
        part = Metrics()
        self._parts.append(part)
        return part

    def count(self, name: str, n: int = 1) -> None:
        """Add `n` to a counter."""
        self.counters[name] = self.counters.get(name, 0) + n

    def measure(self, name: str, count: int, errors: int, bytes: int, seconds: float) -> None:
        """Record that `count` of the operation `name` took `seconds` each, `errors` of them in vain."""
        operation = self._operations.get(name)
        if operation is None:
            # The names come from messages; whatever these hold, our memory is bounded.
            if len(self._operations) >= OPERATIONS_MAX or len(name) > NAME_MAX:
                name = OTHER
            operation = self._operations.setdefault(name, Operation())
        operation.latency.record(int(seconds * 1_000_000), count)
        operation.bytes += bytes
        if errors:
            operation.errors += errors

    def operations(self) -> dict[str, dict[str, Any]]:
        """A snapshot of each operation."""
        sums: dict[str, Operation] = {}
        for part in (self, *self._parts):
            for name, operation in part._operations.copy().items():
                sums.setdefault(name, Operation()).merge(operation)
        return {name: operation.snapshot() for name, operation in sums.items()}
