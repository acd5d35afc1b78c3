"""A connection to a real Redis: cut in the middle of an answer, left unread for a while, one timer for many rounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gorgond.redpill import BrokerAway, Message, Producer, connect
from tests.contract.stage import Stage
from tests.waiting import eventually_async

LARGE = 1_000_000


class Cutting:
    """Between us and Redis. `left`: after so many bytes of answers it cuts the connection, once."""

    def __init__(self, real: str) -> None:
        self._real = real
        self.left: int | None = None
        self.connections: list[asyncio.Task[None]] = []

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(asyncio.create_task(self._pass_on(reader, writer)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        real_reader, real_writer = await asyncio.open_unix_connection(self._real)

        async def there() -> None:
            while data := await reader.read(1 << 16):
                real_writer.write(data)
            real_writer.write_eof()

        asking = asyncio.create_task(there())
        try:
            while data := await real_reader.read(1 << 16):
                if self.left is not None and (left := self.left) < len(data):
                    self.left = None
                    writer.write(data[:left])
                    break
                if self.left is not None:
                    self.left -= len(data)
                writer.write(data)
        finally:
            asking.cancel()
            writer.close()
            real_writer.close()


@contextlib.asynccontextmanager
async def cutting(real: str, directory: Path) -> AsyncIterator[tuple[Cutting, str]]:
    """One, and the URL of a Redis behind it."""
    between, path = Cutting(real), str(directory / "cut.sock")
    async with await asyncio.start_unix_server(between.connected, path):
        yield between, f"unix://{path}"
        await asyncio.gather(*between.connections)


@pytest.mark.parametrize("left", [0, 1, 7, 1000, LARGE // 2])
async def test_an_answer_that_is_cut_is_no_answer(left: int, redis_stage: Stage, tmp_path: Path) -> None:
    # given a large reply, to be fetched over a connection that is cut in the middle of it
    assert redis_stage.broker.socket is not None
    async with cutting(redis_stage.broker.socket.path, tmp_path) as (between, url), redis_stage.link() as direct:
        await direct.reply("list", [b"x" * LARGE])
        link = connect(url, durable=False).link("cut")
        await link.ping()
        between.left = left
        # then the round fails, and has had no part of it
        with pytest.raises(BrokerAway):
            await link.fetch(["list"], 5)
        # and what is asked for next is answered by its own answer
        await direct.reply("list", [b"y"])
        assert await link.fetch(["list"], 5) == [b"y"]
        await link.close()


async def test_what_a_listener_does_not_read_stays_in_redis(redis_stage: Stage) -> None:
    # given a listener that does not look, while 4 MB of events come
    events = [Message("note.added", {"number": number, "text": "x" * 100_000}) for number in range(40)]
    async with (
        redis_stage.link() as listener,
        redis_stage.link() as look,
        Producer(redis_stage.broker, "p") as producer,
    ):
        assert await listener.listen(["notes"], 0.01) is None
        for event in events:
            await producer.publish("notes", event)

        # then most of it is not in its memory, but waits in that of Redis
        async def waits() -> bool:
            told = await look._ask(["CLIENT", "LIST", "TYPE", "pubsub"])  # type: ignore[attr-defined]
            return int(told.partition(b" omem=")[2].split()[0]) > 2_000_000

        await eventually_async(waits)
        # and when it looks, it hears all of it
        for event in events:
            heard = await listener.listen(["notes"], 60)
            assert heard is not None
            assert event.id.encode() in heard[1]


async def test_events_that_come_together_take_no_timer_each(
    redis_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a listener, to which a thousand events come in one batch
    async with redis_stage.link() as listener, Producer(redis_stage.broker, "p") as producer:
        assert await listener.listen(["notes"], 0.01) is None
        events = [Message("note.added", {"number": number}) for number in range(1000)]
        await producer.publish("notes", *events)
        timers = _timers_of(asyncio.get_running_loop(), monkeypatch)
        # when it hears them
        heard = [await listener.listen(["notes"], 60) for _ in events]
        # then they come in their order, in far fewer rounds
        assert heard == [("notes", event.encode()) for event in events]
        assert len(timers) < 100
        # and it waits for the next one as ever
        assert await listener.listen(["notes"], 0.01) is None
        await producer.publish("notes", events[0])
        assert await listener.listen(["notes"], 60) == heard[0]


def _timers_of(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The timers that the event loop is asked for from now on."""
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *what: Any, **how: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *what, **how)

    monkeypatch.setattr(loop, "call_at", counted)
    return timers


async def test_a_thousand_rounds_take_no_timer_each(redis_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a connection, and an event loop whose timers are counted
    async with redis_stage.link() as link:
        await link.ping()
        timers = _timers_of(asyncio.get_running_loop(), monkeypatch)
        # when it makes many rounds
        for _ in range(1000):
            await link.ping()
    # then there was one timer every few seconds
    assert len(timers) < 50
