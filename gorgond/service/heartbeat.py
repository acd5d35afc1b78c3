"""Whether the loops of a process turn: each has a heartbeat, which it beats at every turn.

A loop that waits for a broker or a database turns as well; one that hangs does not. The systemd watchdog is fed only
while every heartbeat is young, so an instance that stops consuming is restarted, however lively its other loops are.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Heartbeats:
    """The heartbeats of one service. May be beaten from any thread."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def start(self, loop: str) -> Callable[[], None]:
        """The function that `loop` calls at each turn, from now on."""
        self._last[loop] = time.monotonic()

        def beat() -> None:
            self._last[loop] = time.monotonic()

        return beat

    def end(self, loop: str) -> None:
        """The loop ended as it should."""
        self._last.pop(loop, None)

    def oldest(self) -> tuple[str, float]:
        """The loop that has been silent for longest, and for how many seconds; ("", 0.0) when there is none."""
        heartbeats = self._last.copy()  # other threads begin and end some meanwhile
        if not heartbeats:
            return "", 0.0
        loop, last = min(heartbeats.items(), key=lambda item: item[1])
        return loop, time.monotonic() - last
