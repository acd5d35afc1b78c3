"""The figures of the queues over all brokers: rows for the picture, and the ledger that they add up to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, NamedTuple

from gorgond.redpill import Counts, keys
from gorgond.service.words import counted

QUEUES_MAX = 200
MINUTE = 60  # looks, one a second, over which growth is told


def together(parts: Sequence[Counts]) -> Counts:
    """One queue's figures on several brokers as one; the oldest message is the oldest of all."""
    sums: dict[str, Any] = {each.name: sum(getattr(part, each.name) for part in parts) for each in fields(Counts)}
    sums["oldest"] = max((part.oldest for part in parts), default=0.0)
    sums["paused"] = any(part.paused for part in parts)
    return Counts(**sums)


class Growth(NamedTuple):
    """By how much a queue's figures have grown."""

    accepted: int
    done: int
    expired: int


class Queues:
    """All queues that are known of, and how their figures move."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.figures: dict[str, Counts] = {}
        self.growth: dict[str, Growth] = {}  # since the last look
        self.lately: deque[dict[str, Any]] = deque(maxlen=MINUTE)  # what lay in all of them, second by second
        self._at = 0.0
        self._rates: dict[str, tuple[float, float]] = {}
        self._dead: dict[str, deque[int]] = {}

    def know(self, names: Iterable[str]) -> None:
        """These are queues too."""
        for name in names:
            if name not in self.names and len(self.names) < QUEUES_MAX:
                with suppress(ValueError):  # whatever a role of others says
                    keys.queue(name)
                    self.names[name] = None

    def look(self, figures: Mapping[str, Counts], at: float) -> None:
        """Take in what all brokers say at `at`, seconds by any clock."""
        seconds = max(at - self._at, 0.001)
        self.growth = {}
        for name, now in figures.items():
            then = self.figures.get(name)
            dead = self._dead.setdefault(name, deque(maxlen=MINUTE))
            dead.append(_deaths(now))
            if then is None:
                continue
            grown = self.growth[name] = Growth(*(_growth(then, now, key) for key in Growth._fields))
            self._rates[name] = grown.accepted / seconds, grown.done / seconds
        self.figures, self._at = dict(figures), at

    def note(self, clock: int) -> None:
        """Remember what lies in all of them now, `clock` seconds since 1970."""
        sums = {key: sum(getattr(each, key) for each in self.figures.values()) for key in ("queued", "dead")}
        self.lately.append({"at": clock * 1000, **sums})

    def rows(self) -> list[dict[str, Any]]:
        """The queues that were ever used, by name."""
        return [self._row(name, counts) for name, counts in sorted(self.figures.items()) if counts.accepted]

    def _row(self, name: str, counts: Counts) -> dict[str, Any]:
        came, went = self._rates.get(name, (0.0, 0.0))
        dead = self._dead[name]
        return {
            "name": name,
            "queued": counts.queued,
            "in_flight": counts.in_flight,
            "delayed": counts.delayed,
            "dead": counts.dead,
            "died": min(max(dead[-1] - dead[0], 0), counts.dead),  # none that was put back or deleted since
            "oldest": round(counts.oldest, 3),
            "accepted": counts.accepted,
            "done": counts.done,
            "in": round(came, 1),
            "out": round(went, 1),
            "retried": counts.retried,
            "recovered": counts.recovered,
            "requeued": counts.requeued,
            "expired": counts.expired,
            "dropped": counts.dropped,
            "overflow": counts.overflow,
            "difference": counts.difference(),
            "paused": counts.paused,
        }


def _growth(then: Counts, now: Counts, key: str) -> int:
    """By how much a figure has grown; all of it when the broker has begun anew."""
    before: int = getattr(then, key)
    after: int = getattr(now, key)
    return after - before if after >= before else after


def _deaths(counts: Counts) -> int:
    """How many messages were ever given up."""
    return counts.dead + counts.dropped + counts.requeued


def ledger(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Where all messages are that were ever accepted:

    accepted = stored + queued + in_flight + delayed + dead + expired + dropped + overflow + difference
    """
    sums = dict.fromkeys((*_PLACES, "accepted", "difference"), 0)
    for row in rows:
        sums["accepted"] += row["accepted"]
        sums["difference"] += row["difference"]
        for place, figure in _PLACES.items():
            sums[place] += row[figure]
    off = sums["difference"]
    text = "Every message is accounted for"
    if off > 0:
        text = f"The broker has lost {counted(off, 'accepted message')}"
    elif off < 0:
        text = f"The broker was set back: it has {counted(-off, 'message')} more than it had accepted"
    return {**sums, "text": text}


_PLACES = {
    "stored": "done",
    "queued": "queued",
    "in_flight": "in_flight",
    "delayed": "delayed",
    "dead": "dead",
    "expired": "expired",
    "dropped": "dropped",
    "overflow": "overflow",
}
