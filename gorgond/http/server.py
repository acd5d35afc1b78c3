"""The protocol part: HTTP/1.1 with our limits, timeouts, error answers and an end that nobody notices."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from tornado import netutil

from gorgond.errors import BadRequest, ConfigError, GorgonError
from gorgond.http.accepting import Acceptor
from gorgond.http.addresses import came_by_tls, client_address
from gorgond.http.answers import BODILESS, Answer, Problem, Streamed, protection, wire
from gorgond.http.cors import sharing
from gorgond.http.framing import Body, body_of
from gorgond.http.heads import Head
from gorgond.http.routes import Handler, Question, Request, Routes
from gorgond.http.stream import Stream
from gorgond.redpill import Call, Reply, contained, handling, new_id, now_ms
from gorgond.validators import Network

BODY_MAX = 1024 * 1024  # bytes in a request's body
DISCARD_MAX = 16 * BODY_MAX  # bytes of a body that is too large which are read, so that the client reads our answer
WAITING_MAX = 10_000  # requests being received or handled at one time; beyond it 503
WAITING_BYTES_MAX = 32 * 1024 * 1024  # the same for the sum of their bodies
HELD_MAX = 64 * 1024 * 1024  # bytes that clients did not take yet, or sent too soon; beyond it the worst are cut off
LARGE = 64 * 1024  # bytes of an answer that is sent only if there is room for it within HELD_MAX
PATIENCE = 5.0  # seconds that a client has for its answer when another one's has no room
HEAVY = 16 * 1024  # bytes of a body that may take long to handle: one step of one such request in each turn of the loop
SWEEP = 1.0  # seconds between two looks at all connections
GRACE = 5.0  # seconds for which a draining server still takes requests on connections whose clients have asked lately
LATELY = 10.0  # seconds; a client that has not asked for so long is not waited for: it may never ask again
BACKLOG = 4096

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HOST = re.compile(rb"(?:[\w.~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")  # RFC 3986, 3.2.2; commas part two of them

log = logging.getLogger("gorgond.http")
Translate = Callable[[GorgonError], Problem]
Show = Callable[[Problem, str, Mapping[str, str]], Answer]
Measure = Callable[[str, int, float, int], None]


class Server:
    """Serves `routes`; `translate` makes a Problem of an error that a handler raised, `show` the answer of a Problem,
    a request's id and its headers; `measure` hears the route, status and seconds of each request, and the bytes of both
    bodies."""

    def __init__(
        self,
        routes: Routes,
        deadline: float,
        translate: Translate,
        measure: Measure,
        show: Show = lambda problem, request, headers: problem.answer(request),
    ) -> None:
        self.routes = routes
        self.deadline_ms = int(deadline * 1000)
        self.translate = translate
        self.show = show
        self.measure = measure
        self.trusted_proxies: Sequence[Network] = ()
        self.secure = False  # whether the site is one of https alone
        self.draining = False
        self.exchanges: set[Exchange] = set()
        self.streams: set[Stream] = set()
        self.slow: set[Stream] = set()  # those of clients that have not taken most of their answer
        self.waiting_bytes = 0
        self._heavy = asyncio.Lock()
        self._acceptor: Acceptor | None = None

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Serve these listening sockets; `sweep` must run beside it."""
        self._acceptor = Acceptor(sockets, self._take)

    async def _take(self, connection: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(self._stream, connection)

    def _stream(self) -> Stream:
        return Stream(self.streams.add, partial(Exchange, self), self.streams.discard, self.slow)

    async def drain(self) -> None:
        """Accept nothing more, finish what is begun, close."""
        self.draining = True
        if self._acceptor is not None:
            await self._acceptor.close()
        began = time.monotonic()
        while self.streams:
            graceful = time.monotonic() < began + GRACE
            if not any(_busy(each) or (graceful and _has_asked_since(each, began - LATELY)) for each in self.streams):
                break
            await asyncio.sleep(0.01)
        while self.streams:
            for stream in self.streams:
                stream.abort()
            await asyncio.sleep(0)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may wait here for their client. Clients that have been taking an answer for long
        make room, the one that began first before others."""
        held = sum(stream.unsent for stream in self.slow)
        now = time.monotonic()
        for stream in sorted(self.slow, key=lambda stream: stream.slow_since):
            if held + size <= HELD_MAX or now - stream.slow_since < PATIENCE:
                break
            held -= stream.unsent
            stream.abort()
        return held + size <= HELD_MAX

    async def turn(self) -> None:
        """Wait until no other request with a heavy body begins, or goes on, in this turn of the event loop."""
        async with self._heavy:
            await asyncio.sleep(0)

    async def sweep(self, beat: Callable[[], None]) -> None:
        """End what has used up our patience, again and again; without it no connection would ever time out."""
        while True:
            beat()
            await asyncio.sleep(SWEEP)
            self._look_around(time.monotonic())

    def _look_around(self, now: float) -> None:
        """Close connections that have used up our patience, or hold too much of our memory."""
        streams = list(self.streams)
        for stream in streams:
            stream.check(now)
        held = sum(stream.held for stream in streams)
        for stream in sorted(streams, key=lambda stream: stream.held, reverse=True):
            if held <= HELD_MAX:
                break
            held -= stream.held
            stream.abort()


class Exchange:
    """One request and its answer."""

    __slots__ = ("_answer", "_answered", "_front", "_head", "_keep", "_origins", "_parts", "_route", "_size",
                 "_started", "_stream", "_work", "body", "id")  # fmt: skip

    def __init__(self, front: Server, stream: Stream, head: Head) -> None:
        self._started = time.perf_counter()
        self._front = front
        self._stream = stream
        self._head = head
        self._parts: list[bytes] = []
        self._size = 0
        self._answered = False
        self._work: Call | asyncio.Task[None] | None = None
        self._route = ""
        self._origins: Sequence[str] = ()
        self.body: Body | None = None
        self.id = new_id()
        handling.set((self.id,))
        connection = head.headers.raw.get(b"connection", b"").lower()
        if head.version == b"1.1":
            self._keep = b"close" not in connection
        else:
            self._keep = connection == b"keep-alive" and head.method in ("GET", "HEAD")
        try:
            self.body = body_of(head)
            _check(head, self.body)
            if len(front.exchanges) >= WAITING_MAX:
                raise _no_room()
        except Problem as problem:
            self._refuse(problem)
            return
        front.exchanges.add(self)
        if self.body is not None:
            stream.enter("body")
            if head.headers.raw.get(b"expect", b"").lower() == b"100-continue" and head.version == b"1.1":
                stream.write(_CONTINUE)

    def data_received(self, data: bytes) -> None:
        front = self._front
        self._size += len(data)
        if self._answered:
            if self._size > DISCARD_MAX:
                self._stream.abort()
            return
        front.waiting_bytes += len(data)
        self._parts.append(data)
        if self._size > BODY_MAX:
            self._refuse(Problem(413, f"the body has more than {BODY_MAX} bytes"))
        elif front.waiting_bytes > WAITING_BYTES_MAX:
            self._refuse(_no_room())

    def _refuse(self, problem: Problem) -> None:
        """Answer before the whole request is read. The rest of it is read all the same and thrown away: a client that
        is still sending does not hear what it is told when the connection is closed."""
        self._keep = False
        self._send(self._show(problem))

    def finish(self) -> None:
        if self._answered:
            self._stream.close()
            return
        self._stream.enter("busy")
        front = self._front
        try:
            route, parameters = front.routes.find(self._head.method, self._head.target)
        except (Problem, BadRequest) as refused:
            self._send(self._answer_to_failure(refused))
            return
        self._route, self._origins = route.name, route.origins
        request = Request(
            self.id,
            self._head.method,
            self._head.target,
            self._head.headers,
            b"".join(self._parts),
            now_ms() + front.deadline_ms,
            client_address(self._stream.client, self._head.headers, front.trusted_proxies),
            parameters,
            self._stream.client,
            front.turn if self._size > HEAVY else None,
        )
        if self._size > HEAVY:
            self._work = self._stream.loop.create_task(self._handle_in_turn(route.handler, request))
        else:
            self._handle(route.handler, request)

    async def _handle_in_turn(self, handler: Handler, request: Request) -> None:
        await request.turn()
        self._handle(handler, request)

    def _handle(self, handler: Handler, request: Request) -> None:
        """Have it handled: by a question, whose reply is passed on as it comes, or by a coroutine."""
        try:
            work = handler(request)
            if isinstance(work, Question):
                self._answer = work.answer
                self._work = work.asker.ask(work.queue, work.message, self._take_reply)
            else:
                self._work = self._stream.loop.create_task(self._wait_for(work))
        except BaseException as error:  # noqa: BLE001 - applications check their parameters here
            self._send(self._answer_to_failure(error))

    async def _wait_for(self, work: Awaitable[Answer]) -> None:
        try:
            answer = await contained(work)
        except Exception as error:  # noqa: BLE001 - each is told
            answer = self._answer_to_failure(error)
        self._send(answer)

    def _take_reply(self, outcome: Reply | GorgonError) -> None:
        before = handling.set((self.id,))
        try:
            if not isinstance(outcome, Reply):
                raise outcome
            if outcome.error is not None:
                raise outcome.error
            answer = self._answer(outcome)
        except BaseException as error:  # noqa: BLE001 - each is told, and ends nothing else
            answer = self._answer_to_failure(error)
        self._send(answer)
        handling.reset(before)

    def _answer_to_failure(self, error: BaseException) -> Answer:
        """How it is told that a handler has raised this."""
        if isinstance(error, Problem):
            return self._show(error)
        if isinstance(error, BadRequest):
            return self._show(_bad(error))
        if isinstance(error, GorgonError):
            return self._show(self._front.translate(error))
        log.error("%s failed", self._route, exc_info=error)
        return self._show(Problem(500, "this failed; the log of the server has the reason"))

    def _show(self, problem: Problem) -> Answer:
        try:
            return self._front.show(problem, self.id, self._head.headers)
        except Exception:
            log.exception("%s: %d cannot be shown", self._route, problem.status)
            return problem.answer(self.id)

    def _send(self, answer: Answer) -> None:
        if len(answer.body) > LARGE and not self._front.has_room(len(answer.body)):
            answer = self._show(_no_room())
        self._answered = True
        self._leave()
        head = self._head
        streamed = isinstance(answer, Streamed) and head.method != "HEAD"
        keep = self._keep and not self._front.draining and not streamed
        connection = "close" if not keep else "" if head.version == b"1.1" else "keep-alive"
        if keep:
            self._write(answer, connection)
            self._stream.finish_answer()
        elif isinstance(answer, Streamed) and streamed:
            self._stream.enter("sending" if answer.ends else "streaming")
            self._write(answer, connection)
            answer.begin(self._stream)
            if self._front.draining:
                self._stream.close()
        else:
            received = self._stream.phase == "busy"
            self._stream.enter("over")
            self._write(answer, connection)
            if received:
                self._stream.close()
        seconds = time.perf_counter() - self._started
        self._front.measure(self._route, answer.status, seconds, self._size + len(answer.body))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %.200s: %d in %.1f ms", head.method, head.target, answer.status, seconds * 1000)

    def _write(self, answer: Answer, connection: str) -> None:
        bodiless = self._head.method == "HEAD" or answer.status in BODILESS
        alone = bodiless or len(answer.body) > LARGE  # to put a large body behind the headers would copy it
        self._stream.write(wire(answer, self.id, connection, alone, self._protection()))
        if alone and not bodiless:
            self._stream.write(answer.body)

    def _protection(self) -> Mapping[str, str]:
        front = self._front
        secure = front.secure or (
            bool(front.trusted_proxies) and came_by_tls(self._stream.client, self._head.headers, front.trusted_proxies)
        )
        own = protection(" /auth/" in self._route, secure)
        if self._origins:
            return {**own, **sharing(self._origins, self._head.headers.get("Origin", ""))}
        return own

    def _leave(self) -> None:
        if self in self._front.exchanges:
            self._front.exchanges.remove(self)
            self._front.waiting_bytes -= self._size
            self._parts.clear()

    def on_loss(self) -> None:
        """The client has gone."""
        self._leave()
        if isinstance(self._work, Call):
            self._work.forget()
        elif self._work is not None:
            self._work.cancel()


def _busy(stream: Stream) -> bool:
    """Whether something would be lost if it were closed now."""
    return stream.unsent > 0 or (not stream.closed() and (stream.phase != "idle" or stream.unread()))


def _has_asked_since(stream: Stream, time: float) -> bool:
    """Whether its client has had an answer since then, and may ask again."""
    return stream.phase == "idle" and stream.since > time


def _bad(bad: BadRequest) -> Problem:
    return Problem(400, str(bad), field=bad.field)


def _check(head: Head, body: Body | None) -> None:
    """Raises Problem when a request with this head is not read any further: it is not clear for whom it is, or its body
    is not to be taken."""
    raw = head.headers.raw
    host = raw.get(b"host")
    if host is None and head.version == b"1.1":
        raise Problem(400, "Host: must be given once")
    if host is not None and not _HOST.fullmatch(host):
        raise Problem(400, "Host: must be the name or the address of one host, and perhaps a port")
    if raw.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem(415, "the body must not be compressed", {"Accept-Encoding": "identity"})
    if body is not None and body.length > BODY_MAX:
        raise Problem(413, f"the body has {body.length} bytes; allowed are {BODY_MAX}")


def _no_room() -> Problem:
    return Problem(503, "too many requests are waiting here; try again", {"Retry-After": "1"}, reason="no_room")


def open_port(address: str, port: int, alone: bool = False, flag: str = "--port") -> list[socket.socket]:
    """Listening sockets at an address, empty for all; unless `alone`, other processes of this user may open the same
    (SO_REUSEPORT). Raises ConfigError, which names the `flag` that chooses another port."""
    try:
        return netutil.bind_sockets(port, address or None, backlog=BACKLOG, reuse_port=not alone)
    except OSError as error:
        advice = f"; {flag} chooses another port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        raise ConfigError(f"cannot listen on {address or '*'}:{port}: {error.strerror or error}{advice}") from None
