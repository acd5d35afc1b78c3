"""The loops and tasks of a service, and how it ends when one of them does not run any more.

    loop    turns until the service ends, and beats at each turn
    keep    an object of redpill's, or one like it, that runs until it is stopped
    task    is done some time

A loop or task that fails or is cancelled ends the service. So does a loop that ends although nobody asked it to, or
that hangs (`heart`): without it the service would live on and do half of its work. The error says which it was.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from gorgond.errors import ConfigError
from gorgond.redpill import GorgonError, fault_of
from gorgond.service.heartbeat import Heartbeat, Heartbeats
from gorgond.service.loop import in_thread

TURN = 1.0  # seconds between two beats of a loop that waits

T = TypeVar("T")
Beat = Callable[[], None]


class Stoppable(Protocol):
    """A loop that ends when it is told to."""

    @property
    def stopping(self) -> bool:
        """Whether it was."""

    def stop(self) -> None:
        """Finish what is begun, and end."""

    async def run(self) -> None:
        """Run until stopped."""


async def beating(work: Awaitable[T], beat: Beat) -> T:
    """What `work` gives. A loop beats while it waits for what may take as long as a broker is away: that is no hang."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=TURN))[0]:
            beat()
        return task.result()
    finally:
        task.cancel()


class Watched:
    """The tasks of one service."""

    def __init__(self) -> None:
        self.heartbeats = Heartbeats()
        self.failed: GorgonError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: dict[Stoppable, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    def stop(self) -> None:
        """Ask the service to drain and end."""
        self._stop.set()

    def fail(self, ended: GorgonError) -> None:
        """Have the service drain and end because of this; from any thread."""
        self._loop.call_soon_threadsafe(self._fail, ended)

    def _fail(self, ended: GorgonError) -> None:
        wrong = ended.__cause__ if isinstance(ended.__cause__, ConfigError) else None
        self.failed = self.failed or wrong or ended
        self._stop.set()

    def loop(
        self, work: Callable[[Beat], Coroutine[Any, Any, None]], name: str, *, ends: bool = False
    ) -> asyncio.Task[None]:
        """Run a loop that is to turn as long as the service lives, or until it `ends` by itself. It is given what it
        calls at each turn, every few seconds at least."""

        async def turning() -> None:
            heartbeat = self.heartbeats.start(name)
            try:
                await work(heartbeat.beat)
            finally:
                heartbeat.end()

        return self._spawn(turning(), name, lambda: ends or self._stop.is_set())

    def task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run what is done some time."""
        return self._spawn(work, name, lambda: True)

    def task_in_thread(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """The same in a thread with an event loop of its own, for what blocks."""
        return self.task(in_thread(work, name), name)

    def keep(
        self, loop: Stoppable, heartbeat: Heartbeat, *, thread: bool = False, then: Callable[[], None] = lambda: None
    ) -> None:
        """Run what ends when it is told to, at the latest when the service drains; it beats this heartbeat. `then` is
        called when it has ended. With `thread` it runs in one of its own, as what blocks has to."""
        name = heartbeat.name

        async def running() -> None:
            try:
                await (in_thread(loop.run, name) if thread else loop.run())
            finally:
                heartbeat.end()
            del self._kept[loop]
            then()

        self._kept[loop] = self._spawn(running(), name, lambda: loop.stopping)

    async def _stop_kept(self, which: Callable[[Stoppable], bool]) -> None:
        """Stop these of what is kept, and wait for their end."""
        some = {loop: task for loop, task in self._kept.items() if which(loop)}
        for loop in some:
            loop.stop()
        if some:
            await asyncio.wait(some.values())

    def _spawn(self, work: Coroutine[Any, Any, None], name: str, may_end: Callable[[], bool]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._has_ended, may_end))
        return task

    def _has_ended(self, may_end: Callable[[], bool], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() and self._stop.is_set():
            return
        error = fault_of(task, may_end())
        if error is not None:
            self._fail(error)

    async def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
