"""An outage, told once when something is away, and once when it is back, with how long it was."""

from __future__ import annotations

import asyncio
import threading
import time

from gorgond.redpill.logline import log
from gorgond.redpill.seldom import Seldom

LATE = 1.0  # seconds; a limit that comes so much too late says that this process did not run, not that others did not


class Outage:
    """Tells the log once that something is away, and how long it was when it is back; shared by threads.

    Several may miss it, each under a name of its own: it is back when it is there for all of them. (A database whose
    disk is full still answers reads.) One that has not tried for GIVEN_UP seconds does not count any more.

    When it comes and goes all the time (somebody kills its connections), an outage within a minute of the last that was
    told is told only if it lasts for BRIEF seconds; the others are counted, and their number is told once a minute.
    """

    GIVEN_UP = 30.0
    BRIEF = 1.0

    def __init__(self, what: str) -> None:
        self.what = what
        self.reason = ""
        self.began = 0.0  # the last one, on the monotonic clock
        self.ended = 0.0
        self._since = 0.0
        self._told = False  # of the one that lasts
        self._missed: dict[str, float] = {}  # by whom, and when it was tried last
        self._brief = Seldom()  # those that are over and were not told
        self._lock = threading.Lock()

    def begin(self, reason: str, by: str = "") -> None:
        """It is away, for `reason`; said at each attempt, logged once an outage."""
        with self._lock:
            self.reason = reason
            now = self._missed[by] = time.monotonic()
            if self._since == 0.0:
                self._since = self.began = now
                self._told = False
            if not self._told and (not self._brief.lately or now - self._since >= self.BRIEF):
                self._told = True
                self._tell_brief(self._brief.take_count())
                log.warning("%s is away, waiting for it: %s", self.what, reason)

    def end(self, by: str = "") -> None:
        """It is there."""
        if self._since == 0.0:
            if count := self._brief.look():
                self._tell_brief(count)
            return
        with self._lock:
            now = time.monotonic()
            self._missed = {who: at for who, at in self._missed.items() if who != by and now - at < self.GIVEN_UP}
            if self._since and not self._missed:
                if self._told:
                    log.warning("%s is back after %.1f s", self.what, now - self._since)
                else:
                    self._tell_brief(self._brief.add())
                self._since, self.reason, self.ended = 0.0, "", now

    def _tell_brief(self, count: int) -> None:
        if count:
            log.warning("%s was away %d times more, each time for less than %g s", self.what, count, self.BRIEF)

    @property
    def length(self) -> float:
        """Seconds that it has been away by now; 0.0 while it is there."""
        since = self._since
        return time.monotonic() - since if since else 0.0


def late(due: float) -> bool:
    """Whether what was due then, on the monotonic clock, comes so late that this process was stopped, or blocked."""
    return time.monotonic() - due > LATE


def overslept(limit: asyncio.Timeout) -> bool:
    """Whether a limit that has passed says nothing about others: it came late itself."""
    due = limit.when()
    return due is not None and late(due)
