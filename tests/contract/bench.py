"""A broker with as many links as a test asks for, and the messages that it is tried with."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence

from gorgond.redpill.broker import Batch, Broker, Later, Link, Room
from gorgond.redpill.errors import BrokerError
from gorgond.redpill.limits import Limit
from gorgond.redpill.message import Message, decode
from tests.contract.puppet import Puppet

LIMIT = 1000
GARBAGE = b"\x00\xff not a message"


class Bench:
    """A broker with as many links as a test asks for; they are closed when it ends."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.number = 0
        self.links: list[Link] = []
        self.closer: asyncio.Task[None] | None = None

    def link(self) -> Link:
        if self.closer is None:
            self.closer = asyncio.get_running_loop().create_task(self._close_links_when_cancelled())
        self.links.append(self.broker.link(f"test {len(self.links)}"))
        return self.links[-1]

    async def _close_links_when_cancelled(self) -> None:
        """The event loop cancels what still runs when the test is over."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for link in self.links:
                await link.close()

    async def push(
        self, *messages: bytes, queue: str = "q", limit: int = LIMIT, later: Sequence[Later] = ()
    ) -> BrokerError | None:
        self.number += 1
        batch = Batch(queue, self.number, messages, later=later)
        return (await self.link().push("producer", Room(limit), [batch]))[0]

    async def publish(self, *events: bytes, topic: str = "t") -> BrokerError | None:
        self.number += 1
        return (await self.link().push("producer", Room(LIMIT), [Batch(topic, self.number, events, topic=True)]))[0]

    async def admit(self, family: str, limits: list[Limit], back: bool = False) -> float:
        self.number += 1
        return await self.link().admit(family, "asker", self.number, limits, back)

    async def consumer(self, name: str = "consumer", queue: str = "q") -> Puppet:
        """A consumer that has taken its desk."""
        consumer = Puppet(self.link(), queue, name)
        await consumer.take()
        return consumer

    async def places(self, queue: str = "q") -> tuple[int, int, int, int]:
        """How many are queued, in flight, delayed, dead; every message accepted is somewhere."""
        counts = (await self.link().counts([queue]))[0]
        assert counts.difference() == 0, counts
        return counts.queued, counts.in_flight, counts.delayed, counts.dead

    async def all_of(self, queue: str = "q") -> list[bytes]:
        """What waits in the queue, taken by a consumer of its own."""
        return await (await self.consumer("reader", queue)).claim(want=LIMIT)


@functools.cache
def raw(name: str, attempts: int = 0) -> bytes:
    """A message as it travels."""
    return Message("op", id=name, sent=0, attempts=attempts).encode()


def raws(names: str) -> list[bytes]:
    return [raw(name) for name in names]


def ids(messages: list[bytes]) -> str:
    return "".join(decode(message).id for message in messages)
