"""A long JSON array, read so that all others have their turns meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

from gorgond.redpill import loads

LONG = 256 * 1024  # bytes of JSON; less is read in a millisecond or two
TURN = 0.01  # seconds of reading after which others have theirs

_BETWEEN = re.compile(r"[\s,]*")
_read = json.JSONDecoder().raw_decode


async def read_array(data: bytes) -> list[Any]:
    """Its values. A reader of 15 MB at once keeps the event loop for a quarter of a second; here the longest value
    alone does that. Raises ValueError."""
    if len(data) <= LONG or not data.startswith(b"["):
        values: list[Any] = loads(data)
        return values
    text, values = data.decode(), []
    place, until = _after(text, 1), time.perf_counter() + TURN
    while text[place : place + 1] != "]":
        value, end = _read(text, place)
        values.append(value)
        place = _after(text, end)
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + TURN
    return values


def _after(text: str, end: int) -> int:
    """Where the next value begins, or the array ends."""
    found = _BETWEEN.match(text, end)
    return found.end() if found else end
