"""Inboxes that are watched: what their viewers are told when the store says what makes no sense."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

import pytest

from gorgond.app import following
from gorgond.app.notifying import document_id
from gorgond.http.answers import Streamed
from gorgond.http.asking import Asking
from gorgond.http.routes import Request
from gorgond.http.website.inbox_live import InboxLive
from gorgond.redpill import new_id, now_ms
from tests.unit.test_live import Ear, Page
from tests.waiting import eventually_async


class Store:
    """Answers for the other servers: users have their numbers for sessions, and `inboxes` has what is in them."""

    def __init__(self) -> None:
        self.inboxes: dict[str, list[Mapping[str, Any]]] = {}

    async def mine(self, request: Request, op: str, args: Mapping[str, Any]) -> Any:
        return {"id": request.headers["Authorization"].removeprefix("Bearer ")}

    async def find(self, request: Request, collection: str, args: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        user, _, _ = args["filter"]["id"]["$lt"].partition(";")
        return self.inboxes[user]


def notification(user: str, number: int, **changes: Any) -> Mapping[str, Any]:
    named = {"id": document_id(user, number), "kind": "k", "title": "t", "data": "{}", "at": 1, "read": False}
    return {**named, **changes}


async def test_an_inbox_that_makes_no_sense_keeps_no_other_one_from_being_told(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    monkeypatch.setattr(following, "LOOK", 0.01)
    expected_logs("inboxes could not be told what is new")
    store = Store()
    # given an inbox with something else in it, and a sound one
    store.inboxes = {"5": [notification("5", 1, data="no JSON")], "6": [notification("6", 1)]}
    tasks: list[asyncio.Task[None]] = []

    def spawn(loop: Callable[[Callable[[], None]], Coroutine[Any, Any, None]], _: str) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(loop(lambda: None)))
        return tasks[-1]

    live = InboxLive(lambda *_: cast("Any", Ear()), spawn, cast("Asking", store))
    # when both are watched, one after another
    pages = []
    for user in ("5", "6"):
        headers = {"Authorization": f"Bearer {user}"}
        request = Request(new_id(), "GET", "/me/notifications/live", headers, b"", now_ms() + 60_000)
        answer, page = await live.watch(request, 0), Page()
        assert isinstance(answer, Streamed)
        answer.begin(page)
        pages.append(page)
    # then the sound one is told, by a loop that goes on
    await eventually_async(lambda: b"event: notification" in pages[1].told)
    assert [task.done() for task in tasks] == [False]
    live.close()
