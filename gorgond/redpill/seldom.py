"""A line of the log for what happens often: told at once, then once a minute, with how often it happened meanwhile."""

from __future__ import annotations

import threading
import time

MINUTE = 60.0


class Seldom:
    """When to tell of something, and how much of it there was. May be used from any thread."""

    def __init__(self) -> None:
        self._last = -MINUTE  # when it was told
        self._untold = 0
        self._lock = threading.Lock()

    @property
    def lately(self) -> bool:
        """Whether it was told within the last minute."""
        return time.monotonic() - self._last < MINUTE

    def add(self) -> int:
        """It happened. How often since it was told last, if it is time to tell it; else 0."""
        with self._lock:
            self._untold += 1
        return self.look()

    def look(self) -> int:
        """The same without it having happened: what is left when it has stopped."""
        return self.take_count() if self._untold and not self.lately else 0

    def take_count(self) -> int:
        """It is told now: how often it has happened that nobody was told."""
        with self._lock:
            self._last = time.monotonic()
            count, self._untold = self._untold, 0
            return count
