"""A client's connection: how long it may take for what, and its last words when the client is not understood.

It goes through phases, each with a limit of its own; one sweep a second over all connections checks them, so that no
request needs a timer.

    idle  →  head  →  body  →  busy  →  idle …
                                     →  over       (from the others too, if the client is not understood)
                                     →  streaming

Bytes come and go by the event loop's transport, since Tornado's IOStream costs as much as the rest of its HTTP does;
towards Tornado a Stream is that part of an IOStream which HTTP1Connection uses.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import functools
import math
import re
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

from gorgond.http.answers import Problem, wire
from gorgond.redpill import new_id

HEADER_MAX = 16 * 1024  # bytes in a request's headers
PIECE = 256 * 1024  # bytes given to the transport at a time
CHUNK_MAX = 256  # bytes in the line with a chunk's size
UNREAD_MAX = 64 * 1024  # bytes that may lie here unread before the client is not listened to for a while

LIMITS = {
    "idle": 60.0,  # seconds without a request, or with an answer of which nothing is taken
    "head": 10.0,  # seconds from a request's first byte to the end of its headers
    "body": 15.0,  # seconds for its body
    "busy": math.inf,  # it is handled: that has a deadline of its own
    "streaming": math.inf,  # the answer has no end; its writer looks after slow clients
    "over": 15.0,  # seconds for what still comes after the last answer; it is not looked at
}

_TORNADOS_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"(?:[!#$%&'*+.^`|~\w-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*", re.ASCII)
_RECEIVING = ("idle", "head", "body")


class Stream(asyncio.Protocol):
    """One connection. `made` is called with it when it stands, `lost` when it is no more. It is in `slow`, and has been
    `slow_since` then, as long as its client has not taken most of what was written."""

    def __init__(self, made: Callable[[Stream], None], lost: Callable[[Stream], None], slow: set[Stream]) -> None:
        self.client = ""
        self.phase = "idle"
        self.slow_since = 0.0
        self._slow = slow
        self._made = made
        self._lost = lost
        self._until = time.monotonic() + LIMITS["head"]  # who connects has something to say
        self._closed = False  # for us and Tornado; its last bytes may still be on their way
        self._ended = False  # the client sends no more
        self._unread = bytearray()
        self._paused = False
        self._wanted: tuple[Callable[[], int], asyncio.Future[bytes]] | None = None  # its length, 0: not all of it yet
        self._rest: deque[memoryview] = deque()  # written, and not given to the transport yet
        self._full = False  # the transport wants no more for now
        self._hanging_up = False  # the rest is the last
        self._written = 0
        self._taken = 0
        self.room: asyncio.Future[None] | None = None  # done when the client has taken most of what was written
        self._when_closed: Callable[[], None] | None = None

    def enter(self, phase: str) -> None:
        """Enter the phase that it is in from now on; the end is the last."""
        if self._closed:
            return
        self.phase = phase
        self._until = time.monotonic() + LIMITS[phase]

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
        if self.phase in (*_RECEIVING, "busy") and not self._closed:
            return True  # what it has sent is still to be looked at, and answered: it may have closed its side alone
        self.close()
        return bool(self._rest)

    def connection_lost(self, error: Exception | None) -> None:
        self._rest.clear()
        self._forsake()
        self.resume_writing()
        self._lost(self)
        if self._when_closed is not None:
            self._when_closed()

    def pause_writing(self) -> None:
        self._full = True
        if self.room is None:
            self.room = self.loop.create_future()
            self.slow_since = time.monotonic()
            self._slow.add(self)

    def resume_writing(self) -> None:
        self._full = False
        self._feed()
        if self._full:
            return
        if self._hanging_up:  # not at once: asyncio's transport is in the middle of what tells us this
            self._hanging_up = False
            self.loop.call_soon(self._hang_up)
        self._slow.discard(self)
        room, self.room = self.room, None
        if room is not None and not room.done():
            room.set_result(None)

    # ---- reading

    def unread(self) -> bool:
        """Whether the client has sent something that was not looked at yet."""
        if self._closed:
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.FIONREAD, waiting)
        return bool(self._unread) or waiting[0] > 0

    def read_until_regex(self, regex: bytes, max_bytes: int) -> asyncio.Future[bytes]:
        """The bytes up to the end of a match, `max_bytes` at most."""
        return self._read(functools.partial(self._through, _pattern(regex), max_bytes))

    def read_until(self, delimiter: bytes, max_bytes: int) -> asyncio.Future[bytes]:
        """The line with a chunk's size, which is all that Tornado reads so. It knows no extensions and no trailer, so
        both are taken away before it looks."""
        return self._read(self._chunk_size)

    def read_bytes(self, num_bytes: int, partial: bool = False) -> asyncio.Future[bytes]:
        """So many, or those that there are if a part will do."""

        def enough() -> int:
            there = min(num_bytes, len(self._unread))
            return there if partial or there == num_bytes else 0

        return self._read(enough)

    def _through(self, pattern: re.Pattern[bytes], most: int) -> int:
        match = pattern.search(self._unread, 0, most)
        if match is None and len(self._unread) > most:
            raise UnsatisfiableReadError
        return match.end() if match else 0

    def _chunk_size(self) -> int:
        """How long the line with a chunk's size is, the size alone; 0 as long as not all of it is there. The last
        chunk's is there when its trailer is."""
        line = _CHUNK.match(self._unread, 0, CHUNK_MAX)
        if line is None:
            if b"\r\n" in self._unread[:CHUNK_MAX] or len(self._unread) >= CHUNK_MAX:
                raise UnsatisfiableReadError
            return 0
        end = line.end()
        if not int(line[1], 16):
            last = self._unread.find(b"\r\n\r\n", end - 2, end + HEADER_MAX)
            if last < 0:
                if len(self._unread) >= end + HEADER_MAX:
                    raise UnsatisfiableReadError
                return 0
            end = last + 2
            if not _TRAILER.fullmatch(self._unread, line.end(), end):
                raise UnsatisfiableReadError
        self._unread[line.end(1) : end] = b"\r\n"
        return line.end(1) + 2

    def _read(self, find: Callable[[], int]) -> asyncio.Future[bytes]:
        found: asyncio.Future[bytes] = self.loop.create_future()
        self._wanted = find, found
        if self._closed:
            self._forsake()
        else:
            self._advance()
        return found

    def _advance(self) -> None:
        """Hand over what is waited for, if it is there; hang up if it cannot come any more."""
        if self._unread and self.phase == "idle":
            self.enter("head")
        if self._wanted is None:
            return
        find, found = self._wanted
        try:
            end = find()
        except UnsatisfiableReadError:
            if self.phase == "head":
                self._say(Problem(431, f"the headers have more than {HEADER_MAX} bytes"))
            self.close()
            return
        if end:
            data = bytes(self._unread[:end])
            del self._unread[:end]
            self._wanted = None
            if not found.done():
                found.set_result(data)
            if len(self._unread) <= UNREAD_MAX:
                self._listen()
        elif self._ended:
            self.close()

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

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Send it, as soon as the client takes it; nothing once it was closed."""
        done: asyncio.Future[None] = self.loop.create_future()
        done.set_result(None)
        if data == _TORNADOS_400:  # we can say more
            self._say(Problem(400, "this is not HTTP/1.1"))
        else:
            self.send(data)
        return done

    def send(self, data: bytes) -> None:
        """The same, for callers that do not wait until it is sent."""
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

    def close(self, exc_info: Any = False) -> None:
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

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Set the function that is called when the connection is no more."""
        self._when_closed = callback

    def _say(self, problem: Problem) -> None:
        """The last words to a client whose request will not be handled."""
        if self._closed or self.phase not in _RECEIVING:
            return
        self.enter("over")
        request = new_id()
        self.send(wire(problem.answer(request), request, "close"))
        self.close()

    def _forsake(self) -> None:
        """Nothing more is read."""
        self._closed = True
        self._unread.clear()
        if self._wanted is not None:
            (_, found), self._wanted = self._wanted, None
            if not found.done():
                found.set_exception(StreamClosedError())
                found.exception()  # whoever wanted it may have gone

    # ---- what Tornado asks of an IOStream besides

    @property
    def io_loop(self) -> IOLoop:
        """The event loop."""
        return IOLoop.current()

    def set_nodelay(self, value: bool) -> None:
        """It is so from the start, by the transport."""


@functools.cache
def _pattern(regex: bytes) -> re.Pattern[bytes]:
    return re.compile(regex)  # it has a cache too, which costs more
