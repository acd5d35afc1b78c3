"""Pace: so many a second, evenly, without drift, and without a flood after a standstill."""

from __future__ import annotations

import time
from collections.abc import Callable

MADE_UP = 1.0  # seconds of a standstill that are made up for


class Pace:
    """Says how many are due: `rate` a second from now on. The items that `due` returns count as done."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._start = clock()
        self._done = 0

    def due(self, most: int) -> int:
        """How many to do now, `most` at most."""
        now = self._clock()
        behind = (now - self._start) * self._rate - self._done
        most_behind = max(self._rate * MADE_UP, 1.0)
        if behind > most_behind:
            behind = most_behind
            self._start = now - (self._done + behind) / self._rate
        number = min(int(behind), most)
        self._done += number
        return number

    def wait(self) -> float:
        """Seconds until the next is due; 0.0 when one is."""
        return max(0.0, self._start + (self._done + 1) / self._rate - self._clock())
