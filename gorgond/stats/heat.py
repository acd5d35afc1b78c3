"""The latency heat map: time by latency, each cell how many took so long then.

Latencies are in steps of two to each doubling, from under 128 µs to 16.8 s; what took longer is in the last step,
"over", so that an outlier is seen however few there are. The steps' edges are edges of the histograms' buckets.
"""

from __future__ import annotations

from typing import Any

from gorgond.service.metrics import Operation, upper_edge
from gorgond.stats.history import History
from gorgond.stats.spans import columns, step

EDGES = (*(edge for power in range(7, 24) for edge in (2**power - 1, 2**power * 3 // 2 - 1)), 2**24 - 1)
"""The highest µs of each step but the last."""


def heat(history: History, series: str, span: str, now: int) -> dict[str, Any]:
    """The heat map of a series: {"of", "span", "step", "edges", "columns"}, in seconds, µs, and ms since 1970."""
    return {
        "of": series,
        "span": span,
        "step": step(history, span),
        "edges": [*EDGES, "over"],
        "columns": [
            {"at": at * 1000, "seconds": covered, "counts": _counts(operation)}
            for at, covered, operation in columns(history, series, span, now)
        ],
    }


def _counts(operation: Operation) -> list[int]:
    counts = [0] * (len(EDGES) + 1)
    step = 0
    for bucket, count in sorted(operation.latency.buckets.items()):
        highest = upper_edge(bucket)
        while step < len(EDGES) and highest > EDGES[step]:
            step += 1
        counts[step] += count
    return counts
