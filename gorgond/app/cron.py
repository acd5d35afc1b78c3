"""Times by the clock of a place, as of cron(5): "30 7 * * mon-fri" in Europe/Vienna.

Where clocks are put forward a time of day that is left out comes an hour later, as does all else in that night; where
they are put back one that is there twice comes the first time alone. A time that comes every so many minutes or hours,
whose minute or hour begins with *, comes whenever the clock shows it: not in the hour that is left out, and in both of
the same name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo

from gorgond.errors import ConfigError

if TYPE_CHECKING:
    from gorgond.app.jobs import Job

Missed = Literal["once", "skip", "all"]

_PLAIN = re.compile(r"[0-9a-zA-Z*,/-]+( +[0-9a-zA-Z*,/-]+){4}")
AT_ONCE = 1000  # times that are made up for at once
_YEARS = 9  # from one 29th of February to the next there may be eight
_MINUTE = timedelta(minutes=1)
_BEGINNING = datetime.fromisoformat("2000-01-01")


class Clock:
    """The times of a cron expression, by the clock of a time zone. Raises ConfigError for what is none."""

    def __init__(self, expression: str, tz: str) -> None:
        from croniter import croniter  # type: ignore[import-untyped]  # where nothing is declared by it, it need not be there

        try:
            if not _PLAIN.fullmatch(expression):
                raise ValueError
            fields = croniter.expand(expression)[0]
            if any(isinstance(each, str) and each != "*" for field in fields for each in field):
                raise ValueError
        except (ValueError, KeyError):
            raise ConfigError(
                f"{expression!r} is no time; one is minute, hour, day of the month, month, day of the week: "
                "30 7 * * mon-fri"
            ) from None
        try:
            self._zone = ZoneInfo(tz)
        except (ValueError, OSError, KeyError):
            raise ConfigError(f"there is no time zone {tz!r}; one is called as Europe/Vienna") from None
        self.expression, self.tz = expression, tz
        whole = (range(60), range(24), range(1, 32), range(1, 13), range(7))
        self._any = [field == ["*"] for field in fields]
        sets = [sorted(all if any else field) for field, any, all in zip(fields, self._any, whole, strict=True)]
        self._minutes, self._hours, self._days, self._months, self._weekdays = sets
        self._goes_on = any(field.startswith("*") for field in expression.split()[:2])
        if next(self._named(_BEGINNING), None) is None:
            raise ConfigError(f"{expression!r} never comes")

    def after(self, ms: int) -> int:
        """The first time after this one; ms since 1970."""
        at = datetime.fromtimestamp(ms // 60_000 * 60, UTC)
        found = self._going_on(at) if self._goes_on else self._once(at)
        return int(found.timestamp()) * 1000

    def _once(self, after: datetime) -> datetime:
        begin = after.astimezone(self._zone).replace(tzinfo=None) - timedelta(hours=3)
        for name in self._named(begin):
            # Of two of that name it is the first; one that is left out is an hour later.
            at = name.replace(tzinfo=self._zone).astimezone(UTC)
            if at > after:
                return at
        raise AssertionError  # it comes again and again

    def _going_on(self, after: datetime) -> datetime:
        offset = self._offset(after)
        while True:
            name = next(self._named((after + offset).replace(tzinfo=None) + _MINUTE))
            at = name.replace(tzinfo=UTC) - offset
            if self._offset(at) == offset:
                return at
            after = self._change(after, at) - _MINUTE
            offset = self._offset(after + _MINUTE)

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self._zone).utcoffset() or timedelta()

    def _change(self, low: datetime, high: datetime) -> datetime:
        """The minute from which on the clock is another one than at `low`, as it is at `high`."""
        offset = self._offset(low)
        while high - low > _MINUTE:
            middle = low + (high - low) // 2 // _MINUTE * _MINUTE
            low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
        return high

    def _named(self, begin: datetime) -> Iterator[datetime]:
        """The times from `begin` on as a clock shows them."""
        day, last = begin.date(), begin.date() + timedelta(days=366 * _YEARS)
        while day < last:
            if day.month not in self._months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if self._is_day(day):
                for hour in self._hours:
                    for minute in self._minutes:
                        at = datetime.combine(day, time(hour, minute))
                        if at >= begin:
                            last = day + timedelta(days=366 * _YEARS)
                            yield at
            day += timedelta(days=1)

    def _is_day(self, day: date) -> bool:
        in_month, in_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        if self._any[2] or self._any[4]:
            return in_month and in_week
        return in_month or in_week  # where both are said either is enough


@dataclass(frozen=True, slots=True)
class Cron:
    """A job that is enqueued by the clock."""

    job: Job
    clock: Clock
    missed: Missed

    @classmethod
    def of(cls, job: Job, expression: str, tz: str, missed: Missed) -> Cron:
        """The one that is declared so. Raises ConfigError."""
        if missed not in get_args(Missed):
            raise ConfigError(f"{job.name}: missed cannot be {missed!r}; allowed: {', '.join(get_args(Missed))}")
        try:
            return cls(job, Clock(expression, tz), missed)
        except ConfigError as error:
            raise ConfigError(f"{job.name}: {error}") from None

    def due(self, last: int, now: int, late: int) -> list[int]:
        """The times after `last` up to `now` at which it is to be enqueued: of those before `late`, which were missed,
        what it wants."""
        if self.missed == "all":
            return list(itertools.islice(self._between(last, now), AT_ONCE))
        times = list(self._between(max(last, late - 1), now))
        if self.missed == "once":
            times[:0] = self._last_missed(last, late)
        return times

    def _last_missed(self, last: int, late: int) -> list[int]:
        """The last of the times that were missed, if there is one. It is looked for near the end first."""
        for days in (1, 32, 400, 400 * _YEARS):
            begin = max(last, late - days * 86_400_000)
            if missed := list(self._between(begin, late - 1)):
                return missed[-1:]
            if begin == last:
                break
        return []

    def _between(self, last: int, until: int) -> Iterator[int]:
        at = self.clock.after(last)
        while at <= until:
            yield at
            at = self.clock.after(at)
