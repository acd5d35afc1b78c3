"""A deadline that is set and lifted again and again, with one timer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gorgond.redpill.deadline import NEVER, Deadline
from tests.waiting import eventually_async


async def test_it_passes_once_and_not_too_early() -> None:
    # given a deadline in 50 ms
    passed: list[float] = []
    deadline = Deadline(lambda: passed.append(time.monotonic()))
    due = time.monotonic() + 0.05
    deadline.set(due)
    # then it passes when it is over, and is lifted
    await eventually_async(lambda: passed != [])
    assert passed[0] >= due
    assert deadline.at == NEVER


async def test_one_that_was_lifted_or_put_off_does_not_pass() -> None:
    # given one that is set and lifted, and one that is put off
    ended: list[str] = []
    lifted, put_off = Deadline(lambda: ended.append("lifted")), Deadline(lambda: ended.append("put off"))
    now = time.monotonic()
    lifted.set(now + 0.01)
    lifted.lift()
    put_off.set(now + 0.01)
    put_off.set(now + 3600)
    # when the time is over, then neither has passed
    over = Deadline(lambda: ended.append("over"))
    over.set(now + 0.05)
    await eventually_async(lambda: ended != [])
    assert ended == ["over"]
    # and one that is set again passes, although a later timer runs
    put_off.set(time.monotonic() + 0.01)
    await eventually_async(lambda: ended == ["over", "put off"])


async def test_it_may_be_set_again_while_it_passes() -> None:
    # given one that is set anew whenever it passes, until it has passed three times
    passed: list[float] = []

    def again() -> None:
        passed.append(deadline.at)
        if len(passed) < 3:
            deadline.set(deadline.at + 0.01)

    deadline = Deadline(again)
    deadline.set(time.monotonic())
    await eventually_async(lambda: len(passed) == 3)
    assert deadline.at == NEVER


async def test_a_thousand_rounds_take_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a deadline that each round sets 5 s ahead and lifts
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def counted(delay: float, *what: Any) -> asyncio.TimerHandle:
        timers.append(delay)
        return call_later(delay, *what)

    monkeypatch.setattr(loop, "call_later", counted)
    deadline = Deadline(lambda: None)
    for _ in range(1000):
        deadline.set(time.monotonic() + 5)
        deadline.lift()
    # then the event loop had one timer, and an earlier deadline replaces it
    assert len(timers) == 1
    deadline.set(time.monotonic() + 1)
    assert len(timers) == 2
    deadline.end()
