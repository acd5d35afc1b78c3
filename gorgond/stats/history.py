"""The work of each second of the last hour, minute of the last day, hour of the last month, day of the last year.

A *series* is what is told apart: all of a role ("web"), one of its operations ("web GET /info/{uid}"), a queue
("queue store_get"). Its figures of a period are an `Operation`, so percentiles of longer periods come from the summed
histograms, never from other percentiles.

A second is open for LATE seconds, since instances tell of it a little later; then it is packed. A minute is closed
with its last second, from its 60 seconds, and so on up. Every stats server saves the periods that are closed as
*documents*. All of them give a period the same id. The ids of a tier come round again when all that it keeps have been
used, so a newer document replaces the one of the round before. Of two documents of the same period, that of the server
that has listened longer stays. So several stats servers agree, and nothing has to be deleted.

All times are whole seconds since 1970, given by the caller.
"""

from __future__ import annotations

import base64
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gorgond.redpill import dumps, loads
from gorgond.service.metrics import OTHER, Operation
from gorgond.stats.packed import add, pack

LATE = 5  # seconds for which a second is open
SERIES_MAX = 64  # series that are told apart; what comes later is OTHER
JUMP = 3600  # seconds: when the clock is set forward by more, what lies between is left out
BACK = 60  # seconds: when it is set back by more, what was noted of the time that comes again is dropped

log = logging.getLogger("gorgond.stats")


@dataclass(slots=True)
class Period:
    """The packed figures of each series in one period, of which `covered` seconds were listened to."""

    covered: int
    series: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Tier:
    """The last `kept` periods of `step` seconds each, by when they began; saved by `chunk` seconds at a time."""

    name: str
    step: int
    kept: int
    chunk: int
    periods: dict[int, Period] = field(default_factory=dict)

    def forget(self, now: int) -> None:
        """Drop what is too old."""
        oldest = now - self.kept * self.step
        for at in [at for at in self.periods if at < oldest]:
            del self.periods[at]


def tiers() -> list[Tier]:
    """Seconds of an hour, minutes of a day, hours of a month, days of a year."""
    return [
        Tier("second", 1, 3600, 60),
        Tier("minute", 60, 1440, 60),
        Tier("hour", 3600, 744, 3600),
        Tier("day", 86400, 366, 86400),
    ]


class History:
    """Everything that is remembered, from `now` on."""

    def __init__(self, now: int) -> None:
        self.tiers = tiers()
        self.closed = now  # all before it is closed
        self.totals: dict[str, Operation] = {}  # of each series since `now`
        self._names: set[str] = set()
        self._fresh: dict[int, dict[str, Operation]] = {}
        self._unsaved: dict[tuple[int, int], None] = {}  # (tier, begin of the chunk)

    @property
    def series(self) -> list[str]:
        """The names of all series."""
        return sorted(self._names)

    def add(self, series: str, at: int, operation: Operation) -> None:
        """Count what was done in the second `at`, or in the first that is still open."""
        if series not in self._names:
            if len(self._names) >= SERIES_MAX:
                series = OTHER
            self._names.add(series)
        second = self._fresh.setdefault(max(at, self.closed), {})
        known = second.get(series)
        if known is None:
            known = second[series] = Operation()
        known.merge(operation)
        self.totals.setdefault(series, Operation()).merge(operation)

    def advance(self, now: int) -> None:
        """Close what is over at `now`."""
        if now > self.closed + JUMP or now < self.closed - BACK:  # a clock was set, or the machine was asleep
            for at in sorted(self._fresh):
                self._close_second(at)
            self.closed = now
            for tier in self.tiers:
                tier.periods = {at: period for at, period in tier.periods.items() if at < now}
            self._close_what_was_left_open()
        while self.closed < now - LATE:
            self._close_second(self.closed)

    def finish(self) -> None:
        """Close every second that has begun: the end of this process."""
        for at in range(self.closed, max(self._fresh, default=self.closed - 1) + 1):
            self._close_second(at)
        self._unsaved[0, self.closed // 60 * 60] = None

    def _close_second(self, at: int) -> None:
        fresh = self._fresh.pop(at, {})
        self.closed = at + 1
        self._keep(0, at, Period(1, {name: pack(operation) for name, operation in fresh.items()}))
        for index in range(1, len(self.tiers)):
            step = self.tiers[index].step
            if self.closed % step:
                break
            self._keep(index, self.closed - step, self._gather(index, self.closed - step))

    def _keep(self, index: int, at: int, period: Period) -> None:
        tier = self.tiers[index]
        known = tier.periods.get(at)
        if known is not None and known.covered >= period.covered:
            return  # another stats server has listened longer
        tier.periods[at] = period
        self._names.update(period.series)
        if (at + tier.step) % tier.chunk == 0:
            tier.forget(self.closed)
            self._unsaved[index, at + tier.step - tier.chunk] = None

    def _gather(self, index: int, at: int) -> Period:
        """The period of a tier that began at `at`, from those of the finer tier."""
        finer, step = self.tiers[index - 1], self.tiers[index].step
        covered, sums = 0, dict[str, Operation]()
        for begin in range(at, at + step, finer.step):
            period = finer.periods.get(begin)
            if period is not None:
                covered += period.covered
                for name, packed in period.series.items():
                    add(sums.setdefault(name, Operation()), packed)
        return Period(covered, {name: pack(operation) for name, operation in sums.items()})

    # ---- what is asked

    def newest(self, index: int, now: int) -> int:
        """When the newest period of a tier began: the second before `now`, or the period that is open."""
        step = self.tiers[index].step
        return now - 1 if step == 1 else self.closed // step * step

    def rows(self, series: str, index: int, count: int, now: int) -> Iterator[tuple[int, int, Operation]]:
        """The last `count` periods of a tier, the oldest first: when each began, how many of its seconds were listened
        to, and what was done. The last one is the newest."""
        tier, newest = self.tiers[index], self.newest(index, now)
        for at in range(newest - (count - 1) * tier.step, newest + 1, tier.step):
            operation = Operation()
            period = tier.periods.get(at)
            if period is not None:
                if series in period.series:
                    add(operation, period.series[series])
                yield at, period.covered, operation
            elif index == 0:
                fresh = self._fresh.get(at, {})
                if series in fresh:
                    operation.merge(fresh[series])
                yield at, int(at >= self.closed), operation
            elif at == newest:
                yield at, self._open(series, index, at, operation), operation
            else:
                yield at, 0, operation

    def _open(self, series: str, index: int, since: int, operation: Operation) -> int:
        """Add to `operation` what was done since `since`, when the open period of the tier began; its seconds."""
        finer = self.tiers[index - 1]
        covered = 0
        begin = self.closed // finer.step * finer.step
        for at in range(since, begin, finer.step):
            period = finer.periods.get(at)
            if period is not None:
                covered += period.covered
                if series in period.series:
                    add(operation, period.series[series])
        if index > 1:
            return covered + self._open(series, index - 1, begin, operation)
        for fresh in self._fresh.values():
            if series in fresh:
                operation.merge(fresh[series])
        return covered + len(self._fresh)

    # ---- what is saved

    def unsaved(self) -> list[dict[str, Any]]:
        """The documents of what was closed since the last call."""
        chunks, self._unsaved = list(self._unsaved), {}
        return [self._document(index, begin) for index, begin in chunks]

    def _document(self, index: int, begin: int) -> dict[str, Any]:
        tier = self.tiers[index]
        periods = [
            (at, tier.periods[at]) for at in range(begin, begin + tier.chunk, tier.step) if at in tier.periods
        ]  # fmt: skip
        data = [
            [at, period.covered, {name: base64.b64encode(raw).decode() for name, raw in period.series.items()}]
            for at, period in periods
        ]
        return {
            "id": f"{tier.name}-{begin // tier.chunk % (tier.kept * tier.step // tier.chunk)}",
            "ts": (begin + sum(period.covered for _, period in periods)) * 1000,
            "tier": tier.name,
            "data": base64.b64encode(zlib.compress(dumps(data), 1)).decode(),
        }

    def ids(self) -> list[str]:
        """The ids of all documents there may be, those of what is most wanted first."""
        return [
            f"{tier.name}-{number}"
            for tier in reversed(self.tiers)
            for number in range(tier.kept * tier.step // tier.chunk)
        ]

    def restore(self, documents: Iterable[Mapping[str, Any]], now: int) -> None:
        """Take in what was saved, by us or another stats server, unless we know better."""
        by_name = {tier.name: tier for tier in self.tiers}
        for document in documents:
            try:
                tier = by_name[document["tier"]]
                oldest = now - tier.kept * tier.step
                for at, covered, series in _data(document):
                    if tier is self.tiers[0] and at >= self.closed:
                        self._restore_open(at, series)
                    elif oldest <= at < self.closed and covered > tier.periods.get(at, _NONE).covered:
                        tier.periods[at] = Period(covered, series)
                        self._names.update(list(series)[: SERIES_MAX - len(self._names)])
            except (KeyError, ValueError, TypeError, zlib.error, struct.error) as error:
                log.warning("what was saved as %s of stats is not understood: %r", document.get("id"), error)
        self._close_what_was_left_open()

    def _restore_open(self, at: int, series: Mapping[str, bytes]) -> None:
        """Take in a second that is still open: the last one of a predecessor, if it ended within our first. Where both
        have counted a series, the one that has more of it has heard more."""
        second = self._fresh.setdefault(at, {})
        for name, packed in series.items():
            operation = Operation()
            add(operation, packed)
            if name not in second or operation.count > second[name].count:
                second[name] = operation
                self._names.add(name)

    def _close_what_was_left_open(self) -> None:
        """Make the periods that ended while no stats server was there to close them."""
        for index in range(1, len(self.tiers)):
            step = self.tiers[index].step
            for at in {at // step * step for at in self.tiers[index - 1].periods}:
                if at + step <= self.closed:
                    self._keep(index, at, self._gather(index, at))


_NONE = Period(0)


def _data(document: Mapping[str, Any]) -> Iterator[tuple[int, int, dict[str, bytes]]]:
    for at, covered, series in loads(zlib.decompress(base64.b64decode(document["data"]))):
        found = {str(name): base64.b64decode(raw) for name, raw in series.items()}
        for raw in found.values():
            add(Operation(), raw)  # is it one?
        yield int(at), int(covered), found
