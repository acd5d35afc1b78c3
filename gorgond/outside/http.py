"""Asking a server outside over HTTP. Its answer may say anything, come one byte at a time, or never end: it is given
20 seconds and 64 KB. What it says is told; where it wants to send us, we do not go.

What an answer means is known when its headers are there: a body that is cut off, or larger than we read, changes
nothing of that.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tornado.httpclient import HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from gorgond.errors import Unreachable
from gorgond.outside.connections import Connections, HandshakeHangs
from gorgond.outside.lookups import JudgedAddresses, LookUp, look_up
from gorgond.validators import Network

SECONDS = 20.0  # for all of it: the name, the connection, the answer
HANDSHAKE = 0.9  # of that, for a handshake: who hangs in one is to be told as one who does not answer
HEADERS_MAX = 16 * 1024  # bytes of an answer's headers
BODY_MAX = 64 * 1024  # and of its body
UNDER_WAY = 1000  # requests at the same time; those who ask have bounds of their own
REASON_MAX = 200  # characters of what went wrong


class Answer(NamedTuple):
    """What was answered. `whole`: it came to its end, and fitted."""

    status: int
    headers: HTTPHeaders
    body: bytes
    whole: bool


class HttpClient:
    """Asks servers outside. It verifies their certificates by the authorities that this host trusts, knows no proxy,
    and connects to no address that is private, but for networks that are `allowed`. An answer has `seconds`; `look_up`
    asks for a name's addresses."""

    def __init__(self, allowed: Sequence[Network] = (), seconds: float = SECONDS, look_up: LookUp = look_up) -> None:
        # Tornado writes a line for each server whose answer makes no sense. Who asks is told, and tells it once.
        logging.getLogger("tornado.general").setLevel(logging.CRITICAL)
        self._tls = ssl.create_default_context()
        self._seconds = seconds
        self._http = _Client(
            force_instance=True,
            handshake=seconds * HANDSHAKE,
            max_clients=UNDER_WAY,
            resolver=JudgedAddresses(allowed=allowed, look_up=look_up, seconds=seconds / 2),
            max_buffer_size=2 * BODY_MAX,
            max_header_size=HEADERS_MAX,
            max_body_size=BODY_MAX,
        )

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """The answer. Raises Unreachable, saying why there is none, and PrivateAddress, which is one, where nobody was
        asked."""
        heard = _Heard()
        request = HTTPRequest(
            url, method, dict(headers or {}), body, connect_timeout=self._seconds, request_timeout=self._seconds,
            follow_redirects=False, decompress_response=False, user_agent="gorgond", ssl_options=self._tls,
            header_callback=heard.line, streaming_callback=heard.body.extend,
        )  # fmt: skip
        try:
            await self._http.fetch(request, raise_error=False)
        except Unreachable:
            raise
        except Exception as error:  # a server may do what it likes, and Tornado raises many kinds
            if heard.status < 200:
                raise Unreachable(self._reason(error)) from error
            return Answer(heard.status, heard.headers, bytes(heard.body), whole=False)
        return Answer(heard.status, heard.headers, bytes(heard.body), whole=True)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, HTTPTimeoutError | TimeoutError | HandshakeHangs):
            return f"it has not answered within {self._seconds:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not good: {error.verify_message}"[:REASON_MAX]
        if isinstance(error, StreamClosedError):
            return "it has closed the connection, and said nothing"
        return f"it cannot be reached: {error or type(error).__name__}"[:REASON_MAX]

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()


class _Client(SimpleAsyncHTTPClient):
    """Tornado's client, over connections whose handshakes have `handshake` seconds."""

    def initialize(self, handshake: float, **options: Any) -> None:  # type: ignore[override]
        super().initialize(**options)
        self.tcp_client = Connections(self.resolver, handshake)


class _Heard:
    """What has been answered so far: the last headers, after those that only said to wait."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = HTTPHeaders()
        self.body = bytearray()
        self._complete = True

    def line(self, line: str) -> None:
        """A line of the headers, as Tornado gives it: the first says the status, an empty one ends them."""
        if self._complete:
            self._complete = False
            self.status, self.headers = int(line.split(" ", 2)[1]), HTTPHeaders()
        elif line.strip():
            self.headers.parse_line(line.rstrip("\r\n"))
        else:
            self._complete = True
