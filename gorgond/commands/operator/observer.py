"""A picture of our own: what the stats server does, for as long as somebody asks, with its own functions.

It knows nothing of what was before, and does not ask for the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from gorgond.redpill import BrokerError, Counts, Listener, Message
from gorgond.service.fabric import Fabric
from gorgond.service.metrics import Operation
from gorgond.stats.brokers import BrokerHealth
from gorgond.stats.history import History
from gorgond.stats.instances import Instances
from gorgond.stats.picture import SETTLED, database_row, picture
from gorgond.stats.queues import Queues, together

ANSWER = 2.0  # seconds that a broker may take to say how it is


class Observer:
    """Listens to the instances and looks at the queues from when it is first asked."""

    def __init__(self, fabric: Fabric) -> None:
        self._began = time.monotonic()
        self._instances = Instances(self._began)
        self._queues = Queues()
        self._history = History(int(time.time()))
        self._brokers = [
            BrokerHealth(name, broker.outage.what.removeprefix("broker "))
            for name, broker in zip(("durable", "calls"), fabric.brokers, strict=False)
        ]
        self._links = [broker.link("gorgonctl") for broker in fabric.brokers]
        self._answered = [self._began for _ in self._brokers]
        self._listener = Listener(fabric.calls, ["stats"], "gorgonctl", self._heard)
        self._listening: asyncio.Task[None] | None = None

    async def picture(self) -> dict[str, Any]:
        """What is known now; the first time what is known when every instance has had its say."""
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listener.run())
            if await self._look():
                await asyncio.sleep(SETTLED + 0.2)
        await self._look()
        now, at = time.monotonic(), time.time()
        self._instances.look(now, not any(health.away for health in self._brokers))
        self._history.advance(int(at))
        return picture(
            at, now, now - self._began, self._instances.all.values(), self._queues.rows(),
            [health.row() for health in self._brokers], database_row({}, 0.0, 0.0, ""), self._history, (),
        )  # fmt: skip

    async def close(self) -> None:
        """Let go of the connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        for link in self._links:
            await link.close()

    def _heard(self, _: str, event: Message) -> None:
        done = self._instances.heard(event.args, time.monotonic()) if event.op == "stats.second" else None
        if done is None:
            return
        self._queues.know(event.args["queues"])
        whole = Operation()
        for operation in done.operations.values():
            whole.merge(operation)
        self._history.add(str(event.args["role"]), int(time.time()), whole)

    async def _look(self) -> bool:
        """The figures of the brokers and their queues; whether all of them answered."""
        found: list[Mapping[str, Counts] | None] = await asyncio.gather(*map(self._look_at, range(len(self._brokers))))
        parts = [each for each in found if each is not None]
        if len(parts) < len(self._brokers):
            return False
        names = set.intersection(*map(set, parts))
        figures = {name: together([part[name] for part in parts]) for name in names}
        self._queues.look(figures, time.monotonic())
        return True

    async def _look_at(self, number: int) -> Mapping[str, Counts] | None:
        health, link = self._brokers[number], self._links[number]
        try:
            async with asyncio.timeout(ANSWER):
                self._queues.know(await link.queues())
                names = list(self._queues.names)
                counts = await link.counts(names)
                health.heard(await link.about())
        except (BrokerError, TimeoutError) as error:
            health.reason = str(error) or f"no answer within {ANSWER:g} s"
            health.away = max(time.monotonic() - self._answered[number], 0.1)
            return None
        self._answered[number] = time.monotonic()
        return dict(zip(names, counts, strict=True))
