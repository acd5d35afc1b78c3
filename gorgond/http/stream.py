"""A client's connection: its requests one after the other, how long it may take for what, and its last words when the
client is not understood.

It goes through phases, each with a limit of its own; one sweep a second over all connections checks them, so that no
request needs a timer.

    idle  →  head  →  body  →  busy  →  idle …
                                     →  over       (from the others too, if the client is not understood)
                                     →  sending, streaming

A request is handed over as it is read: its head, what there is of its body, its end. The next one is looked at when the
answer was given, and not in the same turn of the event loop, so that a client that sends thousands at once keeps nobody
waiting.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import math
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from gorgond.http.answers import Problem, wire
from gorgond.http.framing import Body
from gorgond.http.heads import Head, Headers, read_head
from gorgond.redpill import new_id

HEADER_MAX = 16 * 1024  # bytes in a request's headers
PIECE = 256 * 1024  # bytes given to the transport at a time
REPEATED_MAX = 2 * 1024  # bytes of a request's headers that are kept, to see whether the next one has the same
UNREAD_MAX = 64 * 1024  # bytes that may lie here unread before the client is not listened to for a while

LIMITS = {
    "idle": 60.0,  # seconds without a request, or with an answer of which nothing is taken
    "head": 10.0,  # seconds from a request's first byte to the end of its headers
    "body": 15.0,  # seconds for its body
    "busy": math.inf,  # it is handled: that has a deadline of its own
    "sending": math.inf,  # the answer is long; its writer looks after slow clients, and ends it
    "streaming": math.inf,  # the answer has no end; its writer looks after slow clients
    "over": 15.0,  # seconds for what still comes after the last answer; it is not looked at
}

_RECEIVING = ("idle", "head", "body")


class Receiver(Protocol):
    """One request, as it comes in."""

    body: Body | None  # that is to come

    def data_received(self, data: bytes) -> None:
        """Take a part of its body."""

    def finish(self) -> None:
        """All of it was received."""

    def on_loss(self) -> None:
        """The connection is no more."""


class Stream(asyncio.Protocol):
    """One connection. `made` is called with it when it stands, `begun` with it and the head of each request, `lost`
    when it is no more. It is in `slow`, and has been `slow_since` then, as long as its client has not taken most of
    what was written."""

    def __init__(
        self,
        made: Callable[[Stream], None],
        begun: Callable[[Stream, Head], Receiver],
        lost: Callable[[Stream], None],
        slow: set[Stream],
    ) -> None:
        self.client = ""
        self.phase = "idle"
        self.slow_since = 0.0
        self._slow = slow
        self._made = made
        self._begun = begun
        self._lost = lost
        self.since = time.monotonic()  # it is in this phase
        self._until = self.since + LIMITS["head"]  # who connects has something to say
        self._closed = False  # for us; its last bytes may still be on their way
        self._ended = False  # the client sends no more
        self._unread = bytearray()
        self._headers: Headers | None = None  # of the last request
        self._paused = False
        self._advancing = False  # in the next turn of the event loop
        self._request: Receiver | None = None  # that is received, or not answered yet
        self._rest: deque[memoryview] = deque()  # written, and not given to the transport yet
        self._full = False  # the transport wants no more for now
        self._hanging_up = False  # the rest is the last
        self._written = 0
        self._taken = 0

    def enter(self, phase: str) -> None:
        """Enter the phase that it is in from now on; the end is the last."""
        if self._closed:
            return
        self.phase = phase
        self.since = now = time.monotonic()
        self._until = now + LIMITS[phase]

    def check(self, now: float) -> None:
        """Close the connection if it has used up our patience; taking some of an answer renews it."""
        unsent = self.unsent
        taken, self._taken = self._taken, self._written - unsent
        if unsent and taken != self._taken:
            self._until = max(self._until, now + LIMITS["idle"])
        if now > self._until:
            if self.phase in ("head", "body"):
                self._say(Problem(408, "the request did not arrive in time"))
            else:
                self.abort()

    # ---- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.loop = asyncio.get_running_loop()
        self.client = (transport.get_extra_info("peername") or ("",))[0]
        self._made(self)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        self._unread += data
        self._advance()
        if len(self._unread) > UNREAD_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._advance()
        # The client may have closed its side alone: its last requests are still to be read and answered.
        return not self._closed or bool(self._rest)

    def connection_lost(self, error: Exception | None) -> None:
        self._rest.clear()
        self._forsake()
        self.resume_writing()
        self._lost(self)
        request, self._request = self._request, None
        if request is not None:
            request.on_loss()

    def pause_writing(self) -> None:
        self._full = True
        if self not in self._slow:
            self.slow_since = time.monotonic()
            self._slow.add(self)

    def resume_writing(self) -> None:
        self._full = False
        self._feed()
        if self._full:
            return
        self._slow.discard(self)
        # Not at once: asyncio's transport is in the middle of what tells us this.
        if self._hanging_up:
            self._hanging_up = False
            self.loop.call_soon(self._hang_up)
        else:
            self._advance_soon()

    # ---- reading

    def unread(self) -> bool:
        """Whether the client has sent something that was not looked at yet."""
        if self._closed:
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.FIONREAD, waiting)
        return bool(self._unread) or waiting[0] > 0

    def finish_answer(self) -> None:
        """The answer was given; the connection is there for the next request."""
        self._request = None
        self.enter("idle")
        if self._unread or self._ended:
            self._advance_soon()

    def _advance_soon(self) -> None:
        """Advance in the next turn of the event loop: once, whoever asks for it."""
        if not self._advancing:
            self._advancing = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._advancing = False
        self._advance()

    def _advance(self) -> None:
        """Read the next request, or more of it; hang up if it cannot come any more."""
        if self._closed:
            return
        waiting = self in self._slow  # a client that does not take its answers is not asked for its next request
        request = self._request
        if request is not None and request.body is not None:
            going_on = self._read_body(request, request.body)
        elif self.phase in ("idle", "head") and not waiting:
            going_on = self._read_head()
        else:
            going_on = False
        if len(self._unread) <= UNREAD_MAX:
            self._listen()
        if going_on and (self._unread or self._ended):
            self._advance_soon()
        elif self._ended and self.phase not in ("busy", "sending") and not (waiting and self._unread):
            self.close()

    def _read_head(self) -> bool:
        """Hand over the next request, if its head is there; whether it was."""
        unread = self._unread
        while unread.startswith(b"\r\n"):  # RFC 9112, 2.2
            del unread[:2]
        if not unread:
            return False
        end = unread.find(b"\r\n\r\n", 0, HEADER_MAX) + 4
        if end < 4:
            if self.phase == "idle":
                self.enter("head")
            if len(unread) > HEADER_MAX:
                self._say(Problem(431, f"the headers have more than {HEADER_MAX} bytes"))
            return False
        data = bytes(memoryview(unread)[:end])
        del unread[:end]
        try:
            head = read_head(data, self._headers)
        except Problem as problem:
            self._say(problem)
            return False
        self._headers = head.headers if end <= REPEATED_MAX else None
        self._request = request = self._begun(self, head)
        if request.body is None:
            request.finish()
        elif unread:
            self._read_body(request, request.body)
        return True

    def _read_body(self, request: Receiver, body: Body) -> bool:
        """Hand over what there is of a body; whether there was something."""
        try:
            data = body.take(self._unread)
        except Problem as problem:
            self._say(problem)
            self.close()
            return False
        if data:
            request.data_received(data)
        if body.over and not self._closed:
            request.body = None
            request.finish()
        return data is not None

    def _listen(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # ---- writing

    @property
    def held(self) -> int:
        """Bytes that lie here, to be sent or to be looked at."""
        return self.unsent + len(self._unread)

    @property
    def unsent(self) -> int:
        """Bytes written that the client did not take yet."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._rest))

    def write(self, data: bytes) -> None:
        """Send it, as soon as the client takes it; nothing once it was closed."""
        if self._closed:
            return
        self._written += len(data)
        if self._rest or len(data) > PIECE:
            self._rest.append(memoryview(data))
            self._feed()
        else:
            self._transport.write(data)

    def _feed(self) -> None:
        """Give the transport what it wants of the rest: it would copy all of it, and again what the client leaves."""
        while self._rest and not self._full:
            data = self._rest.popleft()
            if len(data) > PIECE:
                self._rest.appendleft(data[PIECE:])
            self._transport.write(data[:PIECE])

    # ---- the end

    def closed(self) -> bool:
        """Whether it was closed, by whichever side."""
        return self._closed

    def close(self) -> None:
        """Send what was written, and hang up. The server reads what the client still sends, and throws it away: unread,
        it would make the kernel throw our last words away."""
        if self.phase in ("head", "body"):
            self._say(Problem(400, "the request is not complete, or not HTTP/1.1"))
        if self._closed:
            return
        self.enter("over")
        self._forsake()
        if self._rest:
            self._hanging_up = True
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._ended or self._transport.is_closing():
            self._transport.close()
        else:
            with contextlib.suppress(OSError):  # it has gone, and we will hear of it
                self._transport.write_eof()
            self._listen()

    def abort(self) -> None:
        """Hang up at once."""
        self._rest.clear()
        self._forsake()
        self._transport.abort()

    def _say(self, problem: Problem) -> None:
        """The last words to a client whose request will not be handled."""
        if self._closed or self.phase not in _RECEIVING:
            return
        self.enter("over")
        request = new_id()
        self.write(wire(problem.answer(request), request, "close"))
        self.close()

    def _forsake(self) -> None:
        """Nothing more is read."""
        self._closed = True
        self._unread.clear()
