"""The connections to a master end when the Sentinels name another one.

A master that was stopped, or is alone on its side of a network, answers nobody and says nothing. Who waits for it hears
of its successor from the Sentinels.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

from redis.exceptions import ResponseError

from gorgond.redpill.errors import BrokerError
from gorgond.redpill.redisprotocol import RedisProtocol
from gorgond.redpill.redisserver import DRIVER_ERRORS
from gorgond.redpill.sentineladdress import Place, shown
from gorgond.redpill.sentinels import Sentinels

ALIVE = 3.0  # seconds after which a Sentinel that had nothing to say is asked whether it lives, or met again
LINGER = 10.0  # seconds for which they are heard when no connection could be made
LATE = 2.0  # seconds that it has for saying so


class SentinelWatch:
    """The connections of one event loop to a master, and who listens to the Sentinels while there are some, or were a
    moment ago."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels
        self._connections: WeakKeyDictionary[RedisProtocol, Place] = WeakKeyDictionary()
        self._meeting: dict[asyncio.Timeout, Place] = {}  # connections that are being made
        self._wanted = 0.0  # when one was made last, on the monotonic clock
        self.switches = 0  # how often a Sentinel said that there is another master
        self._listening: dict[Place, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def meeting(self, master: Place, seconds: float) -> AsyncIterator[None]:
        """The time in which a connection to this master is to be made. Raises TimeoutError at its end, and when the
        Sentinels name another one meanwhile."""
        self._wanted = time.monotonic()
        for place in self._sentinels.address.sentinels:
            if place not in self._listening:
                listening = asyncio.get_running_loop().create_task(self._listen(place), name=f"Sentinel {shown(place)}")
                self._listening[place] = listening
                listening.add_done_callback(lambda _, place=place: self._listening.pop(place))  # type: ignore[misc]
        async with asyncio.timeout(seconds) as limit:
            self._meeting[limit] = master
            try:
                yield
            finally:
                del self._meeting[limit]

    def add(self, connection: RedisProtocol, master: Place) -> None:
        """A connection was made to this master."""
        self._connections[connection] = master

    @property
    def _needed(self) -> bool:
        lately = time.monotonic() - self._wanted < LINGER
        return lately or any(not connection.over for connection in self._connections)

    async def _listen(self, place: Place) -> None:
        """Hear one Sentinel as long as there are connections."""
        while self._needed:
            try:
                async with self._sentinels.dialled(place) as sentinel:
                    await self._hear(sentinel)
            except (*DRIVER_ERRORS, BrokerError):
                await asyncio.sleep(ALIVE)

    async def _hear(self, sentinel: RedisProtocol) -> None:
        [answer] = await sentinel.ask([["SUBSCRIBE", "+switch-master"]], 1, LATE)
        if isinstance(answer, ResponseError):
            raise answer
        await self._look()  # at what happened before
        loop, name = asyncio.get_running_loop(), f"{self._sentinels.address.name} ".encode()
        while self._needed:
            alarm = loop.call_later(ALIVE, sentinel.send, [["PING"]])
            try:
                [heard] = await sentinel.ask((), 1, ALIVE + LATE)
            finally:
                alarm.cancel()
            match heard:
                case [b"message", _, bytes(said)] if said.startswith(name):
                    self.switches += 1
                    await self._look()

    async def _look(self) -> None:
        """End the connections to any other than the master that the majority names. While there is none the next
        Sentinel that has heard of it will say so."""
        with contextlib.suppress(BrokerError):
            master = (await self._sentinels.named()).master
            for limit, other in self._meeting.items():
                if other != master:
                    limit.reschedule(0.0)
            for connection, other in list(self._connections.items()):
                if other != master:
                    connection.cut(f"the Sentinels name another master: {shown(master)} instead of {shown(other)}")
