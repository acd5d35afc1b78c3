"""A picture of our own: what the stats server does, for as long as somebody asks, with its own functions.

It knows nothing of what was before, and does not ask for the database.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gorgond.redpill import Listener, Message, now_ms
from gorgond.service.fabric import Fabric
from gorgond.stats.collector import Collector
from gorgond.stats.instances import SETTLED
from gorgond.stats.picture import database_row


class Observer:
    """Listens to the instances and looks at the queues from when it is first asked."""

    def __init__(self, fabric: Fabric) -> None:
        self._collector = Collector(fabric)
        self._links = [broker.link("gorgonctl") for broker in fabric.brokers]
        self._servers = [broker.link("gorgonctl servers") for broker in fabric.brokers]
        self._listener = Listener(fabric.calls, ["stats"], "gorgonctl", self._hear)
        self._listening: asyncio.Task[None] | None = None

    async def picture(self) -> dict[str, Any]:
        """The picture as it is known now; the first time as it is when every instance has had its say."""
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listener.run())
            if await self._look():
                await asyncio.sleep(SETTLED + 0.2)
        await self._look()
        now, at = time.monotonic(), now_ms() / 1000
        self._collector.add_up(now, at, not any(each.health.away for each in self._collector.brokers))
        return self._collector.picture(now, at, database_row({}, 0.0, 0.0, ""), ())

    async def close(self) -> None:
        """Let go of the connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        for link in (*self._links, *self._servers):
            await link.close()

    def _hear(self, _: str, event: Message) -> None:
        if event.op == "stats.second":
            self._collector.hear(event)

    async def _look(self) -> bool:
        """The figures of the brokers and their queues; whether all of them answered."""
        watched = self._collector.brokers
        looks = (each.look(link, self._collector.queues) for each, link in zip(watched, self._links, strict=True))
        servers = (each.look_at_servers(link) for each, link in zip(watched, self._servers, strict=True))
        await asyncio.gather(*looks, *servers)
        return not any(each.health.away for each in watched)
