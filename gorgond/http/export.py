"""All that is a user's, as one JSON file to keep, written as it is read: notes may be many.

    {"exported": ms, "user": {…}, "sessions": […], "links": […], "unwanted": […], "gathered": […], "times": […],
     "browsers": […], "endpoints": […], "notes": […], "notifications": […], "deliveries": […]}

`unwanted` are the notifications that the user is not sent: "KIND CHANNEL"; `gathered` those that are in digests, and
`times` say when; `browsers` those in which the user is told, `endpoints` where they are sent, without the secrets.
`deliveries` say what became of each notification that was to be sent over another channel than the inbox. Notes come
oldest first: one that is changed meanwhile comes once more at the end, and none is missed. A file that was cut off,
since a server ended or the store was away, is no JSON: its last brace is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from gorgond.app.browsers import BROWSERS, MOST
from gorgond.app.notifying import DELIVERIES, NOTIFICATIONS, PREFERENCES, own_filter, visible_part
from gorgond.app.webhooks import ENDPOINTS, ENDPOINTS_MAX, visible_endpoint
from gorgond.http.answers import JSON, Answer, Sink, Streamed
from gorgond.http.asking import Asking
from gorgond.http.routes import Request
from gorgond.redpill import GorgonError, dumps, now_ms

PART = 200  # notes asked for at a time
AHEAD = 1024 * 1024  # bytes that the client may be behind before more is asked for
LOOK = 0.05  # seconds between two looks whether it has taken some
PART_MS = 10_000  # for one question

_TOLD = ("id", "kind", "channel", "state", "reason", "ts")  # of a delivery

log = logging.getLogger("gorgond.http")


class Export:
    """Makes such files."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._writing: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Answer:
        """The file of the user who asks. Raises what asking raises; from then on what goes wrong ends the file."""
        user, sessions, links = await asyncio.gather(
            self._asking.mine(request, "auth.me", {}),
            self._asking.mine(request, "auth.sessions", {}),
            self._asking.mine(request, "auth.oauth2.linked", {}),
        )
        preferences, browsers, endpoints = await asyncio.gather(
            self._asking.find(request, PREFERENCES, {"filter": {"id": user["id"]}, "limit": 1}),
            self._asking.find(
                request, BROWSERS, {"filter": own_filter(user["id"]), "fields": ["agent", "since"], "limit": MOST}
            ),
            self._asking.find(request, ENDPOINTS, {"filter": own_filter(user["id"]), "limit": ENDPOINTS_MAX}),
        )
        about = {"exported": now_ms(), "user": user, "sessions": sessions["sessions"], "links": links["linked"]}
        about["unwanted"] = [word for each in preferences for word in each["off"]]
        about["endpoints"] = [visible_endpoint(each, now_ms()) for each in endpoints]
        about["browsers"] = [{"agent": each["agent"], "since": each["since"]} for each in browsers]
        about["gathered"] = [word for each in preferences for word in each.get("digest", ())]
        about["times"] = [each["times"] for each in preferences if "times" in each]

        def begin(sink: Sink) -> None:
            task = asyncio.get_running_loop().create_task(self._write(request, int(user["id"]), sink))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

        name = f'attachment; filename="gorgond-{user["id"]}.json"'
        head = dumps(about)[:-1] + b',"notes":['
        return Streamed(200, head, JSON, {"Content-Disposition": name}, begin, ends=True)

    async def _write(self, request: Request, uid: int, sink: Sink) -> None:
        try:
            async for part in self._parts(request, uid):
                if sink.closed():
                    return
                sink.write(part)
                while sink.unsent > AHEAD:
                    await asyncio.sleep(LOOK)
                    if sink.closed():
                        return
        except GorgonError as error:
            log.warning("a user's export is cut off: %s", error)
        finally:
            sink.close()

    async def _parts(self, request: Request, uid: int) -> AsyncIterator[bytes]:
        """What follows in the file."""
        async for part in _join(self._notes(request, uid)):
            yield part
        yield b'],"notifications":['
        async for part in _join(self._notifications(request, str(uid))):
            yield part
        yield b'],"deliveries":['
        async for part in _join(self._deliveries(request, str(uid))):
            yield part
        yield b"]}\n"

    async def _notifications(self, request: Request, user: str) -> AsyncIterator[Mapping[str, Any]]:
        """A user's notifications, oldest first."""
        async for document in self._of_user(request, NOTIFICATIONS, user):
            yield visible_part(document, 0)

    async def _deliveries(self, request: Request, user: str) -> AsyncIterator[Mapping[str, Any]]:
        """What became of those that were to be sent over other channels."""
        async for document in self._of_user(request, DELIVERIES, user):
            yield {name: document[name] for name in _TOLD if name in document}

    async def _of_user(self, request: Request, collection: str, user: str) -> AsyncIterator[Mapping[str, Any]]:
        """The documents of a user whose ids say so, in the order of the ids."""
        last, more = f"{user}:", True
        while more:
            request.deadline = now_ms() + PART_MS
            args = {"filter": {"id": {"$gt": last, "$lt": f"{user};"}}, "sort": [["id", 1]], "limit": PART}
            found = await self._asking.find(request, collection, args)
            for document in found:
                last = document["id"]
                yield document
            more = bool(found) and (found.more or len(found) == PART)

    async def _notes(self, request: Request, uid: int) -> AsyncIterator[Mapping[str, Any]]:
        """The notes of a user, private ones too, oldest first."""
        args: dict[str, Any] = {"filter": {"userid": uid}, "sort": [["ts", 1]], "limit": PART}
        more = True
        while more:
            request.deadline = now_ms() + PART_MS
            found = await self._asking.find(request, "items", args, {"id": str(uid), "reads": "own"})
            for note in found:
                yield note
            args["after"] = found.next
            more = found.next != ""


async def _join(documents: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """Documents in JSON, with commas between them."""
    comma = b""
    async for document in documents:
        yield comma + dumps(document)
        comma = b","
