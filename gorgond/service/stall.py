"""Notices when something blocks the event loop, and tells the log what it is and where, while it does; and afterwards
when the whole process was stopped.

A thread waits for an alarm that the loop puts off at each turn, so it runs only when the loop does not: one that looked
by itself would have the loop wait each time until a busy machine lets it run. When neither ran for long, although
the process computed nothing, nobody here could have: it had a SIGSTOP, or its machine stood still. The watchdog of
systemd is what ends a process whose loop stays blocked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

from gorgond.service.alarm import Alarm

PATIENCE = 1.0  # seconds without a turn after which the loop counts as blocked
STOOD = 4.0  # seconds in which nobody ran after which the process counts as stopped; less is a busy machine
LOOK = 0.5  # seconds between two marks, and two looks at one that is not renewed

log = logging.getLogger("gorgond.service")


class StallWatch:
    """Watches the event loop in which it is started. Raises OSError when there is no alarm to be had."""

    def __init__(self) -> None:
        self._alarm = Alarm()
        self._mark = time.monotonic()
        self._ran = self._mark, time.process_time()  # when one of the two ran last, and what was computed by then
        self._lock = threading.Lock()
        self._stopped = False
        self._timer: asyncio.TimerHandle

    def start(self) -> None:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._renew()
        threading.Thread(target=self._watch, name="stall watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped = True
        self._timer.cancel()
        self._alarm.set(0, LOOK)

    def _renew(self) -> None:
        self._has_stood()
        self._mark = time.monotonic()
        self._alarm.set(PATIENCE + LOOK, LOOK)
        self._timer = self._loop.call_later(LOOK, self._renew)

    def _watch(self) -> None:
        told = 0.0
        while True:
            self._alarm.wait()
            if self._stopped:
                self._alarm.close()
                return
            stood, mark = self._has_stood(), self._mark
            blocked = time.monotonic() - mark
            if not stood and blocked > PATIENCE + LOOK and mark != told:
                told = mark
                self._tell(blocked)

    def _has_stood(self) -> bool:
        """Whether the process was stopped until now; the first who runs again tells the log."""
        with self._lock:
            before, had = self._ran
            now, used = self._ran = time.monotonic(), time.process_time()
            stood = now - before - LOOK
            if stood <= STOOD or used - had >= stood / 2:
                return False
            self._mark = now  # the other one, who runs a moment later, is not to blame the loop for it
        log.warning("this process was stopped for %.1f s, or its machine was: it heard nobody", stood)
        return True

    def _tell(self, seconds: float) -> None:
        """One line on what blocks the loop; its next ones once the loop turned again."""
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        name = task.get_name() if task is not None else "a callback"
        log.error("%s blocks the event loop, and all others wait, for %.1f s by now:\n%s", name, seconds, stack)
