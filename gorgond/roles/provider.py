"""DataProvider: brings items in from outside, at its own pace; each is a message of its own on store_put.

The instance is the name of its section: [provider.random] is the provider `random`. When the queue is full, or the
broker away, the provider waits and offers the same items again: none is lost, none is pushed twice. It ends by itself
when it has pushed as many as it shall, with exit code 0, and begins with the first item again when it is started
anew: the items are the same, so the database keeps each once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gorgond.config import Config
from gorgond.providers.pace import Pace
from gorgond.providers.random import RandomItems
from gorgond.redpill import CLAIM_BYTES, Hooks, Message, Producer, QueueFull
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service, log

BATCH = 500  # items pushed at a time, at most
BESIDES = 1000  # bytes of a message at most, besides the body
PATIENCE = 1.0  # seconds that a push under way has left when the provider is to end
TICK = 0.01  # seconds between two batches, when the rate allows
TURN = 1.0  # seconds between two signs of life, at most
FULL = (0.02, 1.0)  # seconds between two offers to a full queue: the first, the longest


class DataProvider(Service):
    """One provider."""

    role = "provider"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self.settings = config.provider(instance)
        self.pushed = 0
        self._items = RandomItems(self.settings.seed, self.settings.users, self.settings.size)
        # So small a part of the queue that one which is emptied slowly has room for it soon.
        # And no larger than what travels as one, or a refusal could be that of a part.
        self._batch = min(
            BATCH, max(1, fabric.room.messages // 10), max(1, CLAIM_BYTES // (self.settings.size + BESIDES))
        )
        self._pushing: asyncio.Task[None]
        self._full = False
        self._started = time.monotonic()

    async def start(self) -> None:
        # Not hidden in a snapshot until the first of them happens.
        for counter in ("pushed", "refused", "retried"):
            self.metrics.count(counter, 0)
        self._started = time.monotonic()
        self._pushing = self.spawn(self._push(), "push")

    async def drain(self) -> None:
        await asyncio.wait({self._pushing}, timeout=PATIENCE)
        self._pushing.cancel()  # the broker is away; what of it was queued has the same ids at the next start
        await asyncio.wait({self._pushing})
        log.info("%s", self.summary())

    def doing(self) -> str:
        of = f" of {self.settings.count:,}" if self.settings.count else ""
        full = ", the queue is full" if self._full else ""
        return f"pushing to store_put: {self._rate.of(self.pushed):.0f}/s, {self.pushed:,}{of}{full}"

    def summary(self) -> str:
        """What was pushed and at which rate; how many offers of an item were refused, and how many items were
        pushed after a refusal."""
        seconds = time.monotonic() - self._started
        counters = self.metrics.counters
        return (
            f"pushed {self.pushed:,} items in {seconds:.1f} s, {self.pushed / seconds:,.0f}/s; "
            f"refused {counters['refused']:,}, retried {counters['retried']:,}"
        )

    async def _push(self) -> None:
        beat = self.heartbeats.start("push")
        count = self.settings.count
        pace = Pace(self.settings.rate)
        hooks = Hooks(beat, self.fail)
        async with Producer(self.fabric.durable, self.name, self.fabric.room, hooks=hooks) as producer:
            while not self.draining and (self.pushed < count or not count):
                beat()
                number = pace.due(min(self._batch, count - self.pushed) if count else self._batch)
                if not number:
                    await asyncio.sleep(min(max(pace.wait(), TICK), TURN))
                    continue
                raws, started = self._encoded(number), time.perf_counter()
                if await self._put(producer, raws, beat):
                    took = time.perf_counter() - started
                    self.metrics.measure("store_put items.insert", number, 0, sum(map(len, raws)), took)
                    self.pushed += number
                    self.metrics.count("pushed", number)
                    self.progress(self.pushed, count)
        self.heartbeats.end("push")
        self.stop()

    def _encoded(self, number: int) -> list[bytes]:
        """The next items as messages. A message has its item's id, so the next start makes the same."""
        items = map(self._items.item, range(self.pushed, self.pushed + number))
        return [Message("items.insert", {"documents": [item]}, item["id"]).encode() for item in items]

    async def _put(self, producer: Producer, raws: list[bytes], beat: Callable[[], None]) -> bool:
        """Push these, which travel as one batch: all or none. False when asked to stop before there was room."""
        delay = FULL[0]
        while True:
            beat()
            try:
                await producer.push_encoded("store_put", raws)
            except QueueFull:
                self.metrics.count("refused", len(raws))
                self._full = True
                if self.draining:
                    return False
                await asyncio.sleep(delay)
                delay = min(delay * 2, FULL[1])
            else:
                if self._full:
                    self._full = False
                    self.metrics.count("retried", len(raws))
                return True
