"""What travels on one connection to Redis, which redis-py has made: commands, their answers, and until when.

redis-py connects, speaks TLS and logs in. Then the transport is ours: its streams and parsers run several coroutines
for each answer, of which all but one wait for nothing.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import InvalidResponse

from gorgond.redpill.deadline import Deadline
from gorgond.redpill.errors import Overslept
from gorgond.redpill.outage import late
from gorgond.redpill.resp import Command, pack, reader

LAST_LOOK = 0.02  # seconds in which an answer is read that came before its deadline
UNREAD_MAX = 1 << 17  # bytes taken from the socket while nobody asks for an answer


class RedisProtocol(asyncio.Protocol):
    """One round after another on `connection`, an asyncio connection of redis-py's that is logged in and has nothing
    unread."""

    def __init__(self, connection: Any) -> None:
        self._loop = asyncio.get_running_loop()
        # A writer that is collected, and a connection of redis-py's that still has one, close the transport.
        self._writer: asyncio.StreamWriter = connection._writer
        connection._writer = connection._reader = None
        transport = self._writer.transport
        self._transport = transport
        self._reader = reader()
        self._answers: list[Any] = []
        self._count = 0  # of the answers that the round waits for
        self._more = False  # whether it takes what else is there
        self._whole: asyncio.Future[list[Any]] | None = None  # has them when they are there
        self._unread = 0  # bytes that may have come since
        self._paused = False
        self._lost: Exception | None = None
        self._deadline = Deadline(self._late)
        self._due = math.inf  # when the round's deadline is
        transport.set_protocol(self)

    def send(self, commands: Sequence[Command]) -> None:
        """Send these; what they are answered is for the next round to read."""
        if len(commands) == 1:
            self._transport.write(pack(commands[0]))
        else:
            self._transport.writelines([pack(command) for command in commands])

    def ask(
        self, commands: Sequence[Command], count: int, timeout: float, more: bool = False
    ) -> asyncio.Future[list[Any]]:
        """Send these: the next `count` answers, an error of Redis standing in its command's place; with `more` also
        those that came together with the last. It fails with TimeoutError after so many seconds; with Overslept when
        this process did not run then; with an error of redis-py or an OSError when the connection is lost or what comes
        makes no sense. A caller that gives up waiting, or meets an error, must end the connection."""
        self._answers, self._count, self._more = [], count, more
        self._whole = whole = self._loop.create_future()
        if self._lost is not None:
            self._fail(self._lost)
            return whole
        if commands:
            self.send(commands)
        self._due = time.monotonic() + timeout
        self._deadline.set(self._due)
        self._read()  # what a listener has not heard yet
        return whole

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._unread += len(data)
        if self._whole is not None:
            self._read()
        elif self._unread > UNREAD_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _read(self) -> None:
        """Read answers until the round has all of its own."""
        answers, missing, more = self._answers, self._count - len(self._answers), self._more
        gets = self._reader.gets
        try:
            while missing > 0 or more:
                answer = gets()
                if answer is False:
                    self._unread = 0
                    break
                answers.append(answer)
                missing -= 1
        except InvalidResponse as error:
            self._fail(error)
            return
        if missing <= 0 and self._whole is not None:
            self._deadline.lift()
            whole, self._whole = self._whole, None
            if not whole.done():
                whole.set_result(answers)
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._lost or error or ConnectionError("Connection closed by server.")
        self._fail(self._lost)

    def _late(self) -> None:
        if self._deadline.at == self._due:  # an answer that lies there, since we were stopped, is read first
            self._deadline.set(time.monotonic() + LAST_LOOK)
        elif late(self._due):
            self._fail(Overslept("this process did not run when an answer was due; it connects again"))
        else:
            self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        self._deadline.lift()
        whole, self._whole = self._whole, None
        if whole is not None and not whole.done():
            whole.set_exception(error)

    def cut(self, why: str) -> None:
        """End the connection from outside: whoever waits for an answer, or asks later, meets a ConnectionError."""
        self._lost = ConnectionError(why)
        self._fail(self._lost)
        self.end()

    @property
    def over(self) -> bool:
        """Whether nothing comes over it any more."""
        return self._lost is not None or self._transport.is_closing()

    @property
    def certificate_ends(self) -> float | None:
        """When the certificate of the other side ends, in seconds since 1970; None where none was asked for."""
        certificate = self._transport.get_extra_info("peercert")
        return float(ssl.cert_time_to_seconds(certificate["notAfter"])) if certificate else None

    def end(self) -> None:
        """Let go of the connection; what was not sent yet is not sent any more."""
        self._deadline.end()
        self._transport.abort()
