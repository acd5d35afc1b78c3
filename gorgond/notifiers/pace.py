"""How many notifications a channel sends a minute, counted in the broker for all notification servers together."""

from __future__ import annotations

import asyncio
import itertools
import os

from gorgond.redpill import Limit, Link

FAMILY = "notify"


class Pace:
    """Gives turns to the notifications of a `channel`, of which `rate` may be sent a minute; a second's share of them
    at once."""

    def __init__(self, link: Link, channel: str, rate: int) -> None:
        self._link = link
        self._limit = Limit(channel, max(1, rate // 60), 60 / rate)
        self._turn = asyncio.Lock()
        self._name = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    async def turn(self) -> float:
        """The seconds to wait until it is asked again whether one more may be sent; 0: it may."""
        async with self._turn:
            number = next(self._numbers)
            return await self._link.persist(lambda: self._link.admit(FAMILY, self._name, number, [self._limit]))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._link.close()
