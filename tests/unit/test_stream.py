"""A connection that is about to be closed: has its client said something meanwhile?"""

from __future__ import annotations

import socket

from gorgond.http.stream import Stream
from tests.waiting import eventually_async


async def test_what_was_sent_and_not_read_is_seen() -> None:
    ours, theirs = socket.socketpair()
    stream = Stream(ours)
    with theirs:
        # nothing, then a request that nobody has read
        assert not stream.unread()
        theirs.send(b"GET / HTTP/1.1\r\n")
        await eventually_async(stream.unread)
        # once it is read, nothing is left
        assert await stream.read_until(b"\r\n")
        assert not stream.unread()
    # who has gone says nothing more
    assert not stream.unread()
    stream.close()
    assert not stream.unread()
