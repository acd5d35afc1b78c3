"""Clients of Socket.IO by hand, thousands in a process, and a server that only echoes, to compare with.

python -m tools.proofs.sockets PORT      the echo: what a client sends comes back
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from tornado.web import Application
from tornado.websocket import WebSocketHandler

from gorgond.service.systemd import Notifier

BACK = (0.5, 1.5)  # seconds until a client that was cut comes again, as with socket.io-client
STALLED_BUFFER = 4096  # bytes that the kernel takes for a client that reads nothing


class Client(asyncio.Protocol):
    """One that comes again when it is cut. `told` is called with each event and its data. A `stalled` one reads nothing
    once it was let in, and does not come again."""

    def __init__(self, port: int, token: str, told: Callable[[Client, str, Any], None], stalled: bool = False) -> None:
        self.since = 0
        self.entered = asyncio.Event()
        self.longest_away = 0.0
        self._port, self._token, self._told, self._stalled = port, token, told, stalled
        self._away_since = 0.0
        self._ends = False
        self._received = b""
        self._upgraded = False
        self._transport: asyncio.Transport
        self._coming: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect; `entered` says when it is let in."""
        while not self._ends:
            connection = socket.socket()
            connection.setblocking(False)
            if self._stalled:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
                await loop.create_connection(lambda: self, sock=connection)
            except OSError:
                connection.close()
                await asyncio.sleep(random.uniform(*BACK))
                continue
            return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the types
        self._transport = transport
        self._received, self._upgraded = b"", False
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._upgraded:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self._transport.abort()
                return
            self._upgraded, self._received = True, rest
        while (packet := self._next()) is not None:
            self._take(packet)

    def _next(self) -> bytes | None:
        """The next packet, if it is there."""
        have, start = self._received, 2
        if len(have) < start:
            return None
        size = have[1]
        if size == 126:
            start = 4
            size = struct.unpack("!H", have[2:4])[0] if len(have) >= start else 1 << 30
        elif size == 127:
            start = 10
            size = struct.unpack("!Q", have[2:10])[0] if len(have) >= start else 1 << 30
        if len(have) < start + size:
            return None
        self._received = have[start + size :]
        return b"\x08" if have[0] & 15 == 8 else have[start : start + size]

    def _take(self, packet: bytes) -> None:
        if packet.startswith(b"42"):
            event, data = json.loads(packet[2:])
            if event in ("notification", "ready", "reset"):
                self.since = data["number"]
            self._told(self, event, data)
        elif packet.startswith(b"40"):
            if self._away_since:
                self.longest_away = max(self.longest_away, time.monotonic() - self._away_since)
            self.entered.set()
            if self._stalled:
                self._transport.pause_reading()
        elif packet == b"2":
            self.send(b"3")
        elif packet.startswith(b"0"):
            self.send(b"40" + json.dumps({"token": self._token, "since": self.since}).encode())
        elif packet == b"\x08":
            self._transport.close()

    def send(self, packet: bytes) -> None:
        """Send a packet, of less than 64 KB."""
        size = len(packet)
        length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0xFE, size)
        self._transport.write(b"\x81" + length + bytes(4) + packet)

    def connection_lost(self, _: Exception | None) -> None:
        self.entered.clear()
        self._away_since = time.monotonic()
        if not self._ends and not self._stalled:
            self._coming = asyncio.get_running_loop().create_task(self._come_again())

    async def _come_again(self) -> None:
        await asyncio.sleep(random.uniform(*BACK))
        await self.connect()

    def end(self) -> None:
        """Go, and do not come again."""
        self._ends = True
        self._transport.abort()


class Echo(WebSocketHandler):
    """Says what a client of ours waits for, then what it is told."""

    def open(self, *_: str, **__: str) -> None:
        self.write_message('0{"sid":""}')

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


async def _echo(port: int) -> None:
    Application([("/socket.io/", Echo)]).listen(port, "127.0.0.1")
    Notifier().ready()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_echo(int(sys.argv[1])))
