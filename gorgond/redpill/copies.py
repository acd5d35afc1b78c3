"""How many replicas are waited for until what was promised counts.

When the master dies Sentinels choose one of the replicas that they reach. Where what counts was on one of two alone,
they may choose the other one: if it is only just back, and the one that has more hangs for a moment. So all that keep
step are waited for. One that lets a round wait in vain is not waited for again until it keeps step.
"""

from __future__ import annotations

from typing import Any

from gorgond.redpill.resp import Command

_LOOK: Command = ["ROLE"]


class Copies:
    """Of one connection: `least` replicas must have what counts. `followers` follow the master when it is made, of so
    many `known`."""

    def __init__(self, least: int, followers: int, known: int) -> None:
        self._least, self._known = least, known
        self.awaited = max(least, followers)
        self._sent = -1  # how much the master had sent at the last look

    def look(self) -> list[Command]:
        """What a round begins with: while one is not waited for, a look how far each of them is."""
        return [_LOOK] if self.awaited < self._known else []

    def suffice(self, have: Any, *looks: Any) -> bool:
        """Whether what a round sent counts, which so many replicas have; `looks` are the answers to its look."""
        if not isinstance(have, int) or have < self._least:
            return False
        if have < self.awaited:
            self.awaited, self._sent = have, -1
        for look in looks:
            if not isinstance(look, list):  # it is not let look
                continue
            _, sent, replicas = look
            if self._sent >= 0:
                self.awaited = max(self.awaited, sum(int(offset) >= self._sent for *_, offset in replicas))
            self._sent = sent
        return True
