"""When users are told: the hours in which nothing loud reaches them, and when what was gathered does.

    {"zone": "Europe/Berlin", "quiet": {"from": "22:00", "to": "07:00"}, "digest": "08:00"}

is what preferences have of it (`app.notifying`). `zone` is a name of the time zone database, `quiet` is missing or two
times of day there, the second on the next day if it is the earlier one. `digest` is a time of day, or "hourly".

A time that the clock leaves out when it is set forward, or shows twice when it is set back, is what RFC 5545 (3.3.5)
has it to be: the first is that much later by the new time, of the second the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gorgond.errors import BadRequest

ZONE, HOURLY = "UTC", "hourly"
DAILY = "08:00"  # when a digest is sent unless its user has said it
HOUR = 3_600_000  # ms

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def checked_times(times: Mapping[str, Any]) -> dict[str, Any]:
    """The same, if they make sense. Raises BadRequest."""
    zone, quiet, digest = times.get("zone", ZONE), times.get("quiet"), times.get("digest", DAILY)
    if not isinstance(zone, str) or _found(zone) is None:
        raise BadRequest("zone", "must be a time zone, as Europe/Berlin or UTC")
    if digest != HOURLY and not _is_time(digest):
        raise BadRequest("digest", f"must be a time of day, as 08:00, or {HOURLY}")
    if quiet is not None:
        if not (isinstance(quiet, dict) and quiet.keys() == {"from", "to"} and all(map(_is_time, quiet.values()))):
            raise BadRequest("quiet", 'must be {"from": "22:00", "to": "07:00"}, or null')
        if quiet["from"] == quiet["to"]:
            raise BadRequest("quiet", "must begin and end at different times")
    return {"zone": zone, "quiet": quiet, "digest": digest}


def _is_time(text: Any) -> bool:
    return isinstance(text, str) and _TIME.fullmatch(text) is not None


def quiet_until(times: Mapping[str, Any], now: int) -> int:
    """When the quiet hours end in which `now` is, ms since 1970; 0 where it is in none."""
    quiet = times.get("quiet")
    if not quiet:
        return 0
    zone, begin, end = _zone(times), time.fromisoformat(quiet["from"]), time.fromisoformat(quiet["to"])
    today = _day(now, zone)
    for day in (today - timedelta(1), today):
        until = _instant(day if begin < end else day + timedelta(1), end, zone)
        if _instant(day, begin, zone) <= now < until:
            return until
    return 0


def next_digest(times: Mapping[str, Any], now: int) -> int:
    """When the digest is sent that gathers what comes `now`, ms since 1970."""
    when = times.get("digest", DAILY)
    if when == HOURLY:
        return now - now % HOUR + HOUR
    zone = _zone(times)
    today = _day(now, zone)
    instants = (_instant(today + timedelta(days), time.fromisoformat(when), zone) for days in range(3))
    return next(each for each in instants if each > now)


def _zone(times: Mapping[str, Any]) -> tzinfo:
    """The user's zone. One that this host's database does not know, being older than another's, is UTC."""
    return _found(times.get("zone", ZONE)) or UTC


def _found(zone: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: it is a directory there
        return None


def _day(now: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).date()


def _instant(day: date, at: time, zone: tzinfo) -> int:
    return int(datetime.combine(day, at, zone).timestamp() * 1000)
