"""Wrong passwords, and how they slow down whoever gives them.

The attempts of somebody who has given WRONG_MAX in a minute take turns from then on: one is looked at in SLOW seconds,
over however many connections they come. A few wait for their turn; the others are not looked at. So guessing is slow.
The right guess is, too: if it were let through, a guesser would know it by that.

The caller says who they are: an address is not enough where the operator and a guesser have the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gorgond.http.answers import Problem

WRONG_MAX = 10  # wrong passwords in a minute
SLOW = 1.0  # seconds from then on for each attempt
WAITING_MAX = 5  # attempts that wait for their turn
KNOWN_MAX = 10_000  # of whom it is known how many wrong ones they gave


class Guesses:
    """Those of everybody; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: dict[tuple[str, int], int] = {}
        self._lines: dict[str, list[asyncio.Future[None]]] = {}  # who waits, each for the one before

    async def turn(self, who: str) -> bool:
        """Wait until the next attempt may be looked at; whether that took a turn. Raises Problem 429 when too many wait
        already."""
        if self._wrong.get(self._now(who), 0) < WRONG_MAX:
            return False
        line = self._lines.setdefault(who, [])
        if len(line) >= WAITING_MAX:
            raise Problem(429, "too many wrong passwords: others wait to be looked at", {"Retry-After": "5"})
        before, done = line[-1] if line else None, asyncio.get_running_loop().create_future()
        line.append(done)
        try:
            if before is not None:
                await asyncio.wait({before})
            await asyncio.sleep(SLOW)
        finally:
            done.set_result(None)
            line.remove(done)
            if not line:
                del self._lines[who]
        return True

    def wrong(self, who: str) -> None:
        """The password was wrong."""
        if len(self._wrong) >= KNOWN_MAX:
            self._wrong.clear()
        now = self._now(who)
        self._wrong[now] = self._wrong.get(now, 0) + 1

    def _now(self, who: str) -> tuple[str, int]:
        return who, int(self._clock() // 60)
