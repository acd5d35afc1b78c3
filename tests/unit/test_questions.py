"""A request whose handler asks one server: nothing waits in between, and whatever comes of it is an answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from gorgond.http.answers import Answer, Problem, ok
from gorgond.http.routes import Parameter, Question, Request, Route, Routes
from gorgond.http.server import HEAVY, Server
from gorgond.http.stream import Stream
from gorgond.redpill import Call, CallFailed, GorgonError, Message, Reply, Told, handling
from tests.waiting import eventually_async

GET = b"GET /ask HTTP/1.1\r\nHost: x\r\n\r\n"


class Asker:
    """Asked, it answers when a test says so."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._waiting: dict[str, list[Call]] = {}

    def ask(self, queue: str, message: Message, told: Told) -> Call:
        self.calls.append(Call(queue, message, told, self._waiting))
        return self.calls[-1]


class Client:
    """A server in this process, and a connection to it."""

    def __init__(self, handler: Callable[[Request], Question]) -> None:
        routes = [Route(method, "/ask", handler, "", query=(Parameter("q", "", high=9),)) for method in ("GET", "POST")]
        self.server = Server(Routes(routes), 10.0, _translated, lambda *_: None)
        self.streams: list[Stream] = []

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(self._stream, "127.0.0.1", 0)
        async with listening:
            reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            try:
                yield reader, writer
            finally:
                writer.close()
                for stream in self.streams:
                    stream.abort()
                await eventually_async(lambda: not self.server.streams)

    def _stream(self) -> Stream:
        self.streams.append(self.server._stream())
        return self.streams[-1]


def _translated(error: GorgonError) -> Problem:
    return Problem(error.code if isinstance(error, CallFailed) else 500, str(error))


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@pytest.fixture
def asker() -> Asker:
    return Asker()


@pytest.fixture
def client(asker: Asker) -> Client:
    def handler(request: Request) -> Question:
        return Question(asker, "q", Message("op", id=request.id), lambda reply: ok(reply.body))

    return Client(handler)


async def test_nothing_waits_until_the_reply_is_there(asker: Asker, client: Client) -> None:
    async with client.connected() as (reader, writer):
        await eventually_async(lambda: client.streams)
        tasks = asyncio.all_tasks()
        # given many requests, one after the other
        for number in range(3):
            writer.write(GET)
            await eventually_async(lambda: asker.calls)
            # then none has a task, and each is answered with its reply
            assert asyncio.all_tasks() == tasks
            asker.calls.pop().end(Reply("", b"%d" % number))
            assert await answer_of(reader) == (200, b"%d" % number)
        assert not client.server.exchanges


async def test_whatever_comes_is_told(asker: Asker, client: Client) -> None:
    async with client.connected() as (reader, writer):
        for outcome in (Reply("", error=CallFailed(409, "no")), CallFailed(504, "late")):
            writer.write(GET)
            await eventually_async(lambda: asker.calls)
            asker.calls.pop().end(outcome)
            status, _ = await answer_of(reader)
            assert status == (409 if isinstance(outcome, Reply) else 504)


async def test_a_body_that_is_dear_to_handle_waits_for_its_turn(asker: Asker, client: Client) -> None:
    async with client.connected() as (reader, writer), client.server._heavy:
        # given another heavy one whose turn it is
        body = b"x" * (HEAVY + 1)
        writer.write(b"POST /ask HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await eventually_async(lambda: client.server.exchanges and client.streams[0].phase == "busy")
        # then nothing is asked before that is over
        assert not asker.calls
        client.server._heavy.release()
        await eventually_async(lambda: asker.calls)
        asker.calls[0].end(Reply("", b"done"))
        assert await answer_of(reader) == (200, b"done")
        await client.server._heavy.acquire()


async def test_an_answer_that_nobody_waits_for_is_dropped(asker: Asker, client: Client) -> None:
    async with client.connected() as (_, writer):
        writer.write(GET)
        await eventually_async(lambda: asker.calls)
        # when the client goes, with no further word
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        # then its call is forgotten
        await eventually_async(lambda: asker.calls[0].over)
        assert not client.server.exchanges


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, ZeroDivisionError])
@pytest.mark.parametrize("where", ["asking", "answering"])
async def test_who_raises_ends_nothing_but_itself(
    asker: Asker, expected_logs: Callable[[str], None], error: type[BaseException], where: str
) -> None:
    # given a handler that raises whatever it likes
    expected_logs("GET /ask failed")
    told: list[object] = []

    def answer(reply: Reply) -> Answer:
        told.append(handling.get())
        if where == "answering":
            raise error
        return ok(reply.body)

    def handler(request: Request) -> Question:
        if where == "asking" and request.parameters.get("q") == "raise":
            raise error
        return Question(asker, "q", Message("op", id=request.id), answer)

    client = Client(handler)
    async with client.connected() as (reader, writer):
        writer.write(GET.replace(b"/ask", b"/ask?q=raise"))
        if where == "answering":
            await eventually_async(lambda: asker.calls)
            asker.calls[0].end(Reply(""))
            # and the log knows whose request that was
            assert told == [(asker.calls[0].message.id,)]
        # then it is told 500, and the connection goes on
        assert (await answer_of(reader))[0] == 500
        writer.write(GET.replace(b"/ask", b"/ask?q=x"))
        await eventually_async(lambda: asker.calls)
        if where == "asking":
            asker.calls[-1].end(Reply("", b"well"))
            assert await answer_of(reader) == (200, b"well")
    assert handling.get() == ()
