"""Digests when two servers do the same, when one dies in between, and when one is late: each notification is in exactly
one of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gorgond.app.clients import Document, StoreClient
from gorgond.app.notifying import DELIVERIES
from gorgond.notifiers.digests import DIGESTS, Digests
from gorgond.notifiers.notifier import Notification
from gorgond.redpill import Caller, Message, Reply, new_id, now_ms
from tests.integration.test_auth_kills import store
from tests.waiting import eventually_async

WEEK = 7 * 86_400_000
TIMES = {"digest": "08:00"}


class Asks:
    """Asks a store, as a notification server does."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def ask(self, queue: str, op: str, args: dict[str, Any], private: bool = False) -> Reply:
        reply = await self._caller.call(queue, Message(op, args, new_id(), deadline=now_ms() + 20_000))
        if reply.error is not None:
            raise reply.error
        return reply

    async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
        return await self.ask(queue, op, args)


class Died(Exception):
    """The server dies."""


class Server:
    """One notification server's digests; `kept` is what it has had kept."""

    def __init__(self, client: StoreClient) -> None:
        self.kept: list[tuple[Message, int]] = []
        self.digests = Digests("email", client, self._keep)
        self._client = client

    async def _keep(self, message: Message, at: int) -> None:
        self.kept.append((message, at))

    async def add(self, number: int) -> None:
        """Notify user 7."""
        notification = Notification(f"n{number}", "7", "test", "A test", {"title": f"number {number}"}, number)
        delivery = {"id": f"7:n{number}:email", "userid": "7", "kind": "test", "by": "x", "state": "sending"}
        await self._client.insert(DELIVERIES, delivery)
        await self.digests.add(DELIVERIES, delivery["id"], notification, TIMES)

    async def sent(self, message: Message, off: tuple[str, ...] = ()) -> list[str]:
        """What is in the digest for which this message is."""
        whole = await self.digests.whole(Notification.of(message), off)
        return [] if whole is None else [each["data"]["title"] for each in whole.data["notifications"]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the servers' clocks say: a test sets it."""
    clock = [1_800_000_000_000]
    monkeypatch.setattr("gorgond.notifiers.digests.now_ms", lambda: clock[0])
    return clock


async def test_a_window_has_one_message_and_all_that_came_in_it(tmp_path: Path, clock: list[int]) -> None:
    async with store(tmp_path) as caller:
        server = Server(StoreClient(Asks(caller)))
        for number in range(5):
            await server.add(number)
        # a repeat changes nothing
        await server.add(3)
        [(message, at)] = server.kept
        assert at > clock[0]
        clock[0] = at
        await server.add(5)
        assert await server.sent(message) == [f"number {number}" for number in range(5)]
        # again and again the same, also when what was in it is gone already
        assert await server.sent(message) == [f"number {number}" for number in range(5)]
        assert await server.sent(message, ("test email",)) == []
        [_, (later, _)] = server.kept
        assert await server.sent(later) == ["number 5"]


async def test_who_is_late_for_a_window_goes_into_the_next(tmp_path: Path, clock: list[int]) -> None:
    async with store(tmp_path) as caller:
        client = StoreClient(Asks(caller))
        one, other = Server(client), Server(client)
        await one.add(0)
        [(message, at)] = one.kept

        # given one that has chosen its window, and stores its notification when that is closed
        put = other.digests._put
        sent: list[str] = []

        async def late(notification: Notification, window: int) -> bool:
            if not sent:
                clock[0] = at
                sent.extend(await one.sent(message))
            return await put(notification, window)

        other.digests._put = late  # type: ignore[method-assign]
        await other.add(1)
        # then it is in the next one, and no other
        assert sent == ["number 0"]
        [(later, _)] = other.kept
        assert await other.sent(later) == ["number 1"]
        assert await one.sent(message) == ["number 0"]


@pytest.mark.usefixtures("clock")
async def test_one_that_comes_while_a_window_closes_is_in_the_next(tmp_path: Path) -> None:
    async with store(tmp_path) as caller:
        client = StoreClient(Asks(caller))
        one, other = Server(client), Server(client)
        await one.add(0)
        [(message, _)] = one.kept
        # given another notification, that is stored when what is in the window was just read
        entries = one.digests._entries
        coming: list[asyncio.Task[None]] = []

        async def stored() -> bool:
            return any(each["id"].endswith(":n1") for each in await client.find(DIGESTS, {}))

        async def read(digest: str) -> list[Document]:
            found = await entries(digest)
            if not coming:
                coming.append(asyncio.create_task(other.add(1)))
                await eventually_async(stored)
            return found

        one.digests._entries = read  # type: ignore[method-assign]
        assert await one.sent(message) == ["number 0"]
        await coming[0]
        # then it is in the next one
        [(later, _)] = other.kept
        assert await other.sent(later) == ["number 1"]


@pytest.mark.parametrize("dies", range(5))
async def test_who_dies_anywhere_loses_and_doubles_nothing(tmp_path: Path, clock: list[int], dies: int) -> None:
    async with store(tmp_path) as caller:
        # given one that dies before its nth step
        steps = [dies]

        class Mortal(Asks):
            async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
                steps[0] -= 1
                if steps[0] < 0:
                    raise Died
                return await super().change(queue, op, args)

        whole, mortal = Server(StoreClient(Asks(caller))), Server(StoreClient(Mortal(caller)))
        try:
            await mortal.add(0)
        except Died:
            # when another handles the same, a week later
            clock[0] += WEEK
            await whole.add(0)
        kept = mortal.kept + whole.kept
        assert kept
        # and each message for a digest is handled, some of them twice
        found = [await whole.sent(message) for message, _ in [*kept, *kept]]
        windows = {message.args["data"]["window"]: titles for (message, _), titles in zip(kept, found, strict=False)}
        assert [title for titles in windows.values() for title in titles] == ["number 0"]


@pytest.mark.usefixtures("clock")
async def test_what_was_sent_is_tidied_and_stays_the_same(tmp_path: Path) -> None:
    async with store(tmp_path) as caller:
        client = StoreClient(Asks(caller))
        server = Server(client)
        for number in range(3):
            await server.add(number)
        [(message, _)] = server.kept
        await server.sent(message)
        await server.digests.tidy(Notification.of(message))
        left: list[Document] = await client.find(DIGESTS, {})
        assert [each["state"] for each in left] == ["closed"]
        # a repeat of one that is in it finds that
        await server.add(1)
        assert len(server.kept) == 1
