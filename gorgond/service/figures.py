"""The figures that an instance tells of itself, once a second, on the topic `stats`, and its questions to the brokers
for that, their time among them."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from gorgond import __version__
from gorgond.errors import ClockOff
from gorgond.redpill import AnyConsumer, BrokerError, Counts, GorgonError, Link, Message
from gorgond.service.clock import HostClock
from gorgond.service.ends import QueueEnds
from gorgond.service.fabric import topic_of
from gorgond.service.pauses import pause_alike
from gorgond.service.watched import Beat

TICK = 1.0  # seconds between two events
PATIENCE = 0.5  # seconds in which a broker of routed queues is to say how they are
LAST_WORD = 0.5  # seconds that telling of the end may take; without it the instance is missed a little later

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = os.open("/proc/self/statm", os.O_RDONLY)  # from the start: later there may be no descriptor left


_STARTED = time.monotonic()
RUN = secrets.token_hex(4)  # of this process alone: two of one name are told apart by it


class Figures:
    """Those of one service, on a host with this `clock`. `snapshot` makes the arguments of an event."""

    def __init__(self, service: QueueEnds, clock: HostClock, snapshot: Callable[[], dict[str, Any]]) -> None:
        self.depth = 0  # messages that wait in the queues that the service consumes
        self._clock = clock
        self._fail = service.fail
        self._fabric = service.fabric
        self._consumers = service.consumers
        self._snapshot = snapshot
        self._producer = service.producer_apart(f"{service.name} stats", "stats", service.fabric.calls)
        self._links = {broker: broker.link(f"{service.name} look") for broker in service.fabric.brokers}

    async def run(self, beat: Beat) -> None:
        """Tell until cancelled."""
        self._producer.start()
        try:
            while True:
                beat()
                if not self._fabric.away():
                    with suppress(BrokerError):  # those who need it report it
                        await self._look()
                    beat()
                    try:
                        await self._clock.compare(self._links[self._fabric.calls])
                    except ClockOff as off:
                        self._fail(off)
                    self._tell(self._snapshot())
                await asyncio.sleep(TICK)
        finally:
            away = self._fabric.away()
            if not away:
                self._tell({**self._snapshot(), "state": "gone"})
            await self._producer.stop(timeout=0 if away else LAST_WORD)
            for link in self._links.values():
                await link.close()

    async def _look(self) -> None:
        """Ask each broker about the queues that the service consumes there. Raises BrokerError when a main one does not
        say; for another one nobody waits."""
        queues = sorted({consumer.queue for consumer in self._consumers})
        found: dict[Link, Mapping[str, Counts]] = {}
        for broker, link in self._links.items():
            if broker in self._fabric.main:
                found[link] = await _counts(link, queues)
                continue
            routed = self._fabric.queues_of(broker)
            if not broker.outage.length:
                with suppress(BrokerError, TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        found[link] = await _counts(link, [each for each in queues if topic_of(each) in routed])
        self.depth = sum(counts.queued for some in found.values() for counts in some.values())
        await pause_alike(found)

    def _tell(self, figures: dict[str, Any]) -> None:
        self._producer.submit("stats", (Message("stats.second", figures).encode(),), _ignore, topic=True)


async def _counts(link: Link, queues: Sequence[str]) -> Mapping[str, Counts]:
    return dict(zip(queues, await link.counts(queues), strict=True)) if queues else {}


def of_process() -> dict[str, Any]:
    """The figures of this process, as an event has them."""
    cpu = os.times()
    return {
        "pid": os.getpid(),
        "run": RUN,
        "version": __version__,
        "uptime": round(time.monotonic() - _STARTED, 3),
        "rss": int(os.pread(_STATM, 100, 0).split()[1])
        * _PAGE,  # psutil wants more of /proc than a unit's sandbox shows
        "cpu": round(cpu.user + cpu.system, 3),
    }


def of_consumers(consumers: Sequence[AnyConsumer]) -> dict[str, dict[str, float]]:
    """The figures of these consumers, by queues."""
    queues: dict[str, dict[str, float]] = {}
    for consumer in consumers:
        sums = queues.setdefault(consumer.queue, {})
        for slot in consumer.tally.__slots__:
            sums[slot] = sums.get(slot, 0) + getattr(consumer.tally, slot)
    return queues


def _ignore(error: GorgonError | None) -> None:
    """A second of figures is not worth a log line."""
