"""Pages that are open: what they are told while a provider brings more than anybody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import count, pairwise
from typing import Any

import pytest

from gorgond.http.answers import Streamed
from gorgond.http.website import live
from gorgond.http.website.live import MOST, Cards, Live, tag
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
        self.private: set[str] = set()

    async def cards(self, ids: Sequence[str]) -> Cards:
        self.rounds.append((asyncio.get_running_loop().time(), len(ids)))
        return {id: (5, "<article>") for id in ids if id not in self.private}

    async def since(self, userid: int | None, ts: int, most: int) -> Cards:
        return {}


class Ear:
    """A listener that hears what it is made to."""

    def stop(self) -> None: ...


class Fabric:
    """What a Live is given: it hears what `says` is called with."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.pages = Live(self._hear, self._spawn, self.notes)
        self._heard: list[Callable[[str, Message], None]] = []

    def says(self, id: str, change: str, **args: Any) -> None:
        """Nothing, as long as nobody listens."""
        for event in self._heard:
            event("store_notify", Message(f"items.{change}", {"id": id, **args}, f"{id} {change}"))

    def open(self, shown: str = "") -> Page:
        """A page that shows the notes of these tags."""
        answer, page = self.pages.watch(None, 0, "", shown), Page()
        assert isinstance(answer, Streamed)
        answer.begin(page)
        return page

    def _hear(self, _: str, event: Callable[[str, Message], None], connected: Callable[[], None]) -> Any:
        self._heard.append(event)
        connected()
        return Ear()

    def _spawn(self, loop: Callable[[Callable[[], None]], Coroutine[Any, Any, None]], _: str) -> asyncio.Task[None]:
        return asyncio.create_task(loop(lambda: None))


async def test_a_flood_is_told_in_parts_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.01)
    monkeypatch.setattr(live, "BUSY", 0.2)
    fabric, numbers = Fabric(), count()
    page, notes = fabric.open(), fabric.notes

    # when: more is added all the time than is told at a time
    def three_rounds() -> bool:
        for n in (next(numbers) for _ in range(5 * MOST)):
            fabric.says(f"n{n}", "added", document={"userid": 5})
        return len(notes.rounds) >= 3

    await eventually_async(three_rounds)
    # then: each time the newest are told, and after that nothing for a while
    times, many = zip(*notes.rounds, strict=True)
    assert set(many) == {MOST}
    assert all(later - before >= 0.2 for before, later in pairwise(times))
    # and when there is no more, what comes is told at once
    before = len(notes.rounds)
    fabric.says("last", "added", document={"userid": 5})
    await eventually_async(lambda: b'"last"' in page.told)
    assert len(notes.rounds) > before
    fabric.pages.close()


async def test_a_note_that_changes_again_and_again_takes_no_other_ones_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.01)
    monkeypatch.setattr(live, "SHOWN", 2)
    fabric = Fabric()
    # given a page that shows a note, and another one that changes more often than it may show notes
    page = fabric.open(tag("quiet"))

    def changed_often() -> bool:
        fabric.says("busy", "edited", changes={"title": "x"})
        return page.told.count(b"event: note") > 2

    await eventually_async(changed_often)
    # when the first one becomes private, then it goes from the page
    fabric.notes.private.add("quiet")
    fabric.says("quiet", "edited", changes={"private": True})
    await eventually_async(lambda: b'gone\ndata: {"id":"quiet"}' in page.told)
    fabric.pages.close()
