"""The channels of notifications: what each has sent since this stats server began, and what keeps it from sending.

A channel *fails* from the first notification that could not be sent after the last that was. One that has failed for
STALLED seconds while more and more wait is said to be stalled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gorgond.redpill import Counts
from gorgond.service.channels import OPERATION, OUTCOMES, QUEUE, channel_of, outcome_of
from gorgond.service.metrics import Operation
from gorgond.stats.history import History
from gorgond.stats.instances import Done

ROLE = "notify"
CHANNELS_MAX = 50
STALLED = 300.0  # seconds
REASON_MAX = 300  # characters


@dataclass(slots=True)
class _Channel:
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    reason: str = ""
    sent: float | None = None  # when it was heard to have sent one; these are of the monotonic clock
    failing: float | None = None  # since when
    waiting: int = 0  # how many wait now
    waited: int = 0  # and when it began to fail


class Channels:
    """All that were heard of."""

    def __init__(self) -> None:
        self._all: dict[str, _Channel] = {}

    def hear(self, done: Done, now: float) -> Iterator[tuple[str, Operation]]:
        """Take in what a notification server did: by their names the channels that sent something or gave it up, and
        how much of it for the history: the errors are those that were given up."""
        last = done.instance.last
        for queue in last["queues"]:
            self._known(channel_of(queue))
        counted: dict[str, dict[str, int]] = {}
        for counter, number in done.counted.items():
            if found := outcome_of(counter):
                counted.setdefault(found[0], {})[found[1]] = number
        reasons = last.get("reasons")
        for name, reason in reasons.items() if isinstance(reasons, dict) else ():
            if reason and (channel := self._known(name)):
                channel.reason = str(reason)[:REASON_MAX]
        for name, outcomes in counted.items():
            channel = self._known(name)
            if channel is None:
                continue
            self._count(channel, outcomes, now)
            operation = done.operations.get(OPERATION + name, Operation())
            operation.errors = outcomes.get("dead", 0)
            if operation.count or operation.errors:
                yield name, operation

    def _known(self, name: str) -> _Channel | None:
        if name and name not in self._all and len(self._all) < CHANNELS_MAX:
            self._all[name] = _Channel()
        return self._all.get(name)

    @staticmethod
    def _count(channel: _Channel, outcomes: Mapping[str, int], now: float) -> None:
        for outcome, number in outcomes.items():
            channel.counts[outcome] += number
        if outcomes.get("sent"):
            channel.sent, channel.failing = now, None
        elif outcomes.get("later") and channel.failing is None:
            channel.failing, channel.waited = now, channel.waiting

    def look(self, figures: Mapping[str, Counts]) -> None:
        """Take in how many wait in each queue."""
        for name, channel in self._all.items():
            if counts := figures.get(f"{QUEUE}:{name}"):
                channel.waiting = counts.queued + counts.in_flight + counts.delayed

    def rows(self, figures: Mapping[str, Counts], history: History, now: float, at: int) -> list[dict[str, Any]]:
        """One of each channel, by name. The outcomes are those since we began; the times from a notification's being
        accepted to its being sent are those of the last hour, in µs. `idle`: seconds since it sent one, None for one
        that was not heard to; `stalled`: seconds for which it has failed while more and more wait, else 0."""
        return [self._row(name, channel, figures, history, now, at) for name, channel in sorted(self._all.items())]

    @staticmethod
    def _row(
        name: str, channel: _Channel, figures: Mapping[str, Counts], history: History, now: float, at: int
    ) -> dict[str, Any]:
        counts = figures.get(f"{QUEUE}:{name}", Counts())
        took = Operation()
        for _, _, operation in history.rows(OPERATION + name, 1, 60, at):
            took.merge(operation)
        failing = 0.0 if channel.failing is None else now - channel.failing
        stalled = failing if failing >= STALLED and channel.waiting > channel.waited else 0.0
        return {
            "name": name,
            **channel.counts,
            "waiting": counts.queued,
            "in_flight": counts.in_flight,
            "delayed": counts.delayed,
            "p50": took.latency.percentile(50),
            "p99": took.latency.percentile(99),
            "idle": None if channel.sent is None else round(now - channel.sent, 1),
            "stalled": round(stalled, 1),
            "reason": channel.reason,
        }
