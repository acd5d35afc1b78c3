"""How a loop waits for a broker that is away: it connects again and repeats, and tells when the outage began and ended.

All connections to a broker share its `Outage`. Each of them meets it at another time, so that what one finds may be
news of an outage that is over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gorgond.redpill.errors import BrokerAway, Overslept
from gorgond.redpill.logline import log
from gorgond.redpill.outage import Outage

T = TypeVar("T")

BACKOFF = (0.05, 0.5)  # seconds between attempts to reconnect: the first, the longest; work goes on within 1 s


class Persistent:
    """One connection, made again as often as it is lost. `outage` is that of the other side."""

    def __init__(self, outage: Outage, name: str) -> None:
        self.name = name
        self.connects = 0  # how often a connection was made: a change tells that there was a gap
        self._outage = outage
        self._connected = 0.0  # when it was made last
        self._told = 0  # the connection whose loss was told
        self._asked = 0.0  # when the last round began

    def note_connection(self) -> None:
        """A connection was made."""
        self.connects += 1
        self._connected = time.monotonic()

    def note_loss(self, away: BrokerAway) -> None:
        """Begin an outage, except in three cases. This process overslept: then it was away, and not the broker. The
        round that failed began before the last outage ended: then that outage cost us the answer. Our connection was
        made before the last outage began, and its loss was not told yet: then that outage cost us the connection."""
        if isinstance(away, Overslept):
            log.info("%s: %s", self.name, away)
            return
        outage = self._outage
        if not outage.length and self._asked < outage.ended:
            return
        if self._told != self.connects and not outage.length and self._connected < outage.began:
            self._told = self.connects
        else:
            outage.begin(str(away))

    async def persist(self, operation: Callable[[], Awaitable[T]], beat: Callable[[], None] | None = None) -> T:
        """Repeat `operation` until the broker answers; `beat` is called before each attempt."""
        delay = BACKOFF[0]
        while True:
            if beat is not None:
                beat()
            try:
                answer = await operation()
            except BrokerAway as away:
                self.note_loss(away)
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(delay * 2, BACKOFF[1])
            else:
                if self._asked >= self._outage.began:  # else it says nothing about now
                    self._outage.end()
                return answer
