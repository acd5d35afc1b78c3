"""A connection that is about to be closed: has its client said something meanwhile?"""

from __future__ import annotations

import asyncio
import socket

from gorgond.http.stream import Stream
from tests.waiting import eventually_async


async def test_what_was_sent_and_not_read_is_seen() -> None:
    made: list[Stream] = []
    lost: list[Stream] = []
    ours, theirs = socket.socketpair()
    with theirs:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: Stream(made.append, lost.append), ours)
        (stream,) = made
        # nothing, then a request that nobody has read, whether the event loop has it already or not
        assert not stream.unread()
        theirs.send(b"GET / HTTP/1.1\r\n")
        assert stream.unread()
        await eventually_async(lambda: stream.phase == "head")
        assert stream.unread()
        # once it is read, nothing is left
        assert await stream.read_until(b"\r\n", 100)
        assert not stream.unread()
        stream.enter("idle")
    # who has gone says nothing more
    assert not stream.unread()
    stream.close()
    assert not stream.unread()
    await eventually_async(lambda: lost == [stream])
