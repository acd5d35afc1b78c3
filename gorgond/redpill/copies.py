"""How many replicas are waited for until what was promised counts.

When the master dies Sentinels choose one of the replicas that they reach. Where what counts was on one of two alone,
they may choose the other one: if it is only just back, and the one that has more hangs for a moment. So all that keep
step are waited for. One that lets a round wait in vain is not waited for again until it has all that was sent.
"""

from __future__ import annotations

import time

from gorgond.redpill.resp import Command
from gorgond.redpill.sentineladdress import COPIES_MAX

LOOK = 1.0  # seconds after which a round looks whether more replicas keep step
_HAVE_ALL: Command = ["WAIT", COPIES_MAX, 1]  # how many have what this connection sent before; it waits for 1 ms


class Copies:
    """Of one connection: `least` replicas must have what counts, of `followers` that there were when it was made."""

    def __init__(self, least: int, followers: int) -> None:
        self._least = least
        self.awaited = max(least, followers)
        self._looked = time.monotonic()

    def look(self) -> list[Command]:
        """What a round begins with: now and then a question how many keep step."""
        now = time.monotonic()
        if now < self._looked + LOOK:
            return []
        self._looked = now
        return [_HAVE_ALL]

    def suffice(self, have: object, *keep_step: object) -> bool:
        """Whether what a round sent counts, which so many replicas have; `keep_step` is the answer to its look."""
        if not isinstance(have, int) or have < self._least:
            return False
        known = [each for each in keep_step if isinstance(each, int)]
        self.awaited = have if have < self.awaited else max(self.awaited, *known, have)
        return True
