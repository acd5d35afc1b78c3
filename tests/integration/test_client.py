"""`gorgond client` against little servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gorgond import cli
from gorgond.commands import client as client_module
from gorgond.commands.client import Clients, Load
from gorgond.commands.report import Report
from tests.waiting import eventually_async

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def served(answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[bytes]]) -> AsyncIterator[str]:
    """A server that gives `answer(head, writer)` to each request; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(await answer(await reader.readuntil(b"\r\n\r\n"), writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def measure(url: str, clients: int = 5, duration: float = 0.5, rate: float | None = None) -> Report:
    running = Clients(Load(url, clients, duration, rate, users=10, lim=3))
    await running.run()
    return running.report


async def test_asks_for_random_users_on_kept_connections() -> None:
    # given a server that notes what it is asked, and by whom
    targets: set[bytes] = set()
    connections: set[object] = set()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> bytes:
        targets.add(head.split()[1])
        connections.add(writer)
        return OK

    # when five clients ask as fast as they can
    async with served(answer) as url:
        report = await measure(url)
    # then all users were asked about, over five connections
    assert targets == {b"/info/%d?lim=3" % uid for uid in range(10)}
    assert len(connections) == 5
    assert report.answers > 100
    assert not report.errors


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> bytes:
        for piece in (OK[:10], OK[10:-7], OK[-7:-2]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        return OK[-2:]

    async with served(answer) as url:
        report = await measure(url)
    assert report.answers > 10
    assert not report.errors


async def test_the_rate_is_kept_and_a_stall_counts_for_all_who_waited() -> None:
    # given a server that once does nothing for 0.4 s
    stalls = iter([False] * 50 + [True])
    free = asyncio.Event()
    free.set()

    async def answer(_: bytes, __: asyncio.StreamWriter) -> bytes:
        if next(stalls, False):
            free.clear()
            asyncio.get_running_loop().call_later(0.4, free.set)
        await free.wait()
        return OK

    # when 200 requests a second are due, at two clients
    async with served(answer) as url:
        report = await measure(url, clients=2, duration=2, rate=200)
    # then the rate is kept all the same, and not two requests were slow but all that were due meanwhile
    assert report.answers == pytest.approx(400, rel=0.25)
    slow = sum(1 for _ in range(100) if report.latency.percentile(100 - _) > 100_000)
    assert slow >= 8  # percent
    assert report.late.highest > 100_000


async def test_errors_are_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a server that fails in turn, in every way
    monkeypatch.setattr(client_module, "TIMEOUT", 0.3)
    turn = 0

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> bytes:
        nonlocal turn
        turn += 1
        if turn == 1:
            return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        if turn == 2:
            return b"nonsense\r\n\r\n"
        if turn == 3:
            writer.transport.abort()
        if turn == 4:
            await asyncio.sleep(1)
        return OK

    # when one client asks again and again
    async with served(answer) as url:
        report = await measure(url, clients=1, duration=1.5)
    # then each failure is counted under its name, and the client went on
    gone = "reset" if report.errors["reset"] else "closed"
    late = report.errors.pop("timeout")  # on a busy machine others may be late too
    assert late >= 1
    assert report.errors == {"status 503": 1, "bad answer": 1, gone: 1}
    assert report.answers > 0


async def test_a_server_that_goes_away_is_an_error_until_it_is_back() -> None:
    # given a server that stops listening and breaks its connections off
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)

    server = await asyncio.start_server(_quiet(serve), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = Clients(Load(f"http://127.0.0.1:{port}", 2, duration=2, rate=None, users=10, lim=3))
    report = clients.report
    running = asyncio.create_task(clients.run())
    await eventually_async(lambda: report.answers > 10)
    server.close()
    for writer in writers:
        writer.transport.abort()
    # when its clients were refused, and it is back
    await eventually_async(lambda: report.errors["connect: connection refused"])
    before = report.answers
    server = await asyncio.start_server(_quiet(serve), "127.0.0.1", port)
    # then they are served again
    await running
    server.close()
    assert report.answers > before
    assert report.errors["connect: connection refused"] > 0


def _quiet(serve: Serve) -> Serve:
    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return quiet


async def test_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(_: bytes, __: asyncio.StreamWriter) -> bytes:
        return OK

    async with served(answer) as url:
        arguments = ["client", "--url", url, "--clients", "3", "--duration", "0.2", "--json"]
        code = await asyncio.to_thread(cli.main, arguments)
    figures = json.loads(capsys.readouterr().out)
    assert code == 0
    assert figures["answers"] > 0
    assert set(figures["latency_ms"]) == {"p50", "p90", "p99", "max"}
