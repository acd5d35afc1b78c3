"""`gorgond client`: many clients ask a web server for random users' notes, and their waiting is measured.

With a rate the requests come at times laid down beforehand, at random like those of people who know nothing of each
other (a Poisson process); each is measured from the time it was due. A server that stalls does not slow the requests
down, and what had to wait counts with its waiting. Without a rate every client asks again as soon as it is answered.

A request that is due while every connection is busy waits for the next one that is free. When a request was sent late,
for this or because the client itself is slow, that time counts as waiting; the report says how much that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import sys
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from gorgond.commands.http11 import Connection
from gorgond.commands.report import Report
from gorgond.errors import GorgonError
from gorgond.service.loop import run

TIMEOUT = 15.0  # seconds until an unanswered request is given up: longer than the web server's own deadline
SWEEP = 0.25  # seconds between two looks for requests to be given up
PAUSE = 0.2  # seconds until a client that was refused a connection tries again
TIMER = 0.0005  # seconds that a request may be early, since timers are no better; then it counts from its sending
AT_ONCE = 100  # connections being made at one time, so that the server's backlog need not hold them all


@dataclass(frozen=True, slots=True)
class Load:
    """The load that is asked for: `rate` is requests a second in all, None for as many as are answered."""

    url: str
    clients: int
    duration: float
    rate: float | None
    users: int
    lim: int


def client(load: Load, json: bool, png: str | None) -> int:
    """Measure and report: 0 when every request was answered with 200, 1 when not."""
    if png is not None:
        from gorgond.commands.plot import plot  # now, so that a missing library shows before the measurement
    clients = Clients(load)
    run(clients.run())
    report = clients.report
    print(report.json() if json else report.text())
    if png is not None:
        plot(report, png)
        print(f"drawn in {png}", file=sys.stderr)
    return 1 if report.errors or not report.answers else 0


class Clients:
    """All clients of one measurement."""

    def __init__(self, load: Load) -> None:
        parts = urlsplit(load.url)
        if parts.scheme != "http" or not parts.hostname:
            raise GorgonError(f"--url cannot be {load.url!r}; allowed: http://host:port")
        self.report = Report(load.url, load.clients, load.rate)
        self._load = load
        self._where = parts.hostname, parts.port or 80
        self._before = f"GET {parts.path.rstrip('/')}/info/".encode()
        self._after = f"?lim={load.lim} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._all: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()  # since when requests wait for a free connection
        self._connecting: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._asking = False
        self._waiting = 0  # requests that were sent and not answered
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Connect, ask for as long as was said, wait for the last answers."""
        self._where = await self._reachable()
        _allow_files(self._load.clients + 100)
        for _ in range(self._load.clients):
            self._connect()
        await asyncio.wait(self._connecting)
        sweeping = asyncio.get_running_loop().create_task(self._sweep())
        self._asking = True
        self.report.begin()
        if self._load.rate is None:
            while self._free:
                self._ask(self._free.popleft(), time.monotonic())
            await asyncio.sleep(self._load.duration)
        else:
            await self._schedule(self._load.rate)
        self._asking = False
        self.report.end()
        self._end_when_answered()
        await self._ended.wait()
        sweeping.cancel()
        for task in self._connecting:
            task.cancel()
        for connection in self._all:
            connection.close("end")

    async def _reachable(self) -> tuple[str, int]:
        """The address that accepts connections, of those that the host's name has."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(*self._where), TIMEOUT)
        except OSError as error:
            raise GorgonError(f"nobody answers at {self._load.url}: {_reason(error)}") from None
        address = writer.get_extra_info("peername")
        writer.close()
        return str(address[0]), int(address[1])

    # ---- asking

    async def _schedule(self, rate: float) -> None:
        """Ask at random times, so many a second on the average."""
        due = time.monotonic()
        end = due + self._load.duration
        while (due := due + random.expovariate(rate)) < end:
            if (early := due - time.monotonic()) > TIMER:
                await asyncio.sleep(early)
            since = min(due, time.monotonic())
            if self._free:
                self._ask(self._free.popleft(), since)
            else:
                self._due.append(since)
        await asyncio.sleep(end - time.monotonic())

    def _ask(self, connection: Connection, since: float) -> None:
        connection.send(b"%s%d%s" % (self._before, random.randrange(self._load.users), self._after), since)
        self._waiting += 1
        self.report.count_sent(since)

    def on_answer(self, connection: Connection, status: int) -> None:
        self._waiting -= 1
        if status == 200:
            self.report.answer(connection.since)
        else:
            self.report.error(f"status {status}")
        if not connection.closing:
            self._next(connection)
        self._end_when_answered()

    def _end_when_answered(self) -> None:
        if not (self._asking or self._waiting or self._due):
            self._ended.set()

    def _next(self, connection: Connection) -> None:
        """The connection is free: what comes next on it."""
        if self._due:
            self._ask(connection, self._due.popleft())
        elif self._asking and self._load.rate is None:
            self._ask(connection, time.monotonic())
        else:
            self._free.append(connection)

    async def _sweep(self) -> None:
        """Give up what has waited for too long."""
        while True:
            await asyncio.sleep(SWEEP)
            oldest = time.monotonic() - TIMEOUT
            for connection in tuple(self._all):
                if connection.busy and connection.since < oldest:
                    connection.close("timeout")
            while self._due and self._due[0] < oldest:
                self._due.popleft()
                self.report.error("timeout")
            self._end_when_answered()

    # ---- connections

    def _connect(self) -> None:
        task = asyncio.get_running_loop().create_task(self._keep_connecting())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _keep_connecting(self) -> None:
        """Make a connection, however often it is refused."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._gate, asyncio.timeout(TIMEOUT):
                    _, connection = await loop.create_connection(lambda: Connection(self), *self._where)
            except OSError as error:
                self.report.error(f"connect: {_reason(error).lower()}")
                await asyncio.sleep(PAUSE)
            else:
                self._all.add(connection)
                self._next(connection)
                return

    def on_loss(self, connection: Connection, reason: str) -> None:
        self._all.discard(connection)
        with contextlib.suppress(ValueError):
            self._free.remove(connection)
        if connection.busy:
            self._waiting -= 1
            self.report.error(reason)
            self._end_when_answered()
        if self._asking or self._due:
            self._connect()


def _reason(error: OSError) -> str:
    """The fault in words, whatever words the event loop has for it."""
    return os.strerror(error.errno) if error.errno else str(error) or "timeout"


def _allow_files(number: int) -> None:
    """Every connection is an open file; usually more are allowed than are allowed at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
