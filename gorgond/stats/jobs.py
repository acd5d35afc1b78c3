"""Jobs by name: what waits, runs, is scheduled and failed, how long they waited and took, and by which clock they come.

The times are those of the last hour, as far as this stats server has listened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.app.jobs import QUEUE, WAIT
from gorgond.redpill import Counts
from gorgond.service.metrics import Operation
from gorgond.stats.instances import Done

JOBS_MAX = 200
NOTHING = Counts()
NO_CLOCK: Mapping[str, Any] = {}
MINUTES = 60

FIGURES = {"waiting": "queued", "running": "in_flight", "scheduled": "delayed", "failed": "dead", "done": "done"}
"""What is told of a job, by what the broker calls it."""


class Recent:
    """What was done in the last hour, minute by minute."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Operation]] = deque(maxlen=MINUTES)

    def add(self, minute: int, operation: Operation) -> None:
        """Count what was done in this minute."""
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Operation()))
        self._minutes[-1][1].merge(operation)

    def sum(self, minute: int) -> Operation:
        """All of the hour that ends with this minute."""
        found = Operation()
        for at, operation in self._minutes:
            if minute - MINUTES < at <= minute:
                found.merge(operation)
        return found


class Jobs:
    """All that were heard of. `crons` are the documents of those with a clock, as a store has them."""

    def __init__(self) -> None:
        self.crons: Sequence[Mapping[str, Any]] = ()
        self._recent: dict[tuple[str, str], Recent] = {}  # by job, and whether it waited or worked

    def hear(self, done: Done, minute: int) -> None:
        """Take in what an app server did."""
        for name, operation in done.operations.items():
            queue, _, what = name.partition(" ")
            job = job_of(queue)
            kind = "wait" if what == WAIT else "work" if what == job else ""
            if kind and ((job, kind) in self._recent or len(self._recent) < 2 * JOBS_MAX):
                self._recent.setdefault((job, kind), Recent()).add(minute, operation)

    def rows(self, figures: Mapping[str, Counts], minute: int) -> list[dict[str, Any]]:
        """One of each job that has a queue or a clock, by name; times in µs, 0 where there are none, those of the clock
        in ms since 1970. `oldest`: seconds that the one at the head has waited."""
        crons = {str(each.get("id")): each for each in self.crons}
        names = {job_of(queue) for queue in figures} - {""} | crons.keys()
        return [
            self.row(name, figures.get(f"{QUEUE}:{name}", Counts()), crons.get(name, {}), minute)
            for name in sorted(names)
        ]

    def row(
        self, name: str, counts: Counts = NOTHING, cron: Mapping[str, Any] = NO_CLOCK, minute: int = 0
    ) -> dict[str, Any]:
        """That of one job; of its clock as its document says."""
        row: dict[str, Any] = {"name": name, **{told: getattr(counts, of) for told, of in FIGURES.items()}}
        row |= {"oldest": round(counts.oldest, 3), "paused": counts.paused}
        for kind in ("wait", "work"):
            recent = self._recent.get((name, kind))
            latency = recent.sum(minute).latency if recent is not None else Operation().latency
            row |= {f"{kind}_p50": latency.percentile(50), f"{kind}_p99": latency.percentile(99)}
        return row | {key: cron.get(key) for key in ("cron", "tz", "last", "next")}


def is_wait(operation: str) -> bool:
    """Whether an operation of this name is how long jobs waited, which is no work."""
    queue, _, what = operation.partition(" ")
    return what == WAIT and bool(job_of(queue))


def job_of(queue: str) -> str:
    """The job whose queue this is; empty for another one."""
    beginning, _, job = queue.partition(":")
    return job if beginning == QUEUE else ""
