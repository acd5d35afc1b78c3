"""Running what others wrote, so that it ends nothing but itself.

    await contained(handler(message))

A handler may raise what is no Exception (`sys.exit()`, KeyboardInterrupt), which would end the process, or cancel the
task it runs in, which is its consumer's. Both are told as an `Escaped`, an error like any other. The owner of the task
may cancel it all the same. That cancellation comes while the handler waits for something; the handler's own comes while
it runs. The two are told apart by running the handler step by step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

from gorgond.redpill.errors import GorgonError

T = TypeVar("T")


class Escaped(GorgonError):
    """Foreign code tried to end more than itself."""


class contained(Generic[T]):  # noqa: N801 - it is used as a function is
    """Awaits `work` in the current task. Raises what it raises: Escaped for what is no Exception, and CancelledError
    only when somebody else cancels the task."""

    __slots__ = ("_work",)

    def __init__(self, work: Awaitable[T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("it runs in a task of asyncio's")
        steps = self._work.__await__()
        cancelling = task.cancelling
        before = here = cancelling()
        own = 0  # times that it asked for its own end
        step, given = steps.send, None
        while True:
            try:
                waits_for = step(given)
            except StopIteration as end:
                if (now := cancelling()) != here:
                    own = max(own + now - here, 0)
                if own:
                    yield from _absorb(task, before, own)
                    raise Escaped("it has cancelled its own task") from None
                result: T = end.value
                return result
            except asyncio.CancelledError as cancelled:
                own = max(own + cancelling() - here, 0)
                if cancelling() - before > own:
                    raise
                yield from _absorb(task, before, own)
                raise Escaped("it was cancelled, by itself or by what it waited for") from cancelled
            except BaseException as error:
                if isinstance(given, GeneratorExit):  # whoever runs the task has closed it
                    raise
                own = max(own + cancelling() - here, 0)
                yield from _absorb(task, before, own)
                if isinstance(error, Exception):
                    raise
                raise Escaped(f"{type(error).__name__}: {error}") from error
            if (now := cancelling()) != here:
                own = max(own + now - here, 0)
            try:
                given = yield waits_for
                step = steps.send
            except BaseException as error:  # noqa: BLE001 - it is the handler's, as if this were not in between
                given, step = error, steps.throw
            here = cancelling()


def _absorb(task: asyncio.Task[Any], before: int, own: int) -> Generator[None, Any, None]:
    """Let the cancellation come that it asked for, if it ended before it was given it: nobody else is to meet it."""
    if not own:
        return
    try:
        yield
    except asyncio.CancelledError:
        if task.cancelling() - before > own:  # somebody else's too
            raise
    for _ in range(own):
        task.uncancel()
