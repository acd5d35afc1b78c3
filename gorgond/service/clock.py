"""Whether this host's clock is right: how far it is from the broker's, and what is done about that.

Nothing that processes tell each other depends on it: they take the broker's time (`gorgond.redpill.clock`). It is in
the log, in what programs and people write by it, and on the other hosts' logs beside it; so people are told, to mend
it. A host whose clock is off by more than `[broker] clock_limit` is not what its operator takes it for: nothing is
started there, and what runs when its clock is set so ends.

It may as well be the broker's clock that is wrong, and that must not end the whole fabric. One that runs knows which of
the two was set: its monotonic clock tells, which nobody sets. One that starts asks each of the broker's servers, which
are on several hosts: it starts if most of them agree with its host.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from gorgond.errors import ClockOff
from gorgond.redpill import BrokerError, BrokerTime, Link

HARM = 0.25  # seconds by which a clock may be off before people are told
PATIENCE = 2.0  # seconds that the broker may take; the asker has other things to do
MEND = "mend it, with timedatectl or chrony"

log = logging.getLogger("gorgond.service")


class HostClock:
    """Compares the clock of `host`, this one, with `broker`. `limit` is by how many seconds it may be off."""

    def __init__(self, host: str, broker: BrokerTime, limit: float) -> None:
        self._host = host
        self._broker = broker
        self._limit = limit
        self._servers: Sequence[BrokerTime] = ()  # each for itself, where one of them has to be wrong
        self._off = False  # whether the log says that it is
        self._right: tuple[int, int] | None = None  # the bases of both clocks when this one was right last

    @property
    def ahead(self) -> float | None:
        """By how many seconds it is ahead of the broker's, negative when it is behind; None while that is not known to
        a useful degree."""
        told = self._broker.told
        if told is None or self._broker.error > HARM * 1e9:  # the round took long: when did the broker look at it?
            return None
        return round((_base() - told) / 1e9, 3)

    async def compare(self, link: Link) -> None:
        """Ask the broker for its time, and look. Raises ClockOff when this process is not to work here."""
        try:
            async with asyncio.timeout(PATIENCE):
                await link.clock()
        except (BrokerError, TimeoutError):  # those who need it report it
            return
        await self.hear_servers(link)
        self.look()

    async def hear_servers(self, link: Link) -> None:
        """Ask each of the broker's servers, if this host's clock is off and was never found right."""
        if self._right is None and self.ahead is not None and abs(self.ahead) > self._limit:
            self._servers = await link.server_times()

    def look(self) -> None:
        """Look at what is known. Raises ClockOff."""
        ahead, told = self.ahead, self._broker.told
        if ahead is None or told is None:
            return
        own = _base()
        if abs(ahead) <= self._limit or (self._right is None and self._agrees_with_most(own)):
            self._right = own, told
        elif self._right is None or abs(own - self._right[0]) > max(abs(told - self._right[1]), HARM * 1e9):
            raise ClockOff(
                f"the clock of this host, {self._host}, is {off(ahead)}, more than [broker] clock_limit allows "
                f"({self._limit:g} s): {MEND}; it is tried again until then"
            )
        self._tell(ahead)

    def _agrees_with_most(self, own: int) -> bool:
        """Whether most of the broker's servers agree with this host, though the one that answers does not."""
        limit = self._limit * 1e9
        agreeing = [each for each in self._servers if each.told is not None and abs(own - each.told) <= limit]
        return 2 * len(agreeing) > len(self._servers)

    def _tell(self, ahead: float) -> None:
        if not self._off and abs(ahead) >= HARM:
            self._off = True
            if self._agrees_with_most(_base()):
                side = "behind" if ahead > 0 else "ahead of"
                what = f"the broker's clock is {abs(ahead):,.1f} s {side} that of this host, {self._host}, and of most"
                log.warning("%s of the broker's servers: %s", what, MEND)
            else:
                log.warning("the clock of this host, %s, is %s: %s", self._host, off(ahead), MEND)
        elif self._off and abs(ahead) < HARM / 2:
            self._off = False
            log.warning("the clock of this host, %s, agrees with the broker's again", self._host)


def _base() -> int:
    """What is to be added to the monotonic clock for this host's, in ns."""
    return time.time_ns() - time.monotonic_ns()


def off(ahead: float) -> str:
    """In words: 11.2 s ahead of the broker's."""
    return f"{abs(ahead):,.1f} s {'ahead of' if ahead > 0 else 'behind'} the broker's"
