"""Waiting for a condition instead of sleeping for a guess.

    eventually(lambda: queue.depth() == 0)
    await eventually_async(lambda: consumer.idle)
    await eventually_async(broker.is_ready)          # an async function is awaited

Both return the first true value of the condition, and fail the test when there is none in time.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

PAUSE = 0.005  # seconds between two questions
SHARE = 3  # of what is dear to ask, as by a program that is run for it: as many times what the asking took,
MOST = 0.5  # but no more than this
LONG = 120.0  # seconds: what takes so long on a machine that has other things to do will never be
HANGS = 600.0  # seconds after which a program that was to end by itself is taken for one that hangs


def eventually(condition: Callable[[], T], timeout: float = LONG) -> T:
    """The first true value of `condition`, asked again and again for `timeout` seconds. Who waits leaves most of the
    machine to what is waited for."""
    began = asked = time.monotonic()
    while not (value := condition()):
        now = time.monotonic()
        if now > began + timeout:
            raise AssertionError(f"still not true after {timeout} s; the last value was {value!r}")
        time.sleep(max(PAUSE, min(SHARE * (now - asked), MOST)))
        asked = time.monotonic()
    return value


@overload
async def eventually_async(condition: Callable[[], Awaitable[T]], timeout: float = LONG) -> T: ...
@overload
async def eventually_async(condition: Callable[[], T], timeout: float = LONG) -> T: ...
async def eventually_async(condition: Callable[[], Any], timeout: float = LONG) -> Any:
    """The same while the event loop runs on; `condition` may be an async function."""
    end = time.monotonic() + timeout
    while not (value := await _settled(condition())):
        if time.monotonic() > end:
            raise AssertionError(f"still not true after {timeout} s; the last value was {value!r}")
        await asyncio.sleep(PAUSE)
    return value


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
