"""A client's connection: how long it may take for what, and its last words when the client is not understood.

It goes through phases, each with a limit of its own; one sweep a second over all connections checks them, so that no
request needs a timer.

    idle  →  head  →  body  →  busy  →  idle …
                                     →  over
                                     →  streaming
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Awaitable
from typing import Any

from tornado.httputil import HTTPInputError
from tornado.iostream import IOStream, UnsatisfiableReadError

from gorgond.http.answers import Problem, wire
from gorgond.redpill import new_id

HEADER_MAX = 16 * 1024  # bytes in a request's headers
READ = 16 * 1024  # bytes read at a time; the room for them is made and cleared for each read

LIMITS = {
    "idle": 60.0,  # seconds without a request, or with an answer of which nothing is taken
    "head": 10.0,  # seconds from a request's first byte to the end of its headers
    "body": 15.0,  # seconds for its body
    "busy": math.inf,  # it is handled: that has a deadline of its own
    "streaming": math.inf,  # the answer has no end; who writes it looks after slow clients
    "over": 15.0,  # seconds for what still comes after the last answer; it is not looked at
}

_TORNADOS_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Stream(IOStream):
    """One connection."""

    def __init__(self, connection: socket.socket, client: str = "") -> None:
        super().__init__(connection, read_chunk_size=READ)
        super().set_nodelay(True)
        self.client = client
        self.phase = "idle"
        self._until = time.monotonic() + LIMITS["head"]  # who connects has something to say
        self._taken = 0
        self._soon = b""

    def enter(self, phase: str) -> None:
        """What it does from now on."""
        self.phase = phase
        self._until = time.monotonic() + LIMITS[phase]

    @property
    def unsent(self) -> int:
        """Bytes written that the client did not take yet."""
        return int(self._total_write_index - self._total_write_done_index)

    def check(self, now: float) -> None:
        """Close the connection if it has used up our patience; taking some of an answer renews it."""
        taken, self._taken = self._taken, self._total_write_done_index
        if self.unsent and taken != self._taken:
            self._until = max(self._until, now + LIMITS["idle"])
        if now > self._until:
            if self.phase != "idle":
                self._say(Problem(408, "the request did not arrive in time"))
            self.close()

    def set_nodelay(self, value: bool) -> None:
        """It is so from the start: an answer is written as a whole. Tornado would switch it on and off each time."""

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count = super().read_from_fd(buf)
        if count and self.phase == "idle":
            self.enter("head")
        return count

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        if num_bytes < 0:  # Tornado 6.2 reads a chunk whose length is "-1" for ever
            raise HTTPInputError("a chunk of negative length")
        return super().read_bytes(num_bytes, partial)

    def write_soon(self, data: bytes) -> None:
        """Write two turns of the loop later, or when there is more to write: all goes out in its order."""
        self._soon += data
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._write_now)

    def _write_now(self) -> None:
        if self._soon and not self.closed():
            data, self._soon = self._soon, b""
            super().write(data)

    def unread(self) -> bool:
        """Whether the client has sent something that was not looked at yet."""
        try:
            return not self.closed() and bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:  # nothing, or broken
            return False

    def writing(self) -> bool:
        return bool(self._soon) or super().writing()

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        self._write_now()
        if data == _TORNADOS_400:  # we can say more
            self._say(Problem(400, "this is not HTTP/1.1"))
            data = b""
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        if isinstance(exc_info, UnsatisfiableReadError) and self.phase != "body":
            self._say(Problem(431, f"the headers have more than {HEADER_MAX} bytes"))
        elif self.phase != "idle":
            self._say(Problem(400, "the request is not complete, or not HTTP/1.1"))
        super().close(exc_info)

    def _say(self, problem: Problem) -> None:
        """The last words to a client whose request will not be handled."""
        self._write_now()
        if self.closed() or self.writing() or self.phase in ("busy", "streaming", "over"):
            return
        self.phase = "over"
        request = new_id()
        with contextlib.suppress(OSError):
            self.socket.send(wire(problem.answer(request), request, "close"))
            # What has arrived and is not read makes the kernel throw our words away.
            for _ in range(16):
                if not self.socket.recv(65536):
                    break
