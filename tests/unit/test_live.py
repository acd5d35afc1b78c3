"""Pages that are open: what they are told while a provider brings more than anybody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import count, pairwise
from typing import Any

import pytest

from gorgond.http.answers import Streamed
from gorgond.http.website import live
from gorgond.http.website.live import MOST, Cards, Live
from gorgond.redpill import Message
from tests.waiting import eventually_async


class Page:
    """A browser's connection."""

    unsent = 0

    def __init__(self) -> None:
        self.told = b""

    def closed(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.told += data

    def close(self) -> None: ...


class Notes:
    """Renders notes, and notes when."""

    def __init__(self) -> None:
        self.rounds: list[tuple[float, int]] = []

    async def cards(self, ids: Sequence[str]) -> Cards:
        self.rounds.append((asyncio.get_running_loop().time(), len(ids)))
        return dict.fromkeys(ids, (5, "<article>"))

    async def since(self, userid: int | None, ts: int, most: int) -> Cards:
        return {}


class Ear:
    """A listener that hears what it is made to."""

    def stop(self) -> None: ...


async def test_a_flood_is_told_in_parts_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.01)
    monkeypatch.setattr(live, "BUSY", 0.2)
    heard: list[Callable[[str, Message], None]] = []

    def hear(_: str, event: Callable[[str, Message], None], connected: Callable[[], None]) -> Any:
        heard.append(event)
        connected()
        return Ear()

    def spawn(loop: Callable[[Callable[[], None]], Coroutine[Any, Any, None]], _: str) -> asyncio.Task[None]:
        return asyncio.create_task(loop(lambda: None))

    notes, page, numbers = Notes(), Page(), count()
    pages = Live(hear, spawn, notes)
    answer = pages.watch(None, 0, "")
    assert isinstance(answer, Streamed)
    answer.begin(page)

    # when: more is added all the time than is told at a time
    def three_rounds() -> bool:
        for n in (next(numbers) for _ in range(5 * MOST)):
            for event in heard:
                event("store_notify", Message("items.added", {"id": f"n{n}", "document": {"userid": 5}}, f"e{n}"))
        return len(notes.rounds) >= 3

    await eventually_async(three_rounds)
    # then: each time the newest are told, and after that nothing for a while
    times, many = zip(*notes.rounds, strict=True)
    assert set(many) == {MOST}
    assert all(later - before >= 0.2 for before, later in pairwise(times))
    # and when there is no more, what comes is told at once
    before = len(notes.rounds)
    heard[0]("store_notify", Message("items.added", {"id": "last", "document": {"userid": 5}}, "last"))
    await eventually_async(lambda: b'"last"' in page.told)
    assert len(notes.rounds) > before
    pages.close()
