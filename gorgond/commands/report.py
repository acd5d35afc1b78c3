"""The figures that `gorgond client` has measured: as text, as JSON, and for the plot."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections import Counter
from typing import Any

from gorgond.service.metrics import Histogram, upper_edge

EDGES = [step * 10**power for power in range(1, 8) for step in (1, 2, 5)]  # microseconds
WIDTH = 40  # characters of the longest bar


class Report:
    """Counts answers, by the second they came in, and errors by kind; times are those of time.monotonic."""

    def __init__(self, url: str, clients: int, rate: float | None) -> None:
        self.url = url
        self.clients = clients
        self.rate = rate
        self.seconds: list[Histogram] = []
        self.late = Histogram()  # how long requests waited on our side before they were sent
        self.errors: Counter[str] = Counter()
        self.duration = 0.0
        self._begun = 0.0

    def begin(self) -> None:
        """The first request is about to be sent."""
        self._begun = time.monotonic()

    def end(self) -> None:
        """No request is due any more; answers still come."""
        self.duration = time.monotonic() - self._begun

    def count_sent(self, since: float) -> None:
        """A request that was due at `since` is sent."""
        self.late.record(int((time.monotonic() - since) * 1e6))

    def answer(self, since: float) -> None:
        """The answer is here to a request that was due at `since`."""
        now = time.monotonic()
        second = int(now - self._begun)
        while len(self.seconds) <= second:
            self.seconds.append(Histogram())
        self.seconds[second].record(int((now - since) * 1e6))

    def error(self, kind: str) -> None:
        """A request, or the making of a connection, failed."""
        self.errors[kind] += 1

    @property
    def latency(self) -> Histogram:
        """All answers' waiting, in microseconds."""
        whole = Histogram()
        for second in self.seconds:
            whole.merge(second)
        return whole

    @property
    def answers(self) -> int:
        """How many requests were answered with 200."""
        return sum(second.count for second in self.seconds)

    def figures(self) -> dict[str, Any]:
        """All of it, for JSON."""
        latency = self.latency
        return {
            "url": self.url,
            "clients": self.clients,
            "rate": self.rate,
            "duration": round(self.duration, 3),
            "answers": latency.count,
            "throughput": round(latency.count / self.duration, 1),
            "errors": dict(self.errors),
            "latency_ms": _percentiles(latency),
            "late_ms": _percentiles(self.late),
            "seconds": [{"answers": second.count, **_percentiles(second)} for second in self.seconds],
            "latency_us": latency.snapshot(),
        }

    def json(self) -> str:
        return json.dumps(self.figures(), indent=1)

    def text(self) -> str:
        figures = self.figures()
        asked = f"{self.rate:,g} requests/s" if self.rate else "as many requests as are answered"
        lines = [f"{self.url}: {self.clients:,} clients, {asked}, {self.duration:.1f} s", ""]
        lines.append(f"answers     {figures['answers']:,}, {figures['throughput']:,}/s")
        kinds = ", ".join(f"{kind}: {number:,}" for kind, number in self.errors.most_common())
        lines.append(f"errors      {self.errors.total():,}{f' ({kinds})' if kinds else ''}")
        for what in ("latency", "late"):
            values = "   ".join(f"{name} {value:g}" for name, value in figures[f"{what}_ms"].items())
            lines.append(f"{what + ' ms':12}{values}")
        return "\n".join([*lines, "", *self._bars()])

    def _bars(self) -> list[str]:
        """The latencies by their size: a line for each step from the smallest to the largest there is."""
        counts: Counter[int] = Counter()
        for bucket, count in self.latency.buckets.items():
            counts[bisect_left(EDGES, upper_edge(bucket))] += count
        if not counts:
            return []
        lines = []
        for step in range(min(counts), max(counts) + 1):
            limit = f"{EDGES[step] / 1000:g}" if step < len(EDGES) else "more"
            bar = "#" * round(WIDTH * counts[step] / max(counts.values()))
            lines.append(f"{'≤ ' + limit:>8} ms {counts[step]:12,} {bar}".rstrip())
        return lines


def _percentiles(histogram: Histogram) -> dict[str, float]:
    """In milliseconds."""
    named = {f"p{percent}": histogram.percentile(percent) for percent in (50, 90, 99)} | {"max": histogram.highest}
    return {name: round(value / 1000, 3) for name, value in named.items()}
