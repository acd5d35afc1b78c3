"""A blocked event loop is told in the log, with who blocks it and where."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.service import stall
from gorgond.service.stall import StallWatch
from tests.waiting import LONG, eventually_async


async def test_who_blocks_the_loop_is_named_with_its_stack(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("blocks the event loop")
    monkeypatch.setattr(stall, "PATIENCE", 0.1)
    monkeypatch.setattr(stall, "LOOK", 0.02)
    watch = StallWatch()
    watch.start()

    def said() -> list[str]:
        # threads that watch the loops of tests before this one may have something to say too
        return [text for record in caplog.records if (text := record.getMessage()).startswith("shop.buy blocks")]

    # given a handler that blocks
    async def blocking_handler() -> None:
        end = time.monotonic() + LONG
        while not said() and time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251

    with caplog.at_level(logging.ERROR, "gorgond.service"):
        await asyncio.create_task(blocking_handler(), name="shop.buy")
        watch.stop()
    # then the log says so while it does
    [text] = said()
    assert "time.sleep(0.01)" in text


async def test_a_loop_that_turns_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "LOOK", 0.01)
    watch = StallWatch()
    watch.start()
    await asyncio.sleep(0.1)
    watch.stop()


async def test_who_watches_does_not_run_as_long_as_the_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a loop that turns
    monkeypatch.setattr(stall, "PATIENCE", 600.0)
    monkeypatch.setattr(stall, "LOOK", 0.01)
    watch = StallWatch()
    before = set(threading.enumerate())
    watch.start()
    [thread] = set(threading.enumerate()) - before

    async def sleeps() -> bool:
        switches = _switches(thread)
        await asyncio.sleep(20 * stall.LOOK)
        return switches == _switches(thread)

    # when it renews its mark again and again, then the thread sleeps: each time it woke the loop would wait for it
    await eventually_async(sleeps)
    watch.stop()
    await eventually_async(lambda: not thread.is_alive())


def _switches(thread: threading.Thread) -> list[str]:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return re.findall(r"voluntary_ctxt_switches:\s+\d+", status)
