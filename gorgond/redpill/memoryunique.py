"""The only job that waits or runs under a key, in memory: the same steps as in `unique.lua`."""

from __future__ import annotations

from dataclasses import dataclass

from gorgond.redpill.broker import Unique

REMEMBERED = 600_000  # ms for which it is known that a job is over
KEPT = 400 * 86_400_000  # ms for which a key is kept that has what is nowhere else


@dataclass(slots=True)
class Standing:
    """The job that stands under a key; with no `id` there is none. It is gone when the clock reaches `ends`."""

    id: str = ""
    state: str = ""  # new, waiting, running, over
    raw: bytes = b""
    other: bytes = b""  # what it is asked for now
    next: str = ""  # the one that follows it
    next_raw: bytes = b""
    next_other: bytes = b""
    at: int = 0
    length: int = 0
    by: bytes = b""
    ends: int = 1 << 62

    def take(self, step: Unique, now: int) -> tuple[str, bytes]:
        """Take a step at the time `now`: what the broker answers."""
        if step.step == "pushed":
            if self.id == step.id and self.state == "new":
                self.state, self.raw = "waiting", b""
                self.ends = self.ends if self.other else now + self.length
            return self._stands()
        if step.step == "begin":
            return self._begin(step)
        if step.step in ("end", "fail"):
            return self._end(step, now)
        return self._ask(step, now)

    def _stands(self) -> tuple[str, bytes]:
        if not self.id or self.state == "over":
            return "", b""
        return self.id, self.raw if self.state == "new" else b""

    def _place(self, id: str, raw: bytes, other: bytes, length: int, ends: int) -> tuple[str, bytes]:
        self.id, self.state, self.raw, self.other = id, "new", raw, other
        self.next, self.next_raw, self.next_other = "", b"", b""
        self.length, self.ends = length, ends
        return id, raw

    def _begin(self, step: Unique) -> tuple[str, bytes]:
        if self.id != step.id:
            return step.id, b""
        if self.state == "over" or (self.state == "running" and self.by != step.raw and step.at == 0):
            return "", b""
        self.state, self.by = "running", step.raw
        return step.id, self.other

    def _end(self, step: Unique, now: int) -> tuple[str, bytes]:
        if self.id != step.id or self.state == "over":
            return self._stands()
        if self.next:
            self.at = step.at
            return self._place(self.next, self.next_raw, self.next_other, self.length, now + KEPT)
        if step.step == "fail":
            self.id = ""
        else:
            self.state, self.raw, self.ends = "over", b"", now + REMEMBERED
        return "", b""

    def _ask(self, step: Unique, now: int) -> tuple[str, bytes]:
        if step.id == self.id:
            return self.id, self.raw if self.state == "new" else b""
        if step.id == self.next:
            return step.id, b""
        if not self.id or self.state == "over":
            self.at = step.at
            length = int(step.seconds * 1000)
            return self._place(step.id, step.raw, b"", length, now + length)
        runs = self.state == "running"
        if step.step == "keep" or (step.step == "again" and not runs) or step.at < self.at:
            return self._stands()
        self.ends = now + KEPT
        if not runs:
            self.other, self.at = step.raw, step.at
            return self._stands()
        if not self.next:
            self.next, self.next_raw, self.at = step.id, step.raw, step.at
        elif step.step == "replace":
            self.next_other, self.at = step.raw, step.at
        return self.next, b""
