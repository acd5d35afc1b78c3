"""One client's websocket, with its bounds: what it may send, and how much may wait for it.

It is what python-engineio's driver for Tornado takes for a request: the driver asks it for `request`, `write_message`,
`close` and `get_next_message`. What we tell goes out here as well, past the driver's own queue, which has no bound
(python-engineio#133): whoever does not take what is written is cut, and comes again.

A connection of a client is a websocket from the start. Long polling would need each request of a client to come to the
same process, which a port that several share cannot see to.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from tornado.http1connection import HTTP1Connection
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from gorgond.app.following import Follower

PACKET_MAX = 64 * 1024  # bytes that a client may send at once; more closes its connection
PACKETS_WAITING_MAX = 200  # that a client has not taken; then it is cut
BYTES_WAITING_MAX = 256 * 1024  # the same
KERNEL_BUFFER = 64 * 1024  # bytes that the kernel takes for a client beside that
RECEIVED_MAX = 16  # packets of a client that wait to be looked at; meanwhile no more is read from it
ENTER = 10.0  # seconds until who has not said who it is is cut
POLLING = "websocket only: set transports: ['websocket'], or read /me/notifications/live"
VERSION = "Engine.IO 4 only: socket.io-client 3 or newer, or what speaks as that does"

# What a client may send (Engine.IO 4): closing, ping, pong, and of Socket.IO's packets those that have no attachment.
_TAKEN = re.compile(r"[123]\Z|4[0-3]")
_ENTERS, _ENTERED = "40", "40"  # how the packets begin by which a client asks to be let in, and is

log = logging.getLogger("gorgond.live")


class Port(Protocol):
    """What a connection came by."""

    @property
    def full(self) -> bool:
        """Whether there are as many as may be."""

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page from there may connect to this host."""

    async def serve(self, client: Socket) -> None:
        """Speak Socket.IO with a client, until it goes."""

    def has_come(self, client: Socket) -> None:
        """There is one more."""

    def has_entered(self, client: Socket) -> None:
        """It was told that it is let in: now it may be told more."""

    def takes(self, client: Socket) -> None:
        """It has taken all that it was told."""

    def has_gone(self, client: Socket) -> None:
        """It is there no more."""


class Socket(WebSocketHandler):
    """A client."""

    follower: Follower | None = None  # set when we know who it is

    def initialize(self, port: Port) -> None:
        self._port = port
        self._received: asyncio.Queue[str | None] = asyncio.Queue(RECEIVED_MAX)
        self._packets = self._bytes = 0  # written, and not yet taken
        self._has_asked = False
        self._entering: asyncio.TimerHandle
        self._serving: asyncio.Task[None]

    # ---- coming

    def prepare(self) -> None:
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)  # noqa: S101 - for the types: it is HTTP
        self._stream = connection.stream
        if self.request.method != "GET" or self.get_query_argument("transport", "polling") != "websocket":
            self._refuse(400, POLLING)
        elif self.get_query_argument("EIO", "") != "4":
            self._refuse(400, VERSION)
        elif self.get_query_argument("sid", ""):
            self._refuse(400, POLLING)
        elif (origin := self.request.headers.get("Origin")) and not self._port.allows(origin, self.request.host):
            self._refuse(403, "pages of this site may not connect: [notify] origins has those that may")
        elif self._port.full:
            self._refuse(503, "too many clients are connected here; try again", {"Retry-After": "5"})

    def _refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.set_status(status)
        for name, text in (headers or {}).items():
            self.set_header(name, text)
        self.finish({"error": {"code": status, "message": message}})

    def check_origin(self, origin: str) -> bool:
        return True  # `prepare` has looked

    def get_compression_options(self) -> None:
        """None: a client that compresses costs 300 KB."""

    async def open(self, *_: str, **__: str) -> None:
        self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        loop = asyncio.get_running_loop()
        self._entering = loop.call_later(ENTER, self.cut)
        self._port.has_come(self)
        self._serving = loop.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            await self._port.serve(self)
        except Exception:  # foreign code, and what a client sends to it
            log.debug("a client is cut", exc_info=True)
        finally:
            self.cut()

    # ---- what it sends

    async def on_message(self, message: str | bytes) -> None:
        if not isinstance(message, str) or not _TAKEN.match(message):
            self.cut()
            return
        if message.startswith(_ENTERS):
            if self._has_asked:  # a second time, as no client does
                self.cut()
                return
            self._has_asked = True
        await self._received.put(message)

    async def get_next_message(self) -> str | None:
        """The next packet; None when there will be none."""
        return await self._received.get()

    # ---- what it is told

    def send(self, packet: bytes) -> None:
        """Send it a packet, unless it has gone."""
        try:
            self.write_message(packet)
        except WebSocketClosedError:
            log.debug("a client has gone")

    def write_message(self, message: bytes | str | dict[str, Any], binary: bool = False) -> asyncio.Future[None]:
        size = len(message)
        if self._packets >= PACKETS_WAITING_MAX or self._bytes + size > BYTES_WAITING_MAX:
            self.cut()
            raise WebSocketClosedError
        written = super().write_message(message, binary)
        self._packets += 1
        self._bytes += size
        written.add_done_callback(lambda done: self._has_taken(size, done))
        if self.follower is not None and isinstance(message, str) and message.startswith(_ENTERED):
            self._entering.cancel()
            self._port.has_entered(self)
        return written

    def _has_taken(self, size: int, written: asyncio.Future[None]) -> None:
        self._packets -= 1
        self._bytes -= size
        if not written.cancelled():
            written.exception()  # it has gone: nobody else asks
        if not self._packets:
            self._port.takes(self)

    @property
    def waits(self) -> bool:
        """Whether something waits for it to be taken."""
        return self._packets > 0

    # ---- going

    def cut(self) -> None:
        """End the connection at once; the client comes again by itself."""
        self._stream.close()

    def on_close(self) -> None:
        self._entering.cancel()
        while not self._received.empty():
            self._received.get_nowait()
        self._received.put_nowait(None)
        self._port.has_gone(self)
