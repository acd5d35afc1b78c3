"""What an instance counts and how it tells: once a second a snapshot goes to the live topic `stats`.

Figures only grow while the process lives; who wants a rate subtracts two snapshots. Latencies are histograms whose
buckets can be added up, so percentiles over many instances are exact to a bucket: 16 buckets to each doubling, 6 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LINEAR = 16  # below it each µs has a bucket of its own, above it each doubling is divided into so many


class Histogram:
    """Counts of values by size; values are microseconds by convention."""

    __slots__ = ("buckets", "count", "highest", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.highest = 0

    def record(self, value: int) -> None:
        """Count one value, a whole number; negative ones count as 0."""
        value = max(value, 0)
        shift = max(value.bit_length() - 5, 0)
        bucket = (shift << 4) + (value >> shift)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        if value > self.highest:
            self.highest = value

    def merge(self, other: Histogram) -> None:
        """Add another's counts to these."""
        for bucket, count in other.buckets.items():
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
        # A copy, since other threads add buckets meanwhile.
        buckets = {str(bucket): count for bucket, count in self.buckets.copy().items()}
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


class Metrics:
    """What one instance did since it started: counters, and latencies by operation."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.latencies: dict[str, Histogram] = {}

    def count(self, name: str, n: int = 1) -> None:
        """Add `n` to a counter."""
        self.counters[name] = self.counters.get(name, 0) + n

    def latency(self, operation: str, seconds: float) -> None:
        """Record how long `operation` took."""
        histogram = self.latencies.get(operation)
        if histogram is None:
            histogram = self.latencies[operation] = Histogram()
        histogram.record(int(seconds * 1_000_000))
