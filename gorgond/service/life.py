"""A service's life: start, run, drain, end.

    start      sockets taken, loops begun; a broker or database that is away is waited for
    READY=1
    run        once a second: status line, watchdog (only while every loop turns), metrics
    SIGHUP     the configuration is read again: what can change is applied, what is invalid is refused
    SIGTERM    STOPPING=1, then `drain`: take nothing new, finish what is begun, answer; then exit 0

A loop that ends although nobody asked it to ends the service, whatever the reason. `process` makes a process of a
service, with its exit code: 0 stopped in good order, 1 a loop failed, 78 the configuration is wrong (systemd does not
restart it).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from gorgond import __version__
from gorgond.config import Config
from gorgond.redpill import (
    AnyConsumer,
    BrokerError,
    Counts,
    GorgonError,
    Hooks,
    Link,
    Message,
    Producer,
    fault_of,
    keys,
)
from gorgond.service.clock import HostClock
from gorgond.service.fabric import Fabric
from gorgond.service.heartbeat import Heartbeats
from gorgond.service.loop import in_thread
from gorgond.service.metrics import Metrics
from gorgond.service.systemd import Notifier, watchdog_seconds

TICK = 1.0  # seconds between two status lines
LAST_WORD = 0.5  # seconds that telling of the end may take; without it the instance is missed a little later
DRAIN_MAX = 15.0  # seconds draining may take, under the unit's TimeoutStopSec

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = os.open("/proc/self/statm", os.O_RDONLY)  # from the start: later there may be no descriptor left
_STARTED = time.monotonic()

log = logging.getLogger("gorgond.service")


class Service(ABC):
    """One instance of a role. `name` ("store@2.host") is its own among all processes of the fabric."""

    role: str
    progress: Callable[[int, int], None] = staticmethod(lambda done, of: None)  # called as one that finishes goes on

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        self.config = config
        self.fabric = fabric
        self.instance = instance
        self.host = keys.word(socket.gethostname())
        self.name = f"{self.role}@{instance}.{self.host}"
        self.metrics = Metrics()
        self.heartbeats = Heartbeats()
        self.consumers: list[AnyConsumer] = []
        self.draining = False
        self.ready = asyncio.Event()
        self.failed: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._stop = asyncio.Event()
        self._rate = _Rate()
        self._clock = HostClock(self.host)
        self._lag = 0.0
        self._depth = 0

    @abstractmethod
    async def start(self) -> None:
        """Take sockets, begin loops. Raises ConfigError."""

    @abstractmethod
    async def drain(self) -> None:
        """Take nothing new, finish what is begun, stop every loop."""

    @abstractmethod
    def doing(self) -> str:
        """What the service does, for its status line."""

    def reload(self, config: Config) -> None:
        """Apply what can change while running; `config` is valid. The log level always can."""
        self.config = config
        logging.getLogger().setLevel(config.log.level.upper())

    def stop(self) -> None:
        """Ask the service to drain and end."""
        self._stop.set()

    def hooks(self, loop: str) -> Hooks:
        """What a queue end of that name is to be given, for the service to hear of it: it is watched from now on, and
        should it ever fail, the service ends and says why."""
        return Hooks(self.heartbeats.start(loop), self.fail)

    def consumer_hooks(self, loop: str, queue: str) -> Hooks:
        """The same for a consumer of `queue`, what it does being counted among what the service does."""
        return replace(self.hooks(loop), measure=functools.partial(_measured, self.metrics.part(), queue))

    def spawn(self, work: Coroutine[Any, Any, None], name: str, ends: bool = False) -> asyncio.Task[None]:
        """Run a loop of the service. If it fails or is cancelled, or ends without being one that `ends`, although the
        service does not, the service ends and says why: without it it would live on and do half of its work."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._watch, ends))
        return task

    def spawn_thread(
        self, work: Callable[[], Coroutine[Any, Any, None]], name: str, ends: bool = False
    ) -> asyncio.Task[None]:
        """The same in a thread with an event loop of its own, for a loop whose work blocks."""
        return self.spawn(in_thread(work, name), name, ends)

    def spawn_consumer(self, consumer: AnyConsumer, name: str) -> asyncio.Task[None]:
        """The same for a consumer whose handler blocks; it stays here when a broker does, in memory, whose users must
        all share one event loop."""
        if any(broker.in_process for broker in self.fabric.brokers):
            return self.spawn(consumer.run(), name)
        return self.spawn_thread(consumer.run, name)

    def _watch(self, ends: bool, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() and self._stop.is_set():
            return
        error = fault_of(task)
        if error is None and not ends and not self._stop.is_set():
            error = GorgonError(f"{task.get_name()} has ended, and nobody had asked it to")
        if error is not None:
            if not isinstance(error, GorgonError):
                log.error("%s has failed", task.get_name())
            self._fail(error)

    def fail(self, error: BaseException) -> None:
        """End the service because of `error`; from any thread."""
        self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: BaseException) -> None:
        self.failed = self.failed or error
        self._stop.set()

    async def run(self, notifier: Notifier) -> None:
        """The whole life. Raises what a loop failed with."""
        self._loop = asyncio.get_running_loop()
        try:
            await self.start()
            notifier.ready()
            self.ready.set()
            log.info("%s started", self.name)
            self.spawn(self._tick(notifier), "heart")
            await self._stop.wait()
            self.draining = True
            notifier.stopping()
            log.info("%s drains", self.name)
            try:
                async with asyncio.timeout(DRAIN_MAX):
                    await self.drain()
            except TimeoutError:
                log.warning("%s could not finish within %g s: what is left stays in its queues", self.name, DRAIN_MAX)
        finally:
            self._stop.set()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=2)
        if self.failed is not None:
            raise self.failed
        log.info("%s ended", self.name)

    async def _tick(self, notifier: Notifier) -> None:
        """At once and then once a second: what the service does, that it lives, and what it counted."""
        patience = watchdog_seconds()
        producer = Producer(self.fabric.calls, f"{self.name} stats", hooks=self.hooks("stats"))
        producer.start()
        links = [broker.link(f"{self.name} look") for broker in self.fabric.brokers]
        try:
            while True:
                loop, silent = self.heartbeats.oldest()
                if patience and silent < patience / 2:
                    notifier.alive()
                elif patience:
                    log.error("%s: %s has not turned for %.0f s", self.name, loop, silent)
                notifier.status(self.status())
                if not self._broker_away():
                    self._depth = await self._look(links)
                    await self._clock.compare(links[-1])
                    self._clock.expired(sum(consumer.tally.expired for consumer in self.consumers))
                    self._tell(producer, "draining" if self.draining else "up")
                due = time.monotonic() + TICK
                await asyncio.sleep(TICK)
                self._lag = time.monotonic() - due
        finally:
            away = self._broker_away()
            if not away:
                self._tell(producer, "gone")
            await producer.stop(timeout=0 if away else LAST_WORD)
            for link in links:
                await link.close()

    def _broker_away(self) -> bool:
        return any(broker.outage.length for broker in self.fabric.brokers)

    def _tell(self, producer: Producer, state: str) -> None:
        event = Message("stats.second", {**self.snapshot(), "state": state})
        producer.submit("stats", (event.encode(),), _ignore, topic=True)

    async def _look(self, links: Sequence[Link]) -> int:
        """How many messages wait in the queues that this service consumes."""
        queues = sorted({consumer.queue for consumer in self.consumers})
        if not queues:
            return 0
        try:
            figures = [await link.counts(queues) for link in links]
            await _pause_alike(links, queues, figures)
        except BrokerError:  # those who need it report it
            return self._depth
        return sum(counts.queued for some in figures for counts in some)

    def status(self) -> str:
        """One line for people: what it does, or what it waits for."""
        newer = sorted({consumer.queue for consumer in self.consumers if consumer.newer.lately})
        if newer:
            return f"waiting for a newer gorgond, which messages of {', '.join(newer)} need"
        for broker in self.fabric.brokers:
            if broker.outage.length:
                return f"waiting for {broker.outage.what} since {broker.outage.length:.0f} s: {broker.outage.reason}"
        return self.doing()

    def consuming(self) -> str:
        """A status line for what consumes queues: "consuming store_get, store_put: 412/s, depth 3"."""
        handled = sum(consumer.tally.handled for consumer in self.consumers)
        queues = ", ".join(sorted({consumer.queue for consumer in self.consumers}))
        return f"consuming {queues}: {self._rate.of(handled):.0f}/s, depth {self._depth}"

    def snapshot(self) -> dict[str, Any]:
        """What the instance did since it started, for the topic `stats`; docs/protocol.md describes it."""
        consumers: dict[str, dict[str, float]] = {}
        for consumer in self.consumers:
            sums = consumers.setdefault(consumer.queue, {})
            for slot in consumer.tally.__slots__:
                sums[slot] = sums.get(slot, 0) + getattr(consumer.tally, slot)
        cpu = os.times()
        return {
            "name": self.name,
            "role": self.role,
            "instance": self.instance,
            "host": self.host,
            "pid": os.getpid(),
            "version": __version__,
            "uptime": round(time.monotonic() - _STARTED, 3),
            "status": self.status(),
            "silent": round(self.heartbeats.oldest()[1], 3),
            "lag": round(self._lag, 4),
            "clock": self._clock.ahead,
            "rss": _memory(),
            "cpu": round(cpu.user + cpu.system, 3),
            "queues": consumers,
            "counters": self.metrics.counters.copy(),
            "operations": self.metrics.operations(),
        }


async def _pause_alike(links: Sequence[Link], queues: Sequence[str], figures: Sequence[Sequence[Counts]]) -> None:
    """What the durable broker, the first, says of which queues are paused counts: one of calls may have forgotten."""
    for queue, durable, *others in zip(queues, *figures, strict=True):
        for link, counts in zip(links[1:], others, strict=True):
            if durable.paused and not counts.paused:
                await link.pause(queue)
            elif counts.paused and not durable.paused:
                await link.resume(queue)


def _memory() -> int:
    """Bytes of memory this process has. (psutil wants more of /proc than the units' sandbox shows.)"""
    return int(os.pread(_STATM, 100, 0).split()[1]) * _PAGE


def _measured(metrics: Metrics, queue: str, op: str, count: int, errors: int, bytes: int, seconds: float) -> None:
    metrics.measure(f"{queue} {op}", count, errors, bytes, seconds)


def _ignore(error: GorgonError | None) -> None:
    """A second of figures is not worth a log line."""


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
