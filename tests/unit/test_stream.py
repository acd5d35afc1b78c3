"""Connections: how they are taken, what is held for them, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import AsyncIterator

from gorgond.http.accepting import Acceptor
from gorgond.http.stream import UNREAD_MAX, Stream
from tests.waiting import eventually_async


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Stream, socket.socket]]:
    """A stream, and its client's end."""
    made: list[Stream] = []
    lost: list[Stream] = []
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: Stream(made.append, lost.append, set()), ours)
    with theirs:
        yield made[0], theirs
    made[0].close()
    await eventually_async(lambda: lost == made)


async def test_what_was_sent_and_not_read_is_seen() -> None:
    async with pair() as (stream, theirs):
        # nothing, then a request that nobody has read, whether the event loop has it already or not
        assert not stream.unread()
        theirs.send(b"GET / HTTP/1.1\r\n")
        assert stream.unread()
        await eventually_async(lambda: stream.phase == "head")
        assert stream.unread()
        # once it is read, nothing is left
        assert await stream.read_until_regex(b"\r\n", 100) == b"GET / HTTP/1.1\r\n"
        assert not stream.unread()
        stream.enter("idle")
        # who has gone says nothing more
        theirs.close()
        assert not stream.unread()
        stream.close()
        assert not stream.unread()


async def test_who_sends_too_soon_is_not_listened_to_for_a_while() -> None:
    async with pair() as (stream, theirs):
        # given a client that sends, while nobody reads, as much as it can
        theirs.setblocking(False)
        sent = 0

        def stuck() -> bool:
            nonlocal sent
            try:
                sent += theirs.send(b"x" * 65536)
            except BlockingIOError:
                return stream.held > UNREAD_MAX
            return False

        await eventually_async(stuck)
        # then not all of it lies here, and what does is counted
        assert stream.held < sent
        # and all of it comes as soon as it is read
        left = sent
        while left:
            left -= len(await asyncio.wait_for(stream.read_bytes(1000, partial=True), 60))
        assert stream.held == 0
        stream.enter("idle")


async def test_what_is_closed_ends_whatever_is_made_of_it() -> None:
    async with pair() as (stream, theirs):
        # given an answer that is not taken, and a connection that is to be closed after it
        stream.write(b"x" * 10_000_000)
        stream.close()
        # when somebody begins an answer without end all the same
        stream.enter("streaming")
        assert stream.write(b"more").done()
        await eventually_async(lambda: stream.unsent > 0)
        # then patience ends
        stream.check(time.monotonic() + 1)
        stream.check(math.inf)
        assert len(await asyncio.to_thread(_all_of, theirs)) < 10_000_000


def _all_of(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 20):
            parts.append(data)
    return b"".join(parts)


async def test_a_connection_accepted_right_before_the_end_has_arrived() -> None:
    arrived: list[asyncio.BaseTransport] = []

    class Greeted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            arrived.append(transport)

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    acceptor = Acceptor([listening], Greeted)
    with socket.create_connection(listening.getsockname()):
        # given a connection that is accepted in the turn in which the server is closed
        acceptor._accept(listening)
        await acceptor.close()
        assert len(arrived) == 1
        arrived[0].close()
    assert listening.fileno() == -1
