"""RedisProtocol's deadline: an answer that came before it is read, although this process looks late."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from gorgond.redpill import redisprotocol
from gorgond.redpill.errors import Overslept
from gorgond.redpill.redisprotocol import RedisProtocol

SOON = 0.05  # seconds until an answer is due
SIZE = 4_000_000  # bytes: more than the event loop reads in a few turns
LARGE = b"$%d\r\n%s\r\n" % (SIZE, b"x" * SIZE)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[RedisProtocol, socket.socket]]:
    """One, and the socket of whom it asks."""
    ours, other = socket.socketpair()
    for each in (ours, other):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    reader, writer = await asyncio.open_connection(sock=ours)
    protocol = RedisProtocol(SimpleNamespace(_writer=writer, _reader=reader))
    yield protocol, other
    protocol.end()
    other.close()


async def test_an_answer_that_lies_there_is_read_although_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redisprotocol, "LAST_LOOK", 60.0)  # a slow machine has the time that it needs
    loop = asyncio.get_running_loop()
    async with connected() as (protocol, other):
        other.setblocking(False)
        whole = protocol.ask([["GET", "x"]], 1, SOON)
        # given an answer that came while this process did not run, until after it was due
        sent = other.send(LARGE)
        loop.call_soon(time.sleep, 2 * SOON)
        # when it runs again, then what is there is read first, however much it is
        answers, _ = await asyncio.gather(whole, loop.sock_sendall(other, LARGE[sent:]))
        assert answers == [b"x" * SIZE]


@pytest.mark.parametrize(("stopped", "error"), [(0.0, TimeoutError), (SOON + 1.2, Overslept)])
async def test_one_that_does_not_come_is_missed_and_who_overslept_says_so(
    stopped: float, error: type[Exception]
) -> None:
    async with connected() as (protocol, _):
        whole = protocol.ask([["GET", "x"]], 1, SOON)
        asyncio.get_running_loop().call_soon(time.sleep, stopped)
        with pytest.raises(error):
            await whole
