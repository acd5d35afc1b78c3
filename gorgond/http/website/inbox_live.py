"""A user's notifications as they come, as server-sent events (HTML Standard, 9.2): for the page of the inbox, and for
programs.

    id: 12
    event: notification   data: {"number", "kind", "title", "data", "at", "read"}    the next one, in order, once
    event: read           data: {"number"} or {"until"}     one was read, or all up to a number
    event: reset          data: {}    too much was missed, or nobody knows what: read the inbox anew

Who connects says up to which number it has them, in Last-Event-ID or `since`. `app.following` tells the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gorgond.app.backend import Hear
from gorgond.app.clients import Document
from gorgond.app.following import Follower, Inboxes
from gorgond.app.notifying import NOTIFICATIONS
from gorgond.http.answers import Answer, Sink
from gorgond.http.asking import Asking
from gorgond.http.routes import Request
from gorgond.http.sse import BEHIND_MAX, Hub, Viewer, json_event
from gorgond.http.telling import Spawn, Telling
from gorgond.http.website.visitor import find_visitor
from gorgond.redpill import new_id, now_ms

VIEWERS_MAX = 2_000
QUIET = 15.0  # seconds after which a viewer is sent a comment, so that its connection is not taken for dead
LONGEST = 600.0  # seconds for which one stays connected: a session that has ended hears nothing more after that
ASK_MS = 5000  # for what was missed


class _Viewer(Viewer, Follower):
    """A connection."""

    def __init__(self, sink: Sink, user: str, last: int) -> None:
        Viewer.__init__(self, sink)
        Follower.__init__(self, user, last)
        self.joined = self.told = asyncio.get_running_loop().time()

    def tell(self, event: str, told: Mapping[str, Any], number: int | None = None) -> None:
        if event == "notification":
            self.told = asyncio.get_running_loop().time()
        self.write(json_event(event, told, "" if number is None else str(number)))

    def takes_more(self) -> bool:
        return self.sink.unsent <= BEHIND_MAX // 2

    def tell_last(self) -> None:
        # An id alone is no event, and is what a browser says when it connects again.
        self.write(b"id: %d\n\n" % self.last)


class InboxLive:
    """Those who watch their inboxes at one web server. `hear` listens to a topic, `spawn` runs a loop of the server's,
    with what it is to call at each turn."""

    def __init__(self, hear: Hear, spawn: Spawn, asking: Asking) -> None:
        self._asking = asking
        self._hub: Hub[_Viewer] = Hub(VIEWERS_MAX, "too many inboxes are open here", 60)
        self._inboxes: Inboxes[_Viewer] = Inboxes(self._find, hear, self._sweep)
        self._telling = Telling(spawn, self._inboxes.run, "inboxes")

    async def watch(self, request: Request, since: int | None) -> Answer:
        """The answer for one more viewer, who has all up to the number `since`, or else all that there are now. Raises
        Problem 401 and 503."""
        _, uid = await find_visitor(self._asking, request)
        last = await self._inboxes.newest(str(uid)) if since is None else since

        def join(sink: Sink) -> _Viewer:
            viewer = _Viewer(sink, str(uid), last)
            self._inboxes.join(viewer)
            self._telling.begin()
            return viewer

        return self._hub.answer(join)

    def close(self) -> None:
        """The server drains: clients connect to another one by themselves."""
        self._hub.close()
        self._telling.end()

    def _sweep(self, now: float) -> None:
        for viewer in self._hub:
            if now - viewer.joined > LONGEST:
                viewer.sink.close()
            elif now - viewer.told > QUIET:
                viewer.told = now
                viewer.write(b": quiet\n\n")
        self._hub.sweep()
        for viewer in self._inboxes:
            if viewer.sink.closed():
                self._inboxes.leave(viewer)

    async def _find(self, filter: dict[str, Any], direction: int, most: int) -> list[Document]:
        request = Request(new_id(), "GET", "/me/notifications/live", {}, b"", now_ms() + ASK_MS)  # which is nobody's
        args = {"filter": filter, "sort": [["id", direction]], "limit": most}
        return await self._asking.find(request, NOTIFICATIONS, args)
