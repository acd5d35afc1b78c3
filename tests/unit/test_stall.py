"""A blocked event loop is told in the log, with who blocks it and where."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from gorgond.service import stall
from gorgond.service.stall import StallWatch


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
        end = time.monotonic() + 10
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
