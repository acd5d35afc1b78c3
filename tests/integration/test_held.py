"""What a broker that was stopped holds, as gorgonctl tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gorgond.commands.held import count_held
from gorgond.errors import GorgonError
from gorgond.redpill import Message, Producer, connect
from tests.conftest import RedisServer


async def fill(url: str) -> None:
    async with Producer(connect(url), "p") as producer:
        await producer.push("jobs", Message("a.b"), Message("a.b"))
        await producer.push("others", Message("a.b"))


async def test_it_is_read_from_its_files_which_stay_as_they_are(redis_factory: Callable[..., RedisServer]) -> None:
    # given a broker that was stopped with messages in it
    server = redis_factory(appendonly="yes", appendfsync="always")
    await fill(server.url)
    server.stop()
    before = {path: path.read_bytes() for path in server.data.rglob("*") if path.is_file()}
    # then each queue has its number, and nothing has changed
    assert await asyncio.to_thread(count_held, server.data) == {"jobs": 2, "others": 1}
    assert {path: path.read_bytes() for path in server.data.rglob("*") if path.is_file()} == before
    # and files that no Redis can read are told
    manifest = next(server.data.rglob("*.manifest"))
    manifest.write_text("nothing that Redis knows\n")
    with pytest.raises(GorgonError, match="no Redis can read them"):
        await asyncio.to_thread(count_held, server.data)
