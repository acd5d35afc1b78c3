"""Handlers that run every so many seconds, on one instance at a time.

Each schedule has a lease in the broker. The instance that has it runs the handler and keeps the lease; all others look
every second whether it is free. When that instance is killed its lease ends, and another one goes on. One that only
hung, or lost its broker, is fenced off: what its handler asks for has the end of the lease as its deadline, past which
nobody does it, and the handler is cancelled when the lease cannot be kept.
"""

from __future__ import annotations

import asyncio
import functools
import time
from abc import ABC, abstractmethod

from gorgond.app.application import Schedule
from gorgond.app.backend import AppBackend
from gorgond.app.context import Context, log
from gorgond.redpill import UNHEARD, Ending, Hooks, Lease, Link, Message, contained, handling, now_ms

LEASE = 10.0  # seconds for which a lease is taken each time
LOOK = 1.0  # seconds between two looks, and two renewals
RUN_MAX = 60.0  # seconds that a run may take, or the schedule's own if they are more


class LeaseLoop(ABC):
    """Has a turn where and when it has the lease of this name."""

    def __init__(self, name: str, link: Link, owner: str, hooks: Hooks) -> None:
        self.name = name
        self._beat = hooks.beat
        self._link = link
        self._owner = owner
        self._stands = ""  # the lease, as the broker told it last
        self._stopping = asyncio.Event()
        self._ending = Ending(link.broker)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._ending.asked

    def stop(self) -> None:
        """Begin no further turn; end when the one under way is done."""
        self._stopping.set()
        self._ending.ask()

    async def run(self) -> None:
        """Look, and have the turns that come, until stopped."""
        try:
            await self._ending.over(self._look())
        finally:
            await self._link.close()

    @abstractmethod
    async def _turn(self, lease: Lease) -> float:
        """Do what is due, if anything is, while we have the lease: in how many seconds it is to be looked again, LOOK
        at most."""

    async def _look(self) -> None:
        while not self._stopping.is_set():
            lease, wait = await self._keep(), LOOK
            if lease.token:
                wait = await self._turn(lease)
            try:
                await asyncio.wait_for(self._stopping.wait(), wait)
            except TimeoutError:
                continue
        await self._lease(0)  # else it would end by itself, but later

    async def _keep(self, done: int | None = None) -> Lease:
        """Take the lease, or keep it; `done` is when the work was done that it is for, if it was."""
        return await self._lease(LEASE, done)

    async def _lease(self, seconds: float, done: int | None = None) -> Lease:
        lease = await self._link.persist(
            functools.partial(self._link.lease, f"every:{self.name}", self._owner, seconds, done, self._stands),
            self._beat,
        )
        self._stands = lease.stands
        return lease


class ScheduleLoop(LeaseLoop):
    """Runs one schedule where and when it is due."""

    def __init__(
        self, schedule: Schedule, backend: AppBackend, link: Link, owner: str, *, hooks: Hooks = UNHEARD
    ) -> None:
        super().__init__(schedule.name, link, owner, hooks)
        self.does = schedule
        self._backend = backend

    async def _turn(self, lease: Lease) -> float:
        if lease.done is None or lease.done >= self.does.seconds:
            self._ending.idle = False
            await self._run(lease)
            self._ending.idle = True
        return LOOK

    async def _run(self, begun: Lease) -> None:
        """One run, as long as the lease is ours."""
        kept = time.monotonic()
        message = Message(self.does.name, deadline=now_ms() + int(LEASE * 1000))
        context = Context(self._backend, message)
        task = asyncio.create_task(self._handle(context), name=self.does.name)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK)
                asked = time.monotonic()
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + LEASE - (asked - kept)):
                    lease = await self._keep(begun.at if task.done() else None)
                if lease.token != begun.token:
                    log.error("%s is cancelled: its lease has ended, and others may run it", self.does.name)
                    return
                kept, context.deadline = asked, now_ms() + int(LEASE * 1000)
        except TimeoutError:
            log.error("%s is cancelled: the broker is away, so its lease has ended", self.does.name)
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _handle(self, context: Context) -> None:
        handling.set((context.id,))
        try:
            async with asyncio.timeout(max(RUN_MAX, self.does.seconds)):
                await contained(self.does.handler(context))
        except Exception:  # noqa: BLE001 - a handler may fail as it likes
            log.exception("%s failed", self.does.name)
