"""Connections: how they are taken, what is held for them, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import AsyncIterator

import pytest

from gorgond.http import framing
from gorgond.http.accepting import Acceptor
from gorgond.http.framing import body_of
from gorgond.http.heads import Head
from gorgond.http.stream import UNREAD_MAX, Stream
from tests.waiting import eventually_async


class Request:
    """A request that is answered when a test says so, or `at_once`."""

    at_once = False

    def __init__(self, stream: Stream, head: Head) -> None:
        stream.enter("body")
        self.body = body_of(head)
        self.received = 0
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def finish(self) -> None:
        self._stream.enter("busy")
        if self.at_once:
            self._stream.finish_answer()

    def on_loss(self) -> None:
        self._stream.abort()


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Stream, socket.socket, list[Request]]]:
    """A stream, its client's end, and the requests that have come."""
    made: list[Stream] = []
    lost: list[Stream] = []
    requests: list[Request] = []

    def begun(stream: Stream, head: Head) -> Request:
        requests.append(Request(stream, head))
        return requests[-1]

    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: Stream(made.append, begun, lost.append, set()), ours)
    with theirs:
        yield made[0], theirs, requests
    made[0].close()
    await eventually_async(lambda: lost == made)


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def test_what_was_sent_and_not_read_is_seen() -> None:
    async with pair() as (stream, theirs, requests):
        # nothing, then a request of which the end is missing, whether the event loop has it already or not
        assert not stream.unread()
        theirs.send(HEAD)
        assert stream.unread()
        await eventually_async(lambda: stream.phase == "head")
        assert stream.unread()
        # once it is read, nothing is left
        theirs.send(b"\r\n")
        await eventually_async(lambda: len(requests) == 1)
        assert not stream.unread()
        stream.finish_answer()
        # who has gone says nothing more
        theirs.close()
        assert not stream.unread()
        stream.close()
        assert not stream.unread()


async def test_many_requests_that_are_answered_at_once_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Request, "at_once", True)
    async with pair() as (_, theirs, requests):
        # given a client that sends a thousand requests, each of which is answered as it is read
        theirs.sendall((HEAD + b"\r\n") * 1000)
        most = before = 0
        # when they are read, then only one or two are in a turn of the event loop
        while len(requests) < 1000:
            await asyncio.sleep(0)
            most, before = max(most, len(requests) - before), len(requests)
        assert most <= 2


async def test_who_sends_too_soon_is_not_listened_to_for_a_while() -> None:
    async with pair() as (stream, theirs, requests):
        # given a client that sends as many requests as it can, while its first one has no answer
        theirs.setblocking(False)
        one = HEAD + b"X: " + b"x" * 10_000 + b"\r\n\r\n"
        data = one * 1000
        sent = 0

        def stuck() -> bool:
            nonlocal sent
            try:
                sent += theirs.send(data[sent % len(one) :][:65536])
            except BlockingIOError:
                return stream.held > UNREAD_MAX
            return False

        await eventually_async(stuck)
        # then not all of it lies here, and what does is counted
        assert stream.held < sent
        assert len(requests) == 1
        # and all of it comes as soon as those before it are answered

        def all_come() -> bool:
            if stream.phase == "busy":
                stream.finish_answer()
            return len(requests) == sent // len(one)

        await eventually_async(all_come)
        await eventually_async(lambda: stream.held in (0, sent % len(one)))


async def test_requests_that_come_at_once_are_read_in_turns() -> None:
    async with pair() as (stream, theirs, requests):
        # given a client whose requests are answered at once
        theirs.send((HEAD + b"\r\n") * 100)
        while len(requests) < 100:
            read = len(requests)
            await asyncio.sleep(0)
            # then there are never two of them in one turn of the loop
            assert len(requests) - read <= 1
            if stream.phase == "busy":
                stream.finish_answer()
        stream.enter("idle")


async def test_many_small_chunks_are_read_in_turns() -> None:
    async with pair() as (stream, theirs, requests):
        theirs.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await eventually_async(lambda: len(requests) == 1)
        # given a body of many small chunks
        many = 4 * framing.CHUNKS_AT_ONCE
        sending = asyncio.create_task(asyncio.to_thread(theirs.sendall, b"1\r\nx\r\n" * many + b"0\r\n\r\n"))
        while stream.phase == "body":
            before = requests[0].received
            await asyncio.sleep(0)
            # then no turn of the loop has more than some of them
            assert requests[0].received - before <= framing.CHUNKS_AT_ONCE
        await sending
        assert requests[0].received == many


async def test_what_is_closed_ends_whatever_is_made_of_it() -> None:
    async with pair() as (stream, theirs, _):
        # given an answer that is not taken, and a connection that is to be closed after it
        stream.write(b"x" * 10_000_000)
        stream.close()
        # when somebody begins an answer without end all the same
        stream.enter("streaming")
        stream.write(b"more")
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
    loop = asyncio.get_running_loop()
    acceptor = Acceptor([listening], lambda connection: loop.connect_accepted_socket(Greeted, connection))
    with socket.create_connection(listening.getsockname()):
        # given a connection that is accepted in the turn in which the server is closed
        acceptor._accept(listening)
        await acceptor.close()
        assert len(arrived) == 1
        arrived[0].close()
    assert listening.fileno() == -1
