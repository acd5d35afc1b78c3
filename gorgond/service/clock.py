"""How far this host's clock is from the broker's.

Deadlines are written by one host and read by another, each by its own clock, so clocks that differ make messages expire
too early or too late. Nothing is decided by the difference and no clock is mended for it: it is told, in the log and
with each snapshot, so that people mend the clock.
"""

from __future__ import annotations

import asyncio
import logging
import time

from gorgond.redpill import BrokerError, Link, now_ms

HARM = 1.0  # seconds by which a clock may be off; what is off by more takes a noticeable part of a deadline
EVERY = 5.0  # seconds between two comparisons
ROUND_MAX = 500  # ms; an answer that took longer says too little: when in that time did the broker look at its clock?
PATIENCE = 2.0  # seconds that the broker may take; the asker has other things to do
MEND = "mend it, with timedatectl or chrony"
TOLD = 60.0  # seconds between two lines about messages that expired

log = logging.getLogger("gorgond.service")


class HostClock:
    """Compares the clock of `host`, this one, with that of a broker. `ahead` is by how many seconds it is ahead of it,
    negative when it is behind, None while that is not known."""

    def __init__(self, host: str) -> None:
        self.ahead: float | None = None
        self._host = host
        self._off = False  # whether the log says that it is
        self._connects = 0
        self._compared = 0.0
        self._expired = 0  # messages of which the log knows, or that expired while the clock was right
        self._tell_at = 0.0

    async def compare(self, link: Link) -> None:
        """Ask the broker for its time when `link` has connected, and every EVERY seconds. Without a usable answer
        nothing changes."""
        now = time.monotonic()
        if link.connects == self._connects and now < self._compared + EVERY:
            return
        self._compared = now
        before = now_ms()
        try:
            async with asyncio.timeout(PATIENCE):
                broker = await link.clock()
        except (BrokerError, TimeoutError):  # those who need it report it
            return
        took = now_ms() - before
        self._connects = link.connects
        if 0 <= took <= ROUND_MAX:  # or the clock was set meanwhile
            self._find((before + took / 2 - broker) / 1000)

    def _find(self, ahead: float) -> None:
        self.ahead = round(ahead, 3)
        if not self._off and abs(ahead) >= HARM:
            self._off = True
            log.warning("the clock of this host, %s, is %s: %s", self._host, off(ahead), MEND)
        elif self._off and abs(ahead) < HARM / 2:
            self._off = False
            log.warning("the clock of this host, %s, agrees with the broker's again", self._host)

    def expired(self, count: int) -> None:
        """So many messages have expired here since the start: while the clock is ahead that is its doing, and the log
        says so, at most every TOLD seconds."""
        if not self._off or self.ahead is None or self.ahead < 0:
            self._expired = count
        elif count > self._expired and time.monotonic() >= self._tell_at:
            new = count - self._expired
            messages = "1 message was past its" if new == 1 else f"{new} messages were past their"
            log.warning("%s deadline by this host's clock, which is %s", messages, off(self.ahead))
            self._expired, self._tell_at = count, time.monotonic() + TOLD


def off(ahead: float) -> str:
    """In words: 11.2 s ahead of the broker's."""
    return f"{abs(ahead):,.1f} s {'ahead of' if ahead > 0 else 'behind'} the broker's"
