"""Limits that all processes share, as the broker is asked about them: how often something may happen, and which
messages of a queue may be begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """How often something may happen: `most` times at once, and one more every `seconds`. Everything of one `name` is
    counted together."""

    name: str
    most: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Of the messages of a queue that name it, at most so many are under way at the same time."""

    name: str
    most: int


@dataclass(frozen=True, slots=True)
class Within:
    """Of the messages of a queue that name it, at most so many are begun within any `seconds`."""

    name: str
    most: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that is to be begun, by its id, having been started so often before, and by what it is bound. It has
    its slots for `seconds` at most, in which it must be over; so long, at least, one waits that nobody calls."""

    id: str
    attempts: int
    seconds: float
    at_once: Sequence[AtOnce] = ()
    within: Sequence[Within] = ()

    @property
    def start(self) -> str:
        """The name of this start of it."""
        return f"{self.id} {self.attempts}"
