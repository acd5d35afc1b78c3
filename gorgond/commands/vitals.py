"""What `gorgond up` hears of its services: each tells once a second how it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gorgond.commands.child import Child

SILENCE = 5.0  # seconds without a sign of life after which a child is shown as silent


class Vitals:
    """The last signs of life of a service."""

    def __init__(self) -> None:
        self.pid = 0
        self.rate = 0.0
        self._state = ""
        self._done = 0.0
        self._at = 0.0
        self._uptime = 0.0

    def hear(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot in."""
        done, uptime = _count_done(snapshot), snapshot["uptime"]
        if self.pid == snapshot["pid"] and uptime > self._uptime:
            self.rate = (done - self._done) / (uptime - self._uptime)
        self.pid, self._done, self._uptime = snapshot["pid"], done, uptime
        self._state = "waiting" if snapshot["status"].startswith("waiting") else snapshot["state"]
        self._at = time.monotonic()

    def state(self, child: Child) -> str:
        """The state of the service's process, in a word."""
        if child.pid == 0 or child.pid != self.pid:
            return child.state
        return self._state if time.monotonic() - self._at < SILENCE else "silent"


def _count_done(snapshot: Mapping[str, Any]) -> float:
    """How much a service has done: messages handled, items pushed, requests answered."""
    counters: Mapping[str, int] = snapshot["counters"]
    answered = sum(number for name, number in counters.items() if name.startswith("http "))
    handled: float = sum(consumer["handled"] for consumer in snapshot["queues"].values())
    return handled + counters.get("pushed", 0) + answered
