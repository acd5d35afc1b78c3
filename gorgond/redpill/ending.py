"""How a loop ends that waits for its broker: one that has nothing in hand does not wait for an answer to end.

A loop that is asked to stop ends by itself, with its next answer, as long as the broker answers. While the broker is
away, or hangs, what waits is cut off, unless something is in hand: then it tries on, as long as the process that asked
it to end has patience.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gorgond.redpill.broker import BLOCK, Broker
from gorgond.redpill.errors import GorgonError, LoopEnded

PATIENCE = 0.2  # seconds beyond those for which a wait blocks; then the broker will not answer
T = TypeVar("T")

LOOK = 0.1  # seconds between two looks at a loop with something in hand


class Ending:
    """The end of one loop; may be asked for from any thread. `patience` is for how many seconds an answer is waited for
    that nothing depends on."""

    def __init__(self, broker: Broker, patience: float = BLOCK + PATIENCE) -> None:
        self.asked = False
        self.idle = True  # nothing is in hand
        self._broker = broker
        self._patience = patience
        self._cut = False
        self._waits = False  # for what may be cut off at once
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """The loop is to end."""
        self.asked = True
        if self._task is not None:
            with contextlib.suppress(RuntimeError):  # its event loop is closed by now
                self._loop.call_soon_threadsafe(self._wait)

    async def over(self, work: Coroutine[Any, Any, None]) -> bool:
        """Await `work`. True: it ended by itself; False: it was cut off, with nothing in hand."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self.asked:
            self._wait()
        try:
            await work
        except asyncio.CancelledError:
            if not self._cut or self._task is None or self._task.uncancel():
                raise
            return False
        finally:
            self._task = None
            if self._timer is not None:
                self._timer.cancel()
        return True

    async def unless_asked(self, waiting: Coroutine[Any, Any, T]) -> T | None:
        """What `waiting` answers, with nothing in hand; None when the end is asked for, which cuts it off at once."""
        if self.asked:
            waiting.close()
            return None
        self._waits = True
        try:
            return await waiting
        except asyncio.CancelledError:
            if self._waits or self._task is None or self._task.uncancel():
                raise
            return None
        finally:
            self._waits = False

    def _wait(self) -> None:
        if self._waits and self._task is not None:
            self._waits = False
            self._task.cancel()
        if self._timer is None and self._task is not None:
            away = self._broker.outage.length > 0
            self._timer = self._loop.call_later(LOOK if away else self._patience, self._look)

    def _look(self) -> None:
        if self._task is None:
            return
        if self.idle:
            self._cut = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(LOOK, self._look)


def fault_of(task: asyncio.Task[Any], may_return: bool = False) -> LoopEnded | None:
    """Why a loop has ended that nobody stopped; None when it has returned, as it may."""
    name = task.get_name()
    if task.cancelled():
        return LoopEnded(f"{name} was cancelled, and nobody had asked it to end")
    error = task.exception()
    if error is None:
        return None if may_return else LoopEnded(f"{name} has ended, and nobody had asked it to")
    what = str(error) if isinstance(error, GorgonError) else f"{type(error).__name__}: {error}"
    ended = LoopEnded(f"{name} has failed: {what}")
    ended.__cause__ = error
    return ended


class Background:
    """The task of a loop from its begin, now, until `end`. Should it end before, `over` is called with the reason."""

    def __init__(self, loop: Coroutine[Any, Any, None], name: str, over: Callable[[LoopEnded], None]) -> None:
        self.ending = False
        self.task = asyncio.get_running_loop().create_task(loop, name=name)
        self.task.add_done_callback(self._on_done)
        self._over = over

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not self.ending and (ended := fault_of(task)) is not None:
            self._over(ended)

    async def end(self) -> None:
        """Cancel it."""
        self.ending = True
        self.task.cancel()
        await asyncio.wait({self.task})
