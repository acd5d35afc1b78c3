"""What tells the viewers of a hub what is new: a loop of the server's, from the first of them on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

Tell = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
Spawn = Callable[[Tell, str], asyncio.Task[None]]


class Telling:
    """The loop `tell`, which ends when there has been no viewer for a while. `spawn` runs a loop of the server's, with
    what it is to call at each turn; `name` is what the log calls it."""

    def __init__(self, spawn: Spawn, tell: Tell, name: str) -> None:
        self._spawn = spawn
        self._tell = tell
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A viewer has come."""
        if self._task is None or self._task.done():
            # It is not about the request that happens to begin it, whose id the log would show.
            self._task = Context().run(self._spawn, self._tell, self._name)

    def end(self) -> None:
        """The server drains."""
        if self._task is not None:
            self._task.cancel()
