"""Which event loop runs: uvloop where it is installed, asyncio's own where not; and how a server runs in one.

A task that raises SystemExit or KeyboardInterrupt would end the loop and all others in it; under `serve` it ends alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

LAST = 2.0  # seconds for tasks to end that are cancelled since their loop ends; foreign code may refuse to

log = logging.getLogger("gorgond.service")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end in a new event loop of this thread."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)


def serve(work: Coroutine[Any, Any, None]) -> None:
    """The same for a server, which no task beside `work` ends, whatever it raises, nor keeps from ending."""
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        _complete(loop, loop.create_task(work))
    finally:
        try:
            _complete(loop, loop.create_task(_end_all()))
            _complete(loop, loop.create_task(loop.shutdown_asyncgens()))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _complete(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    while True:
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as escaped:
            if task.done():
                raise
            log.error("a task has tried to end the process; it ended alone", exc_info=escaped)
        else:
            return


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        _, stubborn = await asyncio.wait(others, timeout=LAST)
        for task in stubborn:
            log.error("%s does not end, although it was cancelled; it is left alone", task.get_name())


async def in_thread(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run `work` in a daemon thread with its own event loop; its end or failure is ours.

    The thread is not joined when this is cancelled: it may hang in a driver.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def body() -> None:
        error: BaseException | None = None
        try:
            serve(work())
        except BaseException as problem:  # noqa: BLE001 - it is raised where the thread was started
            error = problem
        with contextlib.suppress(RuntimeError):  # that loop may be closed by now
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=body, name=name, daemon=True).start()
    await done
