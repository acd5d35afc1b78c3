"""A server's event loop: no task beside the server ends it, nor keeps it from ending."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest

from gorgond.service import loop as loop_module
from gorgond.service.loop import serve

LOOPS = [asyncio.new_event_loop, loop_module.new_event_loop]


@pytest.mark.parametrize("make", LOOPS)
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_that_ends_the_process_ends_alone(
    make: Callable[[], asyncio.AbstractEventLoop],
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: Callable[[str], None],
) -> None:
    expected_logs("a task has tried to end the process")
    monkeypatch.setattr(loop_module, "new_event_loop", make)
    told: list[object] = []

    async def evil() -> None:
        await asyncio.sleep(0)
        raise error

    async def server() -> None:
        told.extend(await asyncio.gather(evil(), asyncio.sleep(0.01, "fine"), return_exceptions=True))

    serve(server())
    assert told == [error, "fine"]


@pytest.mark.parametrize("make", LOOPS)
def test_what_the_server_itself_raises_comes_out(
    make: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "new_event_loop", make)

    async def server(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    for error in (KeyError("x"), SystemExit(3)):
        with pytest.raises(type(error)):
            serve(server(error))


@pytest.mark.parametrize("make", LOOPS)
def test_a_task_that_does_not_end_is_left_alone(
    make: Callable[[], asyncio.AbstractEventLoop],
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: Callable[[str], None],
) -> None:
    expected_logs("stubborn does not end, although it was cancelled|Task was destroyed but it is pending")
    monkeypatch.setattr(loop_module, "new_event_loop", make)
    monkeypatch.setattr(loop_module, "LAST", 0.05)
    cancelled: list[int] = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(1)

    async def server() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        keep.append(asyncio.create_task(stubborn(), name="stubborn"))
        await asyncio.sleep(0)

    keep: list[asyncio.Task[None]] = []
    serve(server())
    assert cancelled == [1]
    assert sys.exc_info() == (None, None, None)
    keep[0].get_coro().close()
