"""Which replicas are waited for until what was promised counts.

When the master dies Sentinels choose one of the replicas that they reach. Where what counts was on one of two alone,
they may choose the other one: if it is only just back, and the one that has more hangs for a moment. So all that keep
step are waited for. One that lets a round wait in vain is not waited for again until it has what the master had then.

The master says who follows it when it has done what a round sent, not before: who is back meanwhile was not waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Copies:
    """Of one connection: `least` replicas must have what counts. `role` is the master's answer to ROLE when it is
    made."""

    def __init__(self, least: int, role: Sequence[Any]) -> None:
        self._least = least
        _, self._sent, followers = role  # how much the master had sent at the last look
        # How much each must tell to have until it is waited for: 0 when it keeps step.
        self._goals: dict[tuple[bytes, bytes], int] = {(host, port): 0 for host, port, _ in followers}

    @property
    def awaited(self) -> int:
        """How many replicas are waited for."""
        return max(self._least, len(self._in_step()))

    def suffice(self, have: int, role: Sequence[Any]) -> bool:
        """Whether what a round sent counts, which so many replicas have: as many as were waited for, or all that have
        it after so long. `role` is what the master said then. Where more keep step by now they are waited for, too."""
        waited = self.awaited
        _, sent, followers = role
        told = {(host, port): int(offset) for host, port, offset in followers}
        goals = {each: self._goals.get(each, self._sent) for each in told}
        self._goals = {each: goal if told[each] < goal else 0 for each, goal in goals.items()}
        self._sent = sent
        if have < waited:
            for each in sorted(self._in_step(), key=told.__getitem__, reverse=True)[have:]:
                self._goals[each] = sent
            return True
        return have >= self.awaited

    def _in_step(self) -> list[tuple[bytes, bytes]]:
        return [each for each, goal in self._goals.items() if not goal]
