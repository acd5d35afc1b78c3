"""Long arrays are read in turns."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from gorgond.app.arrays import LONG, read_array
from gorgond.redpill import dumps


@pytest.mark.parametrize(
    "value", [[], [1], ["a", {"b": [1.5, None, True]}, []], ["x, ]" * 100_000, {"é": "\u2028"}], [[[]]] * 150_000]
)
@pytest.mark.parametrize("blanks", [None, 1])
async def test_what_is_read_is_what_was_written(value: list[object], blanks: int | None) -> None:
    data = json.dumps(value, indent=blanks).encode()
    assert await read_array(data) == value


@pytest.mark.parametrize("data", [b"[" + b"1," * LONG, b"[" + b'"a"' * LONG, b"[1" + b" " * LONG, b"{}x", b"[" * LONG])
async def test_what_is_no_array_is_none(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        await read_array(data)


async def test_others_have_their_turns_while_a_long_array_is_read() -> None:
    # given 15 MB, and how long it takes here and now to read them at once
    data = dumps([{"title": "x", "keywords": [str(n) for n in range(100)]} for _ in range(20_000)])
    started = time.perf_counter()
    json.loads(data)
    once = time.perf_counter() - started
    # when it is read beside somebody who looks how long each turn takes
    waits: list[float] = []
    reading = asyncio.ensure_future(read_array(data))
    while not reading.done():
        started = time.perf_counter()
        await asyncio.sleep(0)
        waits.append(time.perf_counter() - started)
    # then that one has many turns, most of them a fraction of it
    assert len(await reading) == 20_000
    assert len(waits) > 5
    assert sorted(waits)[len(waits) // 2] < once / 4, (waits, once)
