"""A line of the log for what happens often: told at once, then once a minute, with how often it happened meanwhile."""

from __future__ import annotations

import threading
import time

MINUTE = 60.0


class Seldom:
    """When to tell of something, and how much of it there was. May be used from any thread."""

    def __init__(self) -> None:
        self._told = -MINUTE
        self._untold = 0
        self._lock = threading.Lock()

    def add(self, count: int = 1) -> int:
        """It happened `count` times. How often since the last line, if it is time for one; else 0."""
        with self._lock:
            self._untold += count
            return self._due()

    def look(self) -> int:
        """The same without it having happened: what is left untold when it has stopped."""
        if not self._untold:
            return 0
        with self._lock:
            return self._due()

    @property
    def lately(self) -> bool:
        """Whether it was told within the last minute."""
        return time.monotonic() - self._told < MINUTE

    def _due(self) -> int:
        if not self._untold or self.lately:
            return 0
        self._told = time.monotonic()
        count, self._untold = self._untold, 0
        return count
