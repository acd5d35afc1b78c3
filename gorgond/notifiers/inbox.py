"""The inbox: notifications as documents in the store. It is a channel as others are, and needs none of their books:
that a notification is there is all that there is to know of it.

Its number is one more than that of the user's newest, which is read first; then whether it is there already. If another
one came in between, that has its number, and it is looked for anew. So none is there twice, however often it is sent
and whoever died, and who reads behind a number misses none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from gorgond.app.clients import Document, StoreClient
from gorgond.app.notifying import NOTIFICATIONS, ROUNDS, document_id, newest_number
from gorgond.errors import Conflict, NotSent
from gorgond.notifiers.notifier import Notification
from gorgond.redpill import dumps


class Inbox:
    """The inboxes of all users."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self._turns: dict[str, _Turn] = {}  # by user

    async def put(self, notification: Notification, wanted: Callable[[], Awaitable[bool]]) -> Document | None:
        """The document in its user's inbox, put there unless it is there; None if it is not `wanted`, which is asked
        at the same time as the store. Raises what asking raises, and NotSent when others are always quicker."""
        user = notification.user
        with self._one_by_one(user) as turn:
            async with turn:  # among ourselves nobody has to be too late
                newest, is_wanted = await asyncio.gather(newest_number(self._store, user), wanted())
                if not is_wanted:
                    return None
                for _ in range(ROUNDS):
                    if (document := await self._placed(notification, newest + 1)) is not None:
                        return document
                    newest = await newest_number(self._store, user)
        raise NotSent("others put into the same inbox all the time")

    async def _placed(self, notification: Notification, number: int) -> Document | None:
        if found := await self._store.find(NOTIFICATIONS, {"nid": notification.id}, limit=1):
            return found[0]
        document: Document = {
            "id": document_id(notification.user, number), "userid": notification.user, "nid": notification.id,
            "kind": notification.kind, "title": notification.title, "data": dumps(notification.data).decode(),
            "at": notification.at, "read": False,
        }  # fmt: skip
        try:
            await self._store.insert(NOTIFICATIONS, document)
        except Conflict:
            return None
        return document

    @contextmanager
    def _one_by_one(self, user: str) -> Iterator[asyncio.Lock]:
        turn = self._turns.setdefault(user, _Turn())
        turn.waiting += 1
        try:
            yield turn.lock
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[user]


class _Turn:
    """The turn of one user's notifications, as long as anybody waits for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
