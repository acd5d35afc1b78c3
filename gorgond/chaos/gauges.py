"""The queues' figures while a drill runs, a few times a second, for each broker by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from gorgond.chaos.servers import Server
from gorgond.redpill import BrokerError, Counts, connect
from gorgond.roles import QUEUES

EVERY = 0.2  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one broker, `at` seconds since the run began; `counts` by queue, None while it did not answer."""

    at: float
    broker: str
    counts: dict[str, Counts] | None

    @property
    def backlog(self) -> int:
        """Messages accepted and not yet done with."""
        return sum(each.queued + each.in_flight + each.delayed for each in (self.counts or {}).values())

    @property
    def done(self) -> int:
        return sum(each.done for each in (self.counts or {}).values())

    @property
    def unbalanced(self) -> dict[str, int]:
        """Queues whose figures do not add up, and by how many messages."""
        return {name: each.difference() for name, each in (self.counts or {}).items() if each.difference()}


class Gauges:
    """Looks until stopped, in a thread of its own."""

    def __init__(self, servers: list[Server], now: Callable[[], float]) -> None:
        self.samples: list[Sample] = []
        self._servers = servers
        self._now = now
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="gauges")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._watch(server) for server in self._servers))

    async def _watch(self, server: Server) -> None:
        link = connect(server.url, durable=False).link("chaos gauges")
        queues = sorted({*QUEUES, *await asyncio.to_thread(server.queues)})
        while not self._stopping.is_set():
            try:
                counts = dict(zip(queues, await link.counts(queues), strict=True))
            except BrokerError:
                self.samples.append(Sample(self._now(), server.name, None))
            else:
                self.samples.append(Sample(self._now(), server.name, counts))
            await asyncio.sleep(EVERY)
        await link.close()
