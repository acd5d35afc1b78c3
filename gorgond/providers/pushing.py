"""Items on their way from a source to the store: each is a message of its own on store_put, and when the broker has it
an event `NAME.arrived` on the topic provider_data.

When the queue is full the same items are offered again, until there is room: none is lost, none is pushed twice. What
is repeated all the same, since this process died in between, has the same ids.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gorgond.providers.source import Item, id_of
from gorgond.redpill import CLAIM_BYTES, Message, Producer, QueueFull, Room
from gorgond.service.metrics import Metrics

QUEUE, TOPIC = "store_put", "provider_data"
BATCH = 500  # items pushed at a time, at most
FULL = (0.02, 1.0)  # seconds between two offers to a full queue: the first, the longest


class Part(NamedTuple):
    """The messages that are pushed at a time, all or nothing: inserts into a collection, and the events that tell of
    them."""

    op: str
    messages: Sequence[bytes]
    events: Sequence[Message]


class Pushing:
    """Pushes the items of provider `name`, and tells of them, each with the producer that `producer` gives for a queue
    or topic; `progress` hears how many they are by now."""

    def __init__(
        self,
        name: str,
        producer: Callable[[str], Producer],
        room: Room,
        metrics: Metrics,
        progress: Callable[[int], None] = lambda pushed: None,
    ) -> None:
        self.pushed = 0
        self.full = False
        self._name = name
        self._items, self._events = producer(QUEUE), producer(TOPIC)
        self._metrics = metrics
        self._progress = progress
        # So small a part of the queue that one which is emptied slowly has room for it soon.
        self._most = min(BATCH, max(1, room.messages // 10))
        self._stopping = False
        for counter in ("pushed", "refused", "retried"):  # not hidden in a snapshot until the first of them happens
            metrics.count(counter, 0)

    def stop(self) -> None:
        """Offer nothing again."""
        self._stopping = True

    def parts(self, items: Sequence[Item]) -> list[Part]:
        """The items as they are pushed. Raises what making messages of them raises, which is their source's fault."""
        return list(self._parts(items))

    def _parts(self, items: Sequence[Item]) -> Iterator[Part]:
        op, messages, events, size = "", list[bytes](), list[Message](), 0
        for key, document, collection in items:
            id = id_of(self._name, key)
            raw = Message(f"{collection}.insert", {"documents": [{**document, "id": id}]}, id).encode()
            # No larger than what travels as one, or a refusal could be that of a part.
            full = len(messages) >= self._most or size + len(raw) > CLAIM_BYTES
            if messages and (full or op != f"{collection}.insert"):
                yield Part(op, messages, events)
                messages, events, size = [], [], 0
            op = f"{collection}.insert"
            messages.append(raw)
            events.append(Message(f"{self._name}.arrived", {"id": id, "collection": collection}, f"{id}.arrived"))
            size += len(raw)
        if messages:
            yield Part(op, messages, events)

    async def push(self, parts: Sequence[Part]) -> bool:
        """Push these, however long it takes. False when asked to stop before there was room; then a part may be
        pushed."""
        for part in parts:
            started = time.perf_counter()
            if not await self.put(part.messages):
                return False
            await self._events.publish(TOPIC, *part.events)
            count, took = len(part.messages), time.perf_counter() - started
            self._metrics.measure(f"{QUEUE} {part.op}", count, 0, sum(map(len, part.messages)), took)
            self._metrics.count("pushed", count)
            self.pushed += count
            self._progress(self.pushed)
        return True

    async def put(self, messages: Sequence[bytes]) -> bool:
        """Push messages that travel as one batch: all or none. False when asked to stop before there was room."""
        delay = FULL[0]
        refused = False
        while True:
            try:
                await self._items.push_encoded(QUEUE, messages)
            except QueueFull:
                self._metrics.count("refused", len(messages))
                self.full = refused = True
                if self._stopping:
                    return False
                await asyncio.sleep(delay)
                delay = min(delay * 2, FULL[1])
            else:
                if refused:
                    self.full = False
                    self._metrics.count("retried", len(messages))
                return True
