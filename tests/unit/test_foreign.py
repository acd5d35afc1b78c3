"""Foreign code ends nothing but itself, and who runs it can end it all the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gorgond.redpill.foreign import Escaped, contained


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def exits() -> None:
    await asyncio.sleep(0)
    sys.exit(3)


async def interrupts() -> None:
    raise KeyboardInterrupt


async def closes() -> None:
    raise GeneratorExit


async def raises_its_own() -> None:
    class Odd(BaseException):
        pass

    raise Odd


async def cancels_itself() -> None:
    own_task().cancel()
    await asyncio.sleep(0)


async def cancels_itself_twice_and_returns() -> None:
    own_task().cancel()
    own_task().cancel()


async def cancels_itself_and_raises() -> None:
    own_task().cancel()
    raise KeyError


async def cancels_itself_and_exits() -> None:
    own_task().cancel()
    sys.exit(3)


async def cancels_itself_and_says_so() -> None:
    own_task().cancel()
    raise asyncio.CancelledError


async def cancels_itself_and_goes_on() -> None:
    own_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def says_that_it_was_cancelled() -> None:
    raise asyncio.CancelledError


async def waits_for_what_is_cancelled() -> None:
    waiting = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(waiting.cancel)
    await waiting


async def _passing(work: Awaitable[None]) -> None:
    """With what is around it in a server."""
    async with asyncio.timeout(60):
        await work


@pytest.mark.parametrize(
    "work",
    [
        exits, interrupts, closes, raises_its_own, cancels_itself, cancels_itself_twice_and_returns,
        cancels_itself_and_raises, cancels_itself_and_exits, cancels_itself_and_says_so, cancels_itself_and_goes_on,
        says_that_it_was_cancelled, waits_for_what_is_cancelled,
    ],
)  # fmt: skip
async def test_whatever_it_does_is_an_error_and_the_task_goes_on(work: Callable[[], Awaitable[None]]) -> None:
    # when foreign code tries to end more than itself
    with pytest.raises(KeyError if work is cancels_itself_and_raises else Escaped):
        await contained(_passing(contained(work())))
    # then nothing of it is left in the task: it can wait, and have timeouts
    assert own_task().cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    await asyncio.sleep(0)


async def test_what_it_gives_and_raises_passes() -> None:
    async def gives() -> int:
        await asyncio.sleep(0.001)
        async with asyncio.timeout(60):
            return await asyncio.wait_for(asyncio.sleep(0, 5), 60)

    async def fails() -> None:
        raise ValueError("x")

    assert await contained(gives()) == 5
    with pytest.raises(ValueError, match="x"):
        await contained(fails())


async def test_its_own_timeouts_work() -> None:
    async def hurries() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            return "late"
        return ""

    assert await contained(hurries()) == "late"


async def test_who_runs_it_may_close_it() -> None:
    # when it is waiting, and is closed as a loop closes what it still has at its end
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    running = contained(waits()).__await__()
    next(running)
    # then it ends, and no error is made of that
    running.close()
    assert ended.is_set()


async def test_who_runs_it_may_cancel_it() -> None:
    begun = asyncio.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def runs() -> None:
        await contained(waits())

    task = asyncio.create_task(runs())
    await begun.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    # and a timeout around it is one
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await contained(waits())
