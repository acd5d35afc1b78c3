"""Digests: what users want to be told of together, once an hour or a day, over a channel.

    digests     {"id": "USER:CHANNEL:WINDOW", "userid", "state": "open" | "closing" | "closed", "nids"}
                a document for each digest; WINDOW is when it is sent, ms since 1970
                {"id": "USER:CHANNEL:WINDOW:NID", "userid", "kind", "title", "data", "at"}
                and one for each notification in it
    deliveries  "state": "gathered", and `window`: where the notification of this delivery went

A notification is put into the window that is open when it comes, and the first one of a window has a message kept that
is due when the window ends: `account.digest` on the channel's queue. So each digest has a message that lasts, and who
died before that was kept handles its notification again.

Whoever sends it closes the window first, and reads what is in it only then; the list of what was read is the digest. A
notification that comes while a window closes waits for the list: it is on it, or goes into the next window. So each is
in one digest, whoever died and however long it took; and one that is handled again finds in its delivery where it went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from gorgond.app.clients import Document, StoreClient
from gorgond.app.letters import DIGEST
from gorgond.app.notifying import SEND, notification_id, preference_word, send_args
from gorgond.app.times import next_digest
from gorgond.bounds import LIM_MAX
from gorgond.errors import Conflict, NotFound
from gorgond.notifiers.notifier import Notification
from gorgond.redpill import Message, dumps, loads, now_ms

DIGESTS = "digests"
TITLE = "What is new"
SHOWN = 100  # notifications that a digest names; of the others it says how many there are
TEXT_MAX = 200  # characters of the text of each
LOOK = 0.2  # seconds until one looks again whether a window is closed
AT_ONCE = 32  # documents deleted at the same time

Push = Callable[[Message, int], Awaitable[None]]
"""Pushes a message to the channel's queue, due at a time, ms since 1970."""


class Digests:
    """Those of one channel. Each raises what asking the store and pushing raise; all may be done again."""

    def __init__(self, channel: str, store: StoreClient, push: Push) -> None:
        self._channel = channel
        self._store = store
        self._push = push

    async def add(self, deliveries: str, delivery: str, notification: Notification, times: Mapping[str, Any]) -> None:
        """Put a notification into a digest of its user's; its `delivery` in the collection `deliveries` says where."""
        while True:
            found = await self._store.find(deliveries, {"id": delivery}, limit=1)
            if not found:
                return  # its user's account has ended meanwhile
            window = found[0].get("window")
            if window is None:
                window = next_digest(times, now_ms())
                await self._patch(deliveries, delivery, {"state": "gathered", "window": window})
            if await self._put(notification, window):
                return
            later = next_digest(times, max(now_ms(), window))
            await self._patch(deliveries, delivery, {"window": later})

    async def _put(self, notification: Notification, window: int) -> bool:
        """Whether it is in the digest of this window, which is too late for one that is closed."""
        digest = self._id(notification.user, window)
        entry = {
            "id": f"{digest}:{notification.id}", "userid": notification.user, "kind": notification.kind,
            "title": notification.title, "data": dumps(notification.data).decode(), "at": notification.at,
        }  # fmt: skip
        await self._insert(entry)  # first: who closes the window after it was seen to be open finds it
        while True:
            found = await self._store.find(DIGESTS, {"id": digest}, limit=1)
            if not found:
                await self._push(_due(notification.user, self._channel, window), window)
                await self._insert({"id": digest, "userid": notification.user, "state": "open"})
            elif found[0]["state"] == "open":
                return True
            elif found[0]["state"] == "closed":
                return notification.id in found[0]["nids"]
            else:
                await asyncio.sleep(LOOK)

    async def whole(self, notification: Notification, off: Collection[str]) -> Notification | None:
        """The digest for which its message came, with all that is in it and not `off` by now; None where nothing is."""
        digest = self._id(notification.user, notification.data["window"])
        nids = await self._close(digest, notification.user)
        found = [each for each in await self._entries(digest) if each["id"].rpartition(":")[2] in nids]
        wanted = [each for each in found if preference_word(each["kind"], self._channel) not in off]
        return notification._replace(data=_said(wanted)) if wanted else None

    async def _close(self, digest: str, user: str) -> list[str]:
        """The ids of what is in a digest, from now on no others."""
        while True:
            found = await self._store.find(DIGESTS, {"id": digest}, limit=1)
            if not found:
                await self._insert({"id": digest, "userid": user, "state": "closing"})
                continue
            state, ts = found[0]["state"], found[0]["ts"]
            if state == "closed":
                nids: list[str] = found[0]["nids"]
                return nids
            changes: Document = {"state": "closing"}
            if state == "closing":
                read = [each["id"].rpartition(":")[2] for each in await self._entries(digest)]
                changes = {"state": "closed", "nids": read}
            try:
                await self._store.patch(DIGESTS, digest, changes, unchanged=ts)
            except Conflict:
                continue  # somebody else does the same

    async def _entries(self, digest: str) -> list[Document]:
        found: list[Document] = []
        after = f"{digest}:"
        while True:
            filter = {"id": {"$gt": after, "$lt": f"{digest};"}}
            some = await self._store.find(DIGESTS, filter, sort="id", limit=LIM_MAX)
            found += some
            if not some:
                return sorted(found, key=lambda each: (each["at"], each["id"]))
            after = some[-1]["id"]

    async def tidy(self, notification: Notification) -> None:
        """Delete what was in a digest that was sent."""
        left = await self._entries(self._id(notification.user, notification.data["window"]))
        for first in range(0, len(left), AT_ONCE):
            await asyncio.gather(*(self._delete(each["id"]) for each in left[first : first + AT_ONCE]))

    def _id(self, user: str, window: int) -> str:
        return f"{user}:{self._channel}:{window}"

    async def _insert(self, document: Document) -> None:
        with suppress(Conflict):  # it is there, or was
            await self._store.insert(DIGESTS, document)

    async def _patch(self, collection: str, id: str, changes: Document) -> None:
        with suppress(NotFound):  # its user's account has ended meanwhile
            await self._store.patch(collection, id, changes)

    async def _delete(self, id: str) -> None:
        with suppress(NotFound):
            await self._store.delete(DIGESTS, id)


def _due(user: str, channel: str, window: int) -> Message:
    """The message that has a digest sent. There may be several for one, each with an id of its own: the first that is
    handled sends it (`delivering`). Notification servers of before there were digests tell by it that there is
    something."""
    data = {"title": TITLE, "text": "There is something new for you.", "url": "/notifications", "window": window}
    id = notification_id(user, DIGEST, channel, str(window))
    return Message(SEND, send_args(id, user, DIGEST, TITLE, data, window))


def _said(found: list[Document]) -> dict[str, Any]:
    """What a digest says, as the data of a notification."""
    some = [{**each, "data": loads(each["data"].encode())} for each in found[:SHOWN]]
    lines = [_line(each["title"], each["data"]) for each in some]
    if more := len(found) - len(some):
        lines.append(f"And {more} more.")
    count = "One notification" if len(found) == 1 else f"{len(found)} notifications"
    told = [{name: each[name] for name in ("kind", "title", "data", "at")} for each in some]
    return {"title": f"{TITLE}: {count}", "text": "\n\n".join(lines), "url": "/notifications", "notifications": told}


def _line(title: str, data: Any) -> str:
    said = data if isinstance(data, dict) else {}
    text = str(said.get("text") or "")
    short = text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1].rstrip() + "…"
    return "\n".join(filter(None, (str(said.get("title") or title), short)))
