"""The spans that can be looked at, and the columns that each is shown in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from gorgond.service.metrics import Operation
from gorgond.stats.history import History

SPANS = {"minute": (0, 60, 1), "hour": (1, 60, 1), "day": (1, 1440, 15), "month": (2, 744, 6), "year": (3, 366, 3)}
"""By name: the tier of the history, how many of its periods, and how many of these make one column."""


def step(history: History, span: str) -> int:
    """Seconds of one column."""
    index, _, each = SPANS[span]
    return history.tiers[index].step * each


def columns(history: History, series: str, span: str, now: int) -> Iterator[tuple[int, int, Operation]]:
    """The columns of a span, the oldest first: when it began, how many of its seconds were listened to, what was done.

    A column begins at a multiple of its width, so that it stays the same while time goes on; the last one is open.
    """
    index, count, each = SPANS[span]
    newest, width = history.newest(index, now), step(history, span)
    first = newest // width * width - (count // each - 1) * width
    rows = history.rows(series, index, (newest - first) // history.tiers[index].step + 1, now)
    for at, some in groupby(rows, lambda row: row[0] // width * width):
        covered, sum = 0, Operation()
        for _, seconds, operation in some:
            covered += seconds
            sum.merge(operation)
        yield at, covered, sum
