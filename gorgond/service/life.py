"""A service's life: start, run, drain, end.

    meet       a broker or database that does not let it in, or a clock that is far from the broker's, ends it before it
               takes anything: a roll stops at it, and others of its role work on
    start      sockets taken, loops begun; a broker or database that is away is waited for
    READY=1
    run        once a second: status line, watchdog (`heart`), what it tells of itself (`figures`)
    SIGHUP     the configuration is read again: what can change is applied, what is invalid is refused
    SIGTERM    STOPPING=1, then `drain`: take nothing new; then what consumes finishes what it has begun (`ends`), all
               stops, and what is left is closed; exit 0

`watched` has what ends a service although nobody asked it to. `process` makes a process of a service, with its exit
code: 0 stopped in good order, 1 a loop failed, 75 the host's clock is off, 78 the configuration is wrong (systemd does
not restart it).
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gorgond.config import Config
from gorgond.redpill import Broker, BrokerAway
from gorgond.service.clock import HostClock
from gorgond.service.ends import QueueEnds
from gorgond.service.fabric import Fabric
from gorgond.service.figures import Figures, of_consumers, of_process
from gorgond.service.heart import TICK, Heart
from gorgond.service.machine import host_name, machine_id
from gorgond.service.routing import check_route
from gorgond.service.systemd import Notifier

MEET_MAX = 10.0  # seconds for all that it needs to let it in or not; what takes longer counts as away
DRAIN_MAX = 15.0  # seconds draining may take, under the unit's TimeoutStopSec

log = logging.getLogger("gorgond.service")


class Service(QueueEnds, ABC):
    """One instance of a role. `name` ("store@2.host") is its own among all processes of the fabric, unless two machines
    are called the same; `consumes_as` is its own then too."""

    role: str
    progress: Callable[[int, int], None] = staticmethod(lambda done, of: None)  # called as one that finishes goes on

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        self.host, self.machine = host_name(), machine_id()
        super().__init__(fabric, f"{self.role}@{instance}.{self.host}", self.machine)
        self.config = config
        self.instance = instance
        self.draining = False
        self.finished = False  # it has done all that it had to do, and ends
        self.ready = asyncio.Event()
        self._rate = _Rate()
        self._heart = Heart(self.name, self.heartbeats, self.status, self._fail)
        self._clock = HostClock(self.host, fabric.calls.time, config.broker.clock_limit)
        self._figures = Figures(self, self._clock, self.snapshot)

    @abstractmethod
    async def start(self) -> None:
        """Take sockets, begin to consume and to listen. Raises ConfigError."""

    async def meet(self) -> None:
        """Look whether all that it needs lets it in; what is away is waited for later. Raises GorgonError."""
        await asyncio.gather(*map(self._meet_broker, self.fabric.brokers))

    async def _meet_broker(self, broker: Broker) -> None:
        link = broker.link(f"{self.name} meet")
        try:
            with suppress(BrokerAway):
                await link.ping()
                if broker is self.fabric.durable:
                    await check_route(link, self.fabric.route)
        finally:
            await link.close()

    async def _meet(self) -> None:
        """Do that, unless it takes too long or the service is to end."""
        met, stopped = asyncio.ensure_future(self.meet()), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({met, stopped}, timeout=MEET_MAX, return_when=asyncio.FIRST_COMPLETED)
            if met.done():
                met.result()
                link = self.fabric.calls.link(f"{self.name} meet")
                try:
                    await self._clock.hear_servers(link)
                finally:
                    await link.close()
                self._clock.look()
        finally:
            met.cancel()
            stopped.cancel()

    @abstractmethod
    def doing(self) -> str:
        """The service's work in words, for its status line."""

    async def drain(self) -> None:
        """Take nothing new, but from queues, and finish what is begun. All that queues need works on."""

    async def close(self) -> None:
        """Let go of what the service has besides its ends of queues, which are stopped."""

    def reload(self, config: Config) -> None:
        """Apply what can change while running; `config` is valid. The log level always can."""
        self.config = config
        logging.getLogger().setLevel(config.log.level.upper())

    async def run(self, notifier: Notifier) -> None:
        """The whole life. Raises LoopEnded, which says what has failed, and ClockOff."""
        self._loop = asyncio.get_running_loop()
        try:
            self._begin_ends()
            await self._meet()
            await self.start()
            if self.failed is None:
                notifier.ready()
            self.ready.set()
            log.info("%s started", self.name)
            self._spawn(self._heart.run(notifier), "heart", self._stop.is_set)
            self.loop(self._figures.run, "figures")
            await self._stop.wait()
            self.draining = True
            notifier.stopping()
            log.info("%s drains%s", self.name, f": {self.failed}" if self.failed is not None else "")
            try:
                async with asyncio.timeout(DRAIN_MAX):
                    await self.drain()
                    await self._stop_ends()
                    await self.close()
            except TimeoutError:
                log.warning("%s could not finish within %g s: what is left stays in its queues", self.name, DRAIN_MAX)
        finally:
            self._stop.set()
            await self._stop_pushing(0)
            await self._cancel_all()
        if self.failed is not None:
            raise self.failed
        log.info("%s ended", self.name)

    def status(self) -> str:
        """One line for people: what it does, or what it waits for."""
        newer = sorted({consumer.queue for consumer in self.consumers if consumer.newer.lately})
        if newer:
            jobs = all(queue.startswith("app_job:") for queue in newer)
            what = "newer version of its application" if jobs else "newer gorgond"
            return f"waiting for a {what}, which messages of {', '.join(newer)} need"
        away = self.fabric.away()
        if away is not None:
            return f"waiting for {away.outage.what} for {away.outage.length:.0f} s: {away.outage.reason}"
        missed = [each.outage.what for each in self.fabric.brokers if each.outage.length]
        return f"{self.doing()}; without {', '.join(missed)}" if missed else self.doing()

    def consuming(self) -> str:
        """A status line for what consumes queues: "consuming store_get, store_put: 412/s, depth 3"."""
        handled = sum(consumer.tally.handled for consumer in self.consumers)
        queues = ", ".join(sorted({consumer.queue for consumer in self.consumers}))
        return f"consuming {queues}: {self._rate.of(handled):.0f}/s, depth {self._figures.depth}"

    def snapshot(self) -> dict[str, Any]:
        """The figures of the instance since it started, for the topic `stats`; docs/protocol.md describes them."""
        return {
            "name": self.name,
            "role": self.role,
            "instance": self.instance,
            "host": self.host,
            "machine": self.machine,
            "state": "draining" if self.draining else "up",
            "done": self.finished,
            "status": self.status(),
            "silent": round(self.heartbeats.oldest()[1], 3),
            "lag": round(self._heart.lag, 4),
            "clock": self._clock.ahead,
            "set": self.fabric.durable.set_name,
            "route": self.fabric.route,
            "queues": of_consumers(self.consumers),
            "counters": self.metrics.counters.copy(),
            "operations": self.metrics.operations(),
            **of_process(),
        }


class _Rate:
    """A growing figure's growth per second between two questions; asked again at once, the answer is the same."""

    def __init__(self) -> None:
        self._value, self._at = 0, time.monotonic()
        self._rate = 0.0

    def of(self, value: int) -> float:
        now = time.monotonic()
        if now - self._at >= TICK / 2:
            self._rate = (value - self._value) / (now - self._at)
            self._value, self._at = value, now
        return self._rate
