"""A keep-alive HTTP/1.1 client connection that costs its process little: only status and length are read of an answer.

The client must not measure itself: one connection is one asyncio protocol, an answer's body is counted and
forgotten. Answers need a Content-Length, as ours have.
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol, cast

HEAD_MAX = 64 * 1024  # bytes

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,12}) *\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close *\r\n", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})[ \r]")


class Owner(Protocol):
    """Hears what becomes of a connection's requests."""

    def on_answer(self, connection: Connection, status: int) -> None:
        """The request is answered; unless `connection.closing` the next may be sent."""

    def on_loss(self, connection: Connection, reason: str) -> None:
        """The connection is gone, and with it the request under way if `connection.busy`."""


class Connection(asyncio.Protocol):
    """One request at a time. `since` is when the waiting for the one under way began, by time.monotonic."""

    def __init__(self, owner: Owner) -> None:
        self.busy = False
        self.closing = False
        self.since = 0.0
        self._owner = owner
        self._transport: asyncio.Transport
        self._head = b""
        self._left = 0
        self._status = 0
        self._why = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, since: float) -> None:
        """Send a request, for which somebody has been waiting `since`."""
        self.busy, self.since = True, since
        self._transport.write(request)

    def close(self, reason: str) -> None:
        """Break it off; `on_loss` follows with this reason."""
        self.closing = True
        self._why = self._why or reason
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        if not self.busy:
            self.close("answer without request")
        elif self._left:
            self._left -= len(data)
            self._finish()
        else:
            self._take_head(data)

    def _take_head(self, data: bytes) -> None:
        head = self._head + data if self._head else data
        end = head.find(b"\r\n\r\n")
        if end < 0:
            self._head = head
            if len(head) > HEAD_MAX:
                self.close("bad answer")
            return
        self._head = b""
        status, length = _STATUS.match(head), _LENGTH.search(head, 0, end + 2)
        if status is None or length is None:
            self.close("bad answer")
            return
        self._status = int(status[1])
        self._left = end + 4 + int(length[1]) - len(head)
        self.closing = _CLOSE.search(head, 0, end + 2) is not None
        self._finish()

    def _finish(self) -> None:
        if self._left < 0:
            self.close("bad answer")
        elif self._left == 0:
            self.busy = False
            if self.closing:
                self._transport.close()
            self._owner.on_answer(self, self._status)

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self._owner.on_loss(self, self._why or ("reset" if error else "closed"))
