"""Whether the loops of a process turn: each has a heartbeat, which it beats at every turn.

A loop that waits for a broker or a database turns as well; one that hangs does not. `heart` looks at all of them once
a second.
"""

from __future__ import annotations

import time


class Heartbeat:
    """That of one loop, called `name` in the log."""

    __slots__ = ("_all", "last", "name")

    def __init__(self, name: str, all: set[Heartbeat]) -> None:
        self.name = name
        self.last = time.monotonic()
        self._all = all

    def beat(self) -> None:
        """The loop turns."""
        self.last = time.monotonic()

    def end(self) -> None:
        """The loop is over, as it was to be."""
        self._all.discard(self)


class Heartbeats:
    """Those of one service. May be begun, beaten and ended in any thread."""

    def __init__(self) -> None:
        self._all: set[Heartbeat] = set()

    def start(self, loop: str) -> Heartbeat:
        """A new one, for a loop that begins."""
        heartbeat = Heartbeat(loop, self._all)
        self._all.add(heartbeat)
        return heartbeat

    def oldest(self) -> tuple[str, float]:
        """The loop that has been silent for longest, and for how many seconds; ("", 0.0) when there is none."""
        all = self._all.copy()  # other threads begin and end some meanwhile
        if not all:
            return "", 0.0
        oldest = min(all, key=lambda heartbeat: heartbeat.last)
        return oldest.name, time.monotonic() - oldest.last
