"""Notices when something blocks the event loop, and tells the log what it is and where, while it does; and afterwards
when the whole process was stopped.

A thread looks at a mark that the loop renews. When the thread itself was late, although the process computed nothing,
nobody here could have run: it had a SIGSTOP, or its machine stood still. The watchdog of systemd is what ends a process
whose loop stays blocked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

PATIENCE = 1.0  # seconds without a turn after which the loop counts as blocked
STOOD = 4.0  # seconds without a look after which the process counts as stopped; less is a busy machine
LOOK = 0.25  # seconds between two marks, and two looks at them

log = logging.getLogger("gorgond.service")


class StallWatch:
    """Watches the event loop in which it is started."""

    def __init__(self) -> None:
        self._mark = 0.0
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle

    def start(self) -> None:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._renew()
        threading.Thread(target=self._watch, name="stall watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        self._timer.cancel()

    def _renew(self) -> None:
        self._mark = time.monotonic()
        self._timer = self._loop.call_later(LOOK, self._renew)

    def _watch(self) -> None:
        told = 0.0
        looked, used = time.monotonic(), time.process_time()
        while not self._stopped.wait(LOOK):
            before, had = looked, used
            looked, used = time.monotonic(), time.process_time()
            mark = self._mark
            stood = looked - before - LOOK
            if stood > STOOD and used - had < stood / 2:
                log.warning("this process was stopped for %.1f s, or its machine was: it heard nobody", stood)
                told = mark
            elif time.monotonic() - mark > PATIENCE + LOOK and mark != told:
                told = mark
                self._tell(time.monotonic() - mark)

    def _tell(self, seconds: float) -> None:
        """One line on what blocks the loop; its next ones once the loop turned again."""
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        name = task.get_name() if task is not None else "a callback"
        log.error("%s blocks the event loop, and all others wait, for %.1f s by now:\n%s", name, seconds, stack)
