"""Quiet hours and digests, by the clocks of users: also when those are set forward and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from gorgond.app.times import checked_times, next_digest, quiet_until
from gorgond.errors import BadRequest

NIGHT = {"from": "22:00", "to": "07:00"}
NOON = {"from": "12:30", "to": "14:00"}
BERLIN, KATHMANDU, LORD_HOWE, CHICAGO, UTC = (
    "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Chicago", "UTC",
)  # fmt: skip


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


# Berlin's clocks are set forward on 29 March 2026 at 02:00 (to 03:00) and back on 25 October at 03:00 (to 02:00);
# Lord Howe's by half an hour, on 4 October at 02:00 forward.
@pytest.mark.parametrize(
    ("zone", "quiet", "now", "until"),
    [
        (UTC, NIGHT, "2026-01-10T21:59:59+00:00", ""),
        (UTC, NIGHT, "2026-01-10T22:00:00+00:00", "2026-01-11T07:00:00+00:00"),
        (UTC, NIGHT, "2026-01-11T06:59:59+00:00", "2026-01-11T07:00:00+00:00"),
        (UTC, NIGHT, "2026-01-11T07:00:00+00:00", ""),
        (UTC, NOON, "2026-01-10T13:00:00+00:00", "2026-01-10T14:00:00+00:00"),
        (UTC, NOON, "2026-01-10T12:29:59+00:00", ""),
        (UTC, {"from": "00:00", "to": "23:59"}, "2026-01-10T23:59:30+00:00", ""),
        (UTC, {"from": "00:00", "to": "23:59"}, "2026-01-10T00:00:00+00:00", "2026-01-10T23:59:00+00:00"),
        (UTC, None, "2026-01-10T23:00:00+00:00", ""),
        (KATHMANDU, NIGHT, "2026-01-10T16:15:00+00:00", "2026-01-11T07:00:00+05:45"),
        (KATHMANDU, NIGHT, "2026-01-10T16:14:59+00:00", ""),
        (CHICAGO, NIGHT, "2026-01-11T04:00:00+00:00", "2026-01-11T07:00:00-06:00"),
        # a night that is an hour shorter, and one that is an hour longer
        (BERLIN, NIGHT, "2026-03-28T22:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        (BERLIN, NIGHT, "2026-10-24T22:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        # they begin at a time that there is not: an hour later by the clock, and then it is quiet
        (BERLIN, {"from": "02:30", "to": "06:00"}, "2026-03-29T03:29:59+02:00", ""),
        (BERLIN, {"from": "02:30", "to": "06:00"}, "2026-03-29T03:30:00+02:00", "2026-03-29T06:00:00+02:00"),
        # they end at one, and at one that there is twice
        (BERLIN, {"from": "22:00", "to": "02:30"}, "2026-03-29T01:59:00+01:00", "2026-03-29T03:30:00+02:00"),
        (BERLIN, {"from": "22:00", "to": "02:30"}, "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        (BERLIN, {"from": "22:00", "to": "02:30"}, "2026-10-25T02:15:00+01:00", ""),
        (LORD_HOWE, {"from": "22:00", "to": "02:15"}, "2026-10-04T01:00:00+10:30", "2026-10-04T02:45:00+11:00"),
        ("Mars/Olympus", NIGHT, "2026-01-10T23:00:00+00:00", "2026-01-11T07:00:00+00:00"),
    ],
)
def test_quiet_hours_end_by_the_clock_of_their_user(zone: str, quiet: Any, now: str, until: str) -> None:
    found = quiet_until({"zone": zone, "quiet": quiet}, ms(now))
    assert found == (ms(until) if until else 0)
    # and when they have ended it is not quiet
    assert not found or quiet_until({"zone": zone, "quiet": quiet}, found) == 0


@pytest.mark.parametrize(
    ("zone", "digest", "now", "at"),
    [
        (UTC, "hourly", "2026-01-10T07:00:00+00:00", "2026-01-10T08:00:00+00:00"),
        (UTC, "hourly", "2026-01-10T07:59:59+00:00", "2026-01-10T08:00:00+00:00"),
        (BERLIN, "08:00", "2026-01-10T07:59:59+01:00", "2026-01-10T08:00:00+01:00"),
        (BERLIN, "08:00", "2026-01-10T08:00:00+01:00", "2026-01-11T08:00:00+01:00"),
        (BERLIN, "08:00", "2026-03-28T09:00:00+01:00", "2026-03-29T08:00:00+02:00"),
        (BERLIN, "08:00", "2026-10-24T09:00:00+02:00", "2026-10-25T08:00:00+01:00"),
        # at a time that there is not, and once at one that there is twice
        (BERLIN, "02:30", "2026-03-29T01:00:00+01:00", "2026-03-29T03:30:00+02:00"),
        (BERLIN, "02:30", "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        (BERLIN, "02:30", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
        (BERLIN, "02:30", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"),
        (KATHMANDU, "00:00", "2026-01-10T18:14:00+00:00", "2026-01-11T00:00:00+05:45"),
    ],
)
def test_a_digest_comes_at_the_hour_of_its_user(zone: str, digest: str, now: str, at: str) -> None:
    assert next_digest({"zone": zone, "digest": digest}, ms(now)) == ms(at)


def test_a_digest_comes_every_day_once_all_year() -> None:
    times = {"zone": BERLIN, "digest": "02:30"}
    now = ms("2026-01-01T00:00:00+01:00")
    days: list[object] = []
    while len(days) < 365:
        now = next_digest(times, now)
        days.append(datetime.fromtimestamp(now / 1000).astimezone().date())
    assert len(set(days)) == 365


def test_without_any_it_is_never_quiet_and_digests_come_in_the_morning() -> None:
    assert quiet_until({}, ms("2026-01-10T23:00:00+00:00")) == 0
    assert next_digest({}, ms("2026-01-10T23:00:00+00:00")) == ms("2026-01-11T08:00:00+00:00")


@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"), ({"zone": 5}, "zone"), ({"zone": "../etc/passwd"}, "zone"),
        ({"zone": ["UTC"]}, "zone"),
        ({"quiet": {"from": "22:00"}}, "quiet"), ({"quiet": {"from": "22:00", "to": "24:00"}}, "quiet"),
        ({"quiet": {"from": "22:00", "to": "22:00"}}, "quiet"), ({"quiet": "night"}, "quiet"),
        ({"quiet": {"from": "22:00", "to": "7:00"}}, "quiet"), ({"quiet": {"from": 22, "to": "07:00"}}, "quiet"),
        ({"digest": "weekly"}, "digest"), ({"digest": None}, "digest"), ({"digest": "08:00\n"}, "digest"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(times: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        checked_times(times)
    assert refused.value.field == field


def test_what_makes_sense_is_taken() -> None:
    whole = {"zone": BERLIN, "quiet": NIGHT, "digest": "hourly"}
    assert checked_times(whole) == whole
    assert checked_times({}) == {"zone": "UTC", "quiet": None, "digest": "08:00"}
