"""Connections to servers outside, whose handshake may hang: Tornado before 6.6 keeps such a one for as long as its
server does, and nobody counts them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import Resolver
from tornado.tcpclient import TCPClient


class HandshakeHangs(StreamClosedError):
    """A server did not come to an end with its handshake."""


class Connections(TCPClient):
    """Tornado's, of which a handshake has so many seconds."""

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        super().__init__(resolver)
        self._seconds = seconds

    async def connect(self, host: str, port: int, *args: Any, ssl_options: Any = None, **options: Any) -> IOStream:
        """As Tornado's. Raises HandshakeHangs, too."""
        stream = await super().connect(host, port, *args, **options)
        return stream if ssl_options is None else await self._secured(stream, ssl_options, host)

    async def _secured(self, stream: IOStream, tls: ssl.SSLContext, host: str) -> IOStream:
        number = stream.socket.fileno()  # what is secured keeps it
        secured = stream.start_tls(False, tls, host)
        if not (await asyncio.wait([secured], timeout=self._seconds))[0]:
            with socket.socket(fileno=os.dup(number)) as same:
                same.shutdown(socket.SHUT_RDWR)
            await asyncio.wait([secured])
            raise HandshakeHangs from secured.exception()
        return secured.result()
