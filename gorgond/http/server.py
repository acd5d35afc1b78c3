"""The protocol part: Tornado's HTTP/1.1 with our limits, timeouts, error answers and an end that nobody notices.

A request goes from Tornado's parser straight to its handler, without a RequestHandler in between: that is most of what
a request costs here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from tornado import netutil
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, RequestStartLine
from tornado.iostream import IOStream, StreamClosedError

from gorgond.errors import BadRequest, GorgonError
from gorgond.http.answers import Answer, Problem, reason
from gorgond.http.routes import Request, Routes
from gorgond.redpill import new_id, now_ms
from gorgond.service.log import request_id

BODY_MAX = 1024 * 1024  # bytes in a request's body
HEADER_MAX = 16 * 1024  # bytes in its headers
HEADER_TIMEOUT = 10.0  # seconds from a request's first byte to the end of its headers
BODY_TIMEOUT = 15.0  # seconds for its body
IDLE_TIMEOUT = 60.0  # seconds a connection is kept without a request
WAITING_MAX = 10_000  # requests being handled at one time; beyond it 503
WAITING_BYTES_MAX = 32 * 1024 * 1024  # the same for the sum of their bodies
GRACE = 0.25  # seconds for which a draining server still takes requests on idle connections
BACKLOG = 4096

log = logging.getLogger("gorgond.http")
Translate = Callable[[GorgonError], Problem]
Measure = Callable[[str, int, float], None]


class Server(HTTPServerConnectionDelegate):
    """Serves `routes`; `translate` makes a Problem of an error that a handler raised, `measure` hears the route,
    status and seconds of each request."""

    def __init__(self, routes: Routes, deadline: float, translate: Translate, measure: Measure) -> None:
        self.routes = routes
        self.deadline_ms = int(deadline * 1000)
        self.translate = translate
        self.measure = measure
        self.draining = False
        self.exchanges: set[Exchange] = set()
        self.waiting_bytes = 0
        self._connections: dict[object, _Patience] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._tornado = _Tornado(self)

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Serve these listening sockets."""
        self._tornado.add_sockets(sockets)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def drain(self) -> None:
        """Accept nothing more, finish what is begun, close. The listening sockets are closed, not shut down: other
        processes may hold them too."""
        self.draining = True
        self._tornado.stop()
        grace = time.monotonic() + GRACE
        while self.exchanges or (self._connections and time.monotonic() < grace):
            await asyncio.sleep(0.01)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._tornado.close_all_connections()

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return Exchange(self, request_conn, self._connections.get(server_conn))

    def on_close(self, server_conn: object) -> None:
        self._connections.pop(server_conn, None)

    def opened(self, server_conn: object, patience: _Patience) -> None:
        """A connection was made."""
        self._connections[server_conn] = patience

    async def _sweep(self) -> None:
        """Close connections that have used up our patience."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for patience in list(self._connections.values()):
                patience.check(now)


class _Tornado(HTTPServer):
    """Tornado's server with our limits; its timers, one for each request, are replaced by one sweep a second."""

    def initialize(self, front: Server) -> None:  # type: ignore[override]
        # Tornado would answer a body that is too large with a bare 400; ours is 413, so its limit is out of the way.
        super().initialize(front, max_header_size=HEADER_MAX, max_body_size=1 << 40, body_timeout=BODY_TIMEOUT)
        self.conn_params.header_timeout = None
        self._front = front

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        before = set(self._connections)
        super().handle_stream(stream, address)
        for connection in self._connections - before:
            self._front.opened(connection, _Patience(stream))


class _Patience:
    """How long a connection may still do what it does: nothing, or send its headers."""

    __slots__ = ("_begun", "_since", "_stream")

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._since = time.monotonic()
        self._begun = True  # a new connection owes a request
        read = stream.read_from_fd

        def read_from_fd(buf: bytearray | memoryview) -> int | None:
            if not self._begun:
                self._begun, self._since = True, time.monotonic()
            return read(buf)

        stream.read_from_fd = read_from_fd  # type: ignore

    def served(self) -> None:
        """A request was answered."""
        self._begun, self._since = False, time.monotonic()

    def received(self) -> None:
        """The headers are complete; other limits hold from here."""
        self._since = float("inf")

    def check(self, now: float) -> None:
        """Close the connection if it has waited for too long."""
        if now - self._since > (HEADER_TIMEOUT if self._begun else IDLE_TIMEOUT):
            self._stream.close()


class Exchange(HTTPMessageDelegate):
    """One request and its answer."""

    __slots__ = ("_answered", "_body", "_connection", "_front", "_headers", "_keep", "_line", "_patience", "_route",
                 "_size", "_started", "_task", "id", "parameters")  # fmt: skip

    def __init__(self, front: Server, connection: HTTP1Connection, patience: _Patience | None) -> None:
        self._front = front
        self._connection = connection
        self._patience = patience
        self._body: list[bytes] = []
        self._size = 0
        self._answered = False
        self._task: asyncio.Task[None] | None = None
        self._route = ""
        self.id = ""

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        self._started = time.perf_counter()
        self._line: RequestStartLine = start_line
        self._headers = headers
        self.id = new_id()
        if self._patience is not None:
            self._patience.received()
        connection = headers.get("Connection", "").lower()
        self._keep = "close" not in connection if start_line.version == "HTTP/1.1" else "keep-alive" in connection
        length = headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > BODY_MAX:
            self._refuse(Problem(413, f"the body has {length} bytes; allowed are {BODY_MAX}"))

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= BODY_MAX:
            self._body.append(chunk)
        elif not self._answered:
            self._refuse(Problem(413, f"the body has more than {BODY_MAX} bytes"))

    def _refuse(self, problem: Problem) -> None:
        """Answer before the whole request is read; the rest of it makes the connection useless."""
        self._keep = False
        self._send(problem.answer(self.id))

    def finish(self) -> None:
        if self._answered:
            return
        front = self._front
        try:
            if len(front.exchanges) >= WAITING_MAX or front.waiting_bytes + self._size > WAITING_BYTES_MAX:
                raise Problem(503, "too many requests are waiting here; try again", {"Retry-After": "1"})
            route, parameters = front.routes.find(self._line.method, self._line.path)
        except Problem as problem:
            self._send(problem.answer(self.id))
            return
        except BadRequest as bad:
            self._send(Problem(400, str(bad), field=bad.field).answer(self.id))
            return
        self._route = f"{route.method} {route.path}"
        request = Request(
            self.id,
            self._line.method,
            self._line.path,
            self._headers,
            b"".join(self._body),
            now_ms() + front.deadline_ms,
            parameters,
        )
        front.exchanges.add(self)
        front.waiting_bytes += self._size
        self._task = asyncio.get_running_loop().create_task(self._handle(route.handler, request))

    async def _handle(self, handler: Any, request: Request) -> None:
        request_id.set(self.id)
        try:
            answer = await handler(request)
        except Problem as problem:
            answer = problem.answer(self.id)
        except BadRequest as bad:
            answer = Problem(400, str(bad), field=bad.field).answer(self.id)
        except GorgonError as error:
            answer = self._front.translate(error).answer(self.id)
        except asyncio.CancelledError:  # the client has gone
            self._done()
            raise
        except Exception:
            log.exception("%s failed", self._route)
            answer = Problem(500, "this failed; the log of the server has the reason").answer(self.id)
        self._done()
        self._send(answer)

    def _done(self) -> None:
        self._front.exchanges.discard(self)
        self._front.waiting_bytes -= self._size

    def _send(self, answer: Answer) -> None:
        self._answered = True
        keep = self._keep and not self._front.draining
        head = [
            f"HTTP/1.1 {answer.status} {reason(answer.status)}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nX-Request-Id: {self.id}\r\n"
        ]
        head += [f"{name}: {value}\r\n" for name, value in answer.headers.items()]
        if not keep:
            head.append("Connection: close\r\n")
        elif self._line.version != "HTTP/1.1":
            head.append("Connection: keep-alive\r\n")
        body = b"" if self._line.method == "HEAD" else answer.body
        data = "".join(head).encode("latin-1") + b"\r\n" + body
        if keep:
            # Tornado is first told that this request is done, so that it reads again before the client, which hears
            # of it a turn of the loop later, sends: otherwise each request switches the socket's polling off and on.
            self._connection.finish()
            asyncio.get_running_loop().call_soon(self._write, data)
            if self._patience is not None:
                self._patience.served()
        else:
            self._write(data, last=True)
        self._front.measure(self._route, answer.status, time.perf_counter() - self._started)

    def _write(self, data: bytes, last: bool = False) -> None:
        stream = self._connection.stream
        try:
            written = stream.write(data)
        except StreamClosedError:
            return
        if last:  # closing at once would cut off what the socket has not taken yet
            written.add_done_callback(lambda future: future.exception() or stream.close())

    def on_connection_close(self) -> None:
        if self._task is not None:
            self._task.cancel()


def open_sockets(address: str, port: int) -> list[socket.socket]:
    """Listening sockets that other processes of this user may open as well (SO_REUSEPORT)."""
    return netutil.bind_sockets(port, address or None, backlog=BACKLOG, reuse_port=True)
