"""A deadline that costs next to nothing to set and to lift, again and again.

Setting a timer of the event loop for each round trip, and cancelling it when that has its answer, costs more than the
rest of the round. So a timer is left running: when it is over it looks whether there is a deadline by then, and runs on
until that one. It is replaced only by an earlier one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

NEVER = math.inf


class Deadline:
    """Calls `passed` when a deadline has passed that was not lifted. `at` is that deadline, on the monotonic clock; it
    still is while `passed` is called, and is lifted afterwards unless that has set another one. It belongs to the event
    loop that runs when it is first set."""

    __slots__ = ("_passed", "_timer", "_timer_at", "at")

    def __init__(self, passed: Callable[[], None]) -> None:
        self.at = NEVER
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    def set(self, at: float) -> None:
        """It is then, on the monotonic clock, instead of what it was."""
        self.at = at
        if at < self._timer_at:
            self._run_until(at)

    def lift(self) -> None:
        """There is none."""
        self.at = NEVER

    def end(self) -> None:
        """There is none, and will be none."""
        self.at = self._timer_at = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_until(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_later(max(at - time.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, NEVER
        due = self.at
        if due <= time.monotonic():
            self._passed()
            if self.at == due:
                self.at = NEVER
        if self.at != NEVER and self._timer is None:
            self._run_until(self.at)
