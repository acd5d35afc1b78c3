"""The messages of a batch, side by side: nobody waits for another one's answer of the store, or password.

`SideBySide` handles each in a task of its own. `PassingOn` is for a queue most of whose messages only go on to another
one: those travel together, one push for each queue. A task for each would be most of what it costs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gorgond.redpill import (
    CallFailed,
    Done,
    GorgonError,
    Message,
    Outcome,
    Producer,
    Retry,
    Work,
    contained,
    handling,
    public_error,
)
from gorgond.service.heartbeat import Heartbeat

TURN = 1.0  # seconds between two signs of life while others are waited for

log = logging.getLogger("gorgond.auth")


class SideBySide:
    """Handles each message of a batch with a call of `work`, which may raise anything; shows meanwhile that it
    lives."""

    def __init__(self, work: Work, heartbeat: Heartbeat) -> None:
        self._work = work
        self._heartbeat = heartbeat

    async def __call__(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        tasks = [self._begin(message) for message in batch]
        await self._all(tasks)
        return [task.result() for task in tasks]

    def _begin(self, message: Message) -> asyncio.Task[Outcome]:
        return asyncio.ensure_future(self._outcome(message))

    async def _all(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        waiting = set(tasks)
        try:
            while waiting:
                _, waiting = await asyncio.wait(waiting, timeout=TURN)
                self._heartbeat.beat()
        finally:
            for task in waiting:
                task.cancel()

    async def _outcome(self, message: Message) -> Outcome:
        handling.set((message.id,))  # of this task's own context
        try:
            return await contained(self._work(message))
        except Exception as error:  # noqa: BLE001 - foreign input may be anything
            return _outcome_of_error(message, error)


class PassingOn(SideBySide):
    """The same, but what can go on does so at once, as the bytes that `forward` makes of it; where that makes
    none, or raises, it takes `work`."""

    def __init__(
        self, work: Work, heartbeat: Heartbeat, forward: Callable[[Message], bytes | None], producer: Producer
    ) -> None:
        super().__init__(work, heartbeat)
        self._forward = forward
        self._producer = producer

    async def __call__(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        works: dict[int, asyncio.Task[Outcome]] = {}
        going: dict[str, list[bytes]] = {}
        for index, message in enumerate(batch):
            raw = self._forwarded(message)
            if raw is None:
                works[index] = self._begin(message)
            else:
                going.setdefault(message.next, []).append(raw)
        pushes = {queue: asyncio.ensure_future(self._push(queue, raws)) for queue, raws in going.items()}
        await self._all([*works.values(), *pushes.values()])
        gone = {queue: iter(push.result()) for queue, push in pushes.items()}
        return [
            works[index].result() if index in works else _outcome_of_push(message, next(gone[message.next]))
            for index, message in enumerate(batch)
        ]

    def _forwarded(self, message: Message) -> bytes | None:
        try:
            return self._forward(message)
        except Exception:  # noqa: BLE001 - whatever it is, `work` meets it too, and says so
            return None

    async def _push(self, queue: str, raws: Sequence[bytes]) -> Sequence[Exception | None]:
        """What each could not be pushed for, None if it was."""
        try:
            return await self._producer.push_each(queue, raws)
        except Exception as error:  # noqa: BLE001 - each of its messages is told
            return [error] * len(raws)


def _outcome_of_push(message: Message, error: Exception | None) -> Outcome:
    return Done(None) if error is None else _outcome_of_error(message, error)


def _outcome_of_error(message: Message, error: Exception) -> Outcome:
    """The outcome of a message whose handling has raised this."""
    if isinstance(error, CallFailed):
        return Done(error=error)
    if isinstance(error, GorgonError):
        if message.reply:
            return Done(error=public_error(error) or CallFailed(500, str(error)))
        return Retry(str(error))
    log.error("%s failed", message.op, exc_info=error)
    return Retry(f"{type(error).__name__}: {error}")
