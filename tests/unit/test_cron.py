"""Times by the clock: a table of when they come where clocks are changed; what becomes of those that were missed."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gorgond.app.application import App
from gorgond.app.cron import Clock, Missed
from gorgond.errors import ConfigError

VIENNA, NEW_YORK, LORD_HOWE = "Europe/Vienna", "America/New_York", "Australia/Lord_Howe"

# A day before the clocks are changed, an expression, and when it comes then.
TABLE = [
    # Europe, forward at 2:00 on 2026-03-29: there is no 2:30.
    (VIENNA, "2026-03-28T12:00", "30 2 * * *", "03-29T03:30+02:00 03-30T02:30+02:00"),
    (VIENNA, "2026-03-28T12:00", "0 2 * * *", "03-29T03:00+02:00 03-30T02:00+02:00"),
    (VIENNA, "2026-03-28T12:00", "30 1 * * *", "03-29T01:30+01:00 03-30T01:30+02:00"),
    (VIENNA, "2026-03-28T12:00", "0 3 * * *", "03-29T03:00+02:00 03-30T03:00+02:00"),
    (VIENNA, "2026-03-28T12:00", "30 2,3 * * *", "03-29T03:30+02:00 03-30T02:30+02:00 03-30T03:30+02:00"),
    (VIENNA, "2026-03-29T00:30", "0 * * * *", "03-29T01:00+01:00 03-29T03:00+02:00 03-29T04:00+02:00"),
    (VIENNA, "2026-03-29T01:30", "*/20 * * * *", "03-29T01:40+01:00 03-29T03:00+02:00 03-29T03:20+02:00"),
    (VIENNA, "2026-03-28T12:00", "*/30 2 * * *", "03-30T02:00+02:00 03-30T02:30+02:00"),
    # Europe, back at 3:00 on 2026-10-25: 2:30 is there twice.
    (VIENNA, "2026-10-24T12:00", "30 2 * * *", "10-25T02:30+02:00 10-26T02:30+01:00"),
    (VIENNA, "2026-10-24T12:00", "0 3 * * *", "10-25T03:00+01:00 10-26T03:00+01:00"),
    (VIENNA, "2026-10-25T01:30", "0 * * * *", "10-25T02:00+02:00 10-25T02:00+01:00 10-25T03:00+01:00"),
    (VIENNA, "2026-10-25T01:50", "*/30 2 * * *",
     "10-25T02:00+02:00 10-25T02:30+02:00 10-25T02:00+01:00 10-25T02:30+01:00 10-26T02:00+01:00"),
    (VIENNA, "2026-10-23T12:00", "30 7 * * mon-fri", "10-26T07:30+01:00 10-27T07:30+01:00"),
    # America, forward at 2:00 on 2026-03-08.
    (NEW_YORK, "2026-03-07T12:00", "30 2 * * *", "03-08T03:30-04:00 03-09T02:30-04:00"),
    (NEW_YORK, "2026-03-08T01:10", "*/30 * * * *", "03-08T01:30-05:00 03-08T03:00-04:00 03-08T03:30-04:00"),
    (NEW_YORK, "2026-03-07T12:00", "15 12 * * sun", "03-08T12:15-04:00 03-15T12:15-04:00"),
    # America, back at 2:00 on 2026-11-01: 1:30 is there twice.
    (NEW_YORK, "2026-10-31T12:00", "30 1 * * *", "11-01T01:30-04:00 11-02T01:30-05:00"),
    (NEW_YORK, "2026-11-01T00:50", "0 * * * *", "11-01T01:00-04:00 11-01T01:00-05:00 11-01T02:00-05:00"),
    # Half an hour, forward at 2:00 on 2026-10-04.
    (LORD_HOWE, "2026-10-03T12:00", "15 2 * * *", "10-04T02:45+11:00 10-05T02:15+11:00"),
    (LORD_HOWE, "2026-10-04T01:50", "*/15 * * * *", "10-04T02:30+11:00 10-04T02:45+11:00"),
    # Where clocks are never changed, months and leap years.
    ("UTC", "2026-03-28T12:00", "0 0 29 2 *", "2028-02-29T00:00+00:00 2032-02-29T00:00+00:00"),
    ("UTC", "2026-12-31T23:00", "0 0 1 jan,jul *", "2027-01-01T00:00+00:00 2027-07-01T00:00+00:00"),
    ("UTC", "2026-11-01T00:00", "0 0 13 * fri", "11-06T00:00+00:00 11-13T00:00+00:00 11-20T00:00+00:00"),
    ("UTC", "2026-11-01T00:00", "0 12 * * 7", "11-01T12:00+00:00 11-08T12:00+00:00"),
]  # fmt: skip


def ms(text: str, zone: str = "UTC") -> int:
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).timestamp()) * 1000


@pytest.mark.parametrize(("zone", "begin", "expression", "expected"), TABLE)
def test_when_it_comes_where_clocks_are_changed(zone: str, begin: str, expression: str, expected: str) -> None:
    clock, at, found = Clock(expression, zone), ms(begin, zone), list[str]()
    for _ in expected.split():
        at = clock.after(at)
        found.append(datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).isoformat(timespec="minutes"))
    year = begin[:5]
    assert found == [each if each.startswith("20") else year + each for each in expected.split()]


@pytest.mark.parametrize("zone", [VIENNA, NEW_YORK, LORD_HOWE, "UTC", "Africa/Casablanca", "Pacific/Apia"])
@pytest.mark.parametrize("expression", ["*/7 * * * *", "0 * * * *", "30 2 * * *", "59 1,2,3 * * mon,sun"])
def test_times_only_grow_and_each_day_has_its_own(zone: str, expression: str) -> None:
    clock, at = Clock(expression, zone), ms("2026-01-01T00:00")
    for _ in range(400):
        following = clock.after(at)
        assert following > at
        assert clock.after(following - 1) == following
        at = following


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "61 * * * *", "@daily", "0 0 L * *", "0 0 * * fri#2", "H 1 * * *", "0 0 31 2 *"],
)  # fmt: skip
def test_what_is_no_time_is_refused_where_it_is_declared(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"shop\.digest: .*(is no time|never comes)"):
        declared(expression)


def test_an_unknown_zone_and_mode_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no time zone 'Europe/Wien'"):
        declared("0 * * * *", tz="Europe/Wien")
    with pytest.raises(ConfigError, match="missed cannot be 'never'"):
        declared("0 * * * *", missed="never")
    with pytest.raises(ConfigError, match="takes the context"):

        @App("shop").cron("0 * * * *")
        async def digest(ctx: Any, what: str) -> None: ...


def declared(expression: str, **options: Any) -> App:
    app = App("shop")

    @app.cron(expression, **options)
    async def digest(ctx: Any) -> None: ...

    return app


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", ["12:00"]),
        ("once", ["11:50", "12:00"]),
        (
            "all",
            [
                *(f"{hour}:{minute:02}" for hour in (10, 11) for minute in range(0, 60, 10) if hour + minute > 10),
                "12:00",
            ],
        ),
    ],
)
def test_what_becomes_of_times_that_were_missed(missed: Missed, expected: list[str]) -> None:
    # given one that came every ten minutes until 10:00, and is looked at again at 12:00
    cron = declared("*/10 * * * *", missed=missed).crons["shop.digest"]
    now = ms("2026-11-01T12:00")
    due = cron.due(ms("2026-11-01T10:00"), now, now - 60_000)
    assert [datetime.fromtimestamp(at / 1000, ZoneInfo("UTC")).strftime("%H:%M") for at in due] == expected
    # and once it is made up for, nothing is
    assert cron.due(due[-1], now, now - 60_000) == []


def test_what_was_missed_for_years_is_found_at_once() -> None:
    for expression, last in (("* * * * *", "2026-10-31T23:59"), ("0 0 1 1 *", "2026-01-01T00:00")):
        cron = declared(expression).crons["shop.digest"]
        now = ms("2026-11-01T00:00:30") + 30_000
        due = cron.due(ms("2010-01-01T00:00"), now, now - 60_000)
        assert ms(last) in due
        assert len(due) <= 3
    # and what is to be made up for all of it is, in parts
    cron = declared("* * * * *", missed="all").crons["shop.digest"]
    assert len(list(islice(cron.due(ms("2010-01-01T00:00"), now, now), 5000))) == 1000
