"""How many replicas are waited for until what was promised counts.

When the master dies Sentinels choose one of the replicas that they reach. Where what counts was on one of two alone,
they may choose the other one: if it is only just back, and the one that has more hangs for a moment. So all that keep
step are waited for. One that lets a round wait in vain is not waited for again until it keeps step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Copies:
    """Of one connection: `least` replicas must have what counts. `role` is the master's answer to ROLE when it is made,
    `known` are the replicas that there are, those that are away among them."""

    def __init__(self, least: int, role: Sequence[Any], known: int) -> None:
        self._least, self._known = least, known
        _, self._sent, followers = role  # how much the master had sent at the last look
        self.awaited = max(least, len(followers))

    @property
    def lacking(self) -> bool:
        """Whether there is one that is not waited for: the master is asked before each round how far they are."""
        return self.awaited < self._known

    def hear(self, role: Any) -> None:
        """The master has answered: those keep step that have told to have what it had sent at the look before."""
        if not isinstance(role, list):  # it may not be asked
            return
        _, sent, followers = role
        self.awaited = max(self.awaited, sum(int(offset) >= self._sent >= 0 for *_, offset in followers))
        self._sent = sent

    def suffice(self, have: Any) -> bool:
        """Whether what a round sent counts, which so many replicas have."""
        if not isinstance(have, int) or have < self._least:
            return False
        if have < self.awaited:
            self.awaited, self._sent = have, -1
        return True
