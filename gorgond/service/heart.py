"""Once a second: that a service lives, and what it does, for systemd.

The watchdog is fed only while every loop turns, so an instance that stops consuming is restarted, however lively its
other loops are. Where nobody watches, a service whose loop hangs for HANGS ends itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from gorgond.redpill import LoopEnded
from gorgond.service.heartbeat import Heartbeats
from gorgond.service.systemd import Notifier, watchdog_seconds

TICK = 1.0  # seconds between two looks
HANGS = 90.0  # seconds without a turn after which a service ends itself; systemd's watchdog has less patience
LATE = 1.0  # seconds; a look that comes so much too late says that this process did not run, not that a loop hangs

log = logging.getLogger("gorgond.service")


class Heart:
    """That of the service called `name`; `status` says what it does, `fail` ends it."""

    def __init__(
        self, name: str, heartbeats: Heartbeats, status: Callable[[], str], fail: Callable[[LoopEnded], None]
    ) -> None:
        self.lag = 0.0  # seconds by which the last look was late
        self._name = name
        self._heartbeats = heartbeats
        self._status = status
        self._fail = fail

    async def run(self, notifier: Notifier) -> None:
        """Look until cancelled."""
        patience = watchdog_seconds() / 2
        while True:
            if self.lag < LATE:
                self._look(notifier, patience)
            notifier.status(self._status())
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            self.lag = time.monotonic() - due

    def _look(self, notifier: Notifier, patience: float) -> None:
        loop, silent = self._heartbeats.oldest()
        if silent > HANGS:
            self._fail(LoopEnded(f"{loop} hangs: it has not turned for {silent:.0f} s"))
        elif not patience:
            return
        elif silent < patience:
            notifier.alive()
        else:
            log.error("%s: %s has not turned for %.0f s", self._name, loop, silent)
