"""A network that holds what was sent over a connection, breaks it, and delivers the bytes later all the same.

It stands between redpill and a Redis. Redpill writes a round with one `write`, so what is read at a time is a round.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path

ROUND = 1 << 20  # bytes read at a time


class Fate(Enum):
    """What becomes of a round."""

    PASS = "passed on"
    COPY = "passed on, and delivered once more, late"
    HOLD = "not passed on before it is late; the connection hangs"
    LOSE = "passed on; what was held is delivered, the answer is lost, the connection breaks"


class LateNetwork:
    """Listens at `path` and passes on to the Redis at `real`; `decide` is asked for the fate of each round."""

    def __init__(self, path: Path, real: Path, decide: Callable[[bytes], Fate]) -> None:
        self.path = path
        self._real = real
        self._decide = decide
        self._held: list[bytes] = []
        self.late = 0  # rounds that were delivered late
        self.calm = False  # everything is passed on

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    async def deliver(self) -> None:
        """What was held arrives now, over connections whose other ends are gone; back when Redis has done it."""
        held, self._held = self._held, []
        for data in held:
            reader, writer = await asyncio.open_unix_connection(self._real)
            with contextlib.closing(writer):
                writer.write(data + b"PING late\r\n")
                with contextlib.suppress(TimeoutError):  # a wait in it may block for a second
                    async with asyncio.timeout(60):
                        await reader.readuntil(b"$4\r\nlate\r\n")
            self.late += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[LateNetwork]:
        """Be there; in the end break off what goes through."""
        tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks[asyncio.create_task(self._connected(reader, writer))] = writer

        server = await asyncio.start_unix_server(connected, self.path, limit=ROUND)
        try:
            yield self
        finally:
            server.close()
            for task, writer in tasks.items():
                task.cancel()
                writer.close()  # a task that was cancelled before it began closes nothing
            await asyncio.wait(tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            real_reader, real_writer = await asyncio.open_unix_connection(self._real, limit=ROUND)
            answers = asyncio.create_task(_pass_on(real_reader, writer))
            try:
                await self._forward(reader, real_reader, real_writer, answers)
            finally:
                answers.cancel()
                real_writer.close()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        real_reader: asyncio.StreamReader,
        real_writer: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while data := await reader.read(ROUND):
            fate = Fate.PASS if self.calm else self._decide(data)
            if fate in (Fate.HOLD, Fate.COPY):
                self._held.append(data)
            if fate is Fate.HOLD:
                await reader.read()  # until the other side gives up
                return
            if fate is Fate.LOSE:
                answers.cancel()
                await asyncio.wait((answers,))
                real_writer.write(data)
                await real_reader.read(ROUND)
                await self.deliver()
                return
            real_writer.write(data)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(ROUND):
        writer.write(data)
    writer.close()
