"""A user's notifications as they come, as server-sent events (HTML Standard, 9.2): for the page of the inbox, and for
programs.

    id: 12
    event: notification   data: {"number", "kind", "title", "data", "at", "read"}    the next one, in order, once
    event: read           data: {"number"} or {"until"}     one was read, or all up to a number
    event: reset          data: {}    too much was missed, or nobody knows what: read the inbox anew

A user's notifications are numbered without a gap (`app.notifying`). Who connects says up to which number it has them,
in Last-Event-ID or `since`, and is first told of those that came after; from then on each event is either the next one,
or shows that something was missed, which is read from the store. So it does not matter what the listener missed, nor
to which web server a client connects again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gorgond.app.notifying import NOTIFICATIONS, TOPIC, document_id, filter_after, number_of, visible_part
from gorgond.bounds import LIM_MAX
from gorgond.http.answers import Answer, Sink
from gorgond.http.asking import Asking
from gorgond.http.routes import Request
from gorgond.http.sse import Hub, Viewer, json_event
from gorgond.http.website.telling import Hear, Spawn, Telling
from gorgond.http.website.visitor import find_visitor
from gorgond.redpill import GorgonError, Message, new_id, now_ms

VIEWERS_MAX = 2_000
LOOK = 0.3  # seconds between two looks who has gone, and who has missed something
QUIET = 15.0  # seconds after which a viewer is sent a comment, so that its connection is not taken for dead
LONGEST = 600.0  # seconds for which one stays connected: a session that has ended hears nothing more after that
LINGER = 60.0  # seconds for which events are heard after the last viewer has gone
AT_ONCE = 64  # viewers who are told at the same time of what they missed
ASK_MS = 5000  # for what was missed

log = logging.getLogger("gorgond.web")


@dataclass(slots=True, eq=False)
class _Viewer(Viewer):
    user: str
    last: int  # the number of the notification that it was told last
    joined: float
    told: float  # when it was last sent anything
    behind: bool = True  # there may be some that it was not told of


class InboxLive:
    """Those who watch their inboxes at one web server. `hear` listens to a topic, `spawn` runs a loop of the server's,
    with what it is to call at each turn."""

    def __init__(self, hear: Hear, spawn: Spawn, asking: Asking) -> None:
        self._hear = hear
        self._asking = asking
        self._hub: Hub[_Viewer] = Hub(VIEWERS_MAX, "too many inboxes are open here", 60)
        self._of: defaultdict[str, set[_Viewer]] = defaultdict(set)  # by user
        self._telling = Telling(spawn, self._tell, "inboxes")
        self._due = asyncio.Event()

    async def watch(self, request: Request, since: int | None) -> Answer:
        """The answer for one more viewer, who has all up to the number `since`, or else all that there are now. Raises
        Problem 401 and 503."""
        _, uid = await find_visitor(self._asking, request)
        last = await self._newest(str(uid)) if since is None else since

        def join(sink: Sink) -> _Viewer:
            now = asyncio.get_running_loop().time()
            viewer = _Viewer(sink, str(uid), last, now, now)
            self._of[viewer.user].add(viewer)
            self._telling.begin()
            self._due.set()
            return viewer

        return self._hub.answer(join)

    def close(self) -> None:
        """The server drains: clients connect to another one by themselves."""
        self._hub.close()
        self._telling.end()

    def _deliver(self, _: str, message: Message) -> None:
        told = dict(message.args)
        for viewer in self._of.get(str(told.pop("user", "")), ()):
            if message.op == "notify.read":
                viewer.write(json_event("read", told))
            elif told.get("number") == viewer.last + 1:
                self._show(viewer, told)
            elif told.get("number", 0) > viewer.last:
                viewer.behind = True
                self._due.set()

    def _on_connect(self) -> None:
        """The listener has connected: from now on nothing is missed, until then it may have been."""
        for viewer in self._hub:
            viewer.behind = True
        self._due.set()

    async def _tell(self, beat: Callable[[], None]) -> None:
        """Look after all viewers, until there has been none for a while."""
        loop = asyncio.get_running_loop()
        listener = self._hear(TOPIC, self._deliver, self._on_connect)
        empty = loop.time()
        try:
            while self._hub or loop.time() - empty < LINGER:
                beat()
                await self._wait()
                self._sweep(loop.time())
                if self._hub:
                    empty = loop.time()
                late = [viewer for viewer in self._hub if viewer.behind]
                if late[AT_ONCE:]:
                    self._due.set()
                try:
                    await asyncio.gather(*map(self._catch_up, late[:AT_ONCE]))
                except GorgonError:
                    log.debug("the store is away: inboxes are told in the next round")
                except Exception:
                    log.exception("inboxes could not be told what is new")
        finally:
            listener.stop()

    async def _wait(self) -> None:
        """Until somebody has missed something, or it is time to look."""
        try:
            async with asyncio.timeout(LOOK):
                await self._due.wait()
        except TimeoutError:
            pass
        self._due.clear()

    def _sweep(self, now: float) -> None:
        for viewer in self._hub:
            if now - viewer.joined > LONGEST:
                viewer.sink.close()
            elif now - viewer.told > QUIET:
                viewer.told = now
                viewer.write(b": quiet\n\n")
        self._hub.sweep()
        for user, viewers in list(self._of.items()):
            viewers.difference_update([each for each in viewers if each.sink.closed()])
            if not viewers:
                del self._of[user]

    async def _catch_up(self, viewer: _Viewer) -> None:
        """Tell a viewer of all that came after what it was told last. Raises what asking the store raises; then it is
        still behind."""
        since = viewer.last
        filter = {"id": {"$gte": document_id(viewer.user, since), "$lt": f"{viewer.user};"}}
        viewer.behind = False
        try:
            found = await self._find(filter, 1, LIM_MAX)
            # The first is that of `since`, or the very first, unless these have been tidied.
            lacks = bool(found or since) and (not found or number_of(found[0]["id"]) != max(since, 1))
            lost = lacks or len(found) == LIM_MAX
            newest = await self._newest(viewer.user) if lost else 0
        except GorgonError:
            viewer.behind = True
            raise
        if lost:
            viewer.last = newest
            viewer.write(json_event("reset", {}, str(newest)))
            return
        for document in found:
            if number_of(document["id"]) > viewer.last:
                self._show(viewer, visible_part(document, 0))

    async def _newest(self, user: str) -> int:
        found = await self._find(filter_after(user), -1, 1)
        return number_of(found[0]["id"]) if found else 0

    async def _find(self, filter: dict[str, Any], direction: int, most: int) -> list[dict[str, Any]]:
        request = Request(new_id(), "GET", "/me/notifications/live", {}, b"", now_ms() + ASK_MS)  # which is nobody's
        args = {"filter": filter, "sort": [["id", direction]], "limit": most}
        return await self._asking.find(request, NOTIFICATIONS, args)

    def _show(self, viewer: _Viewer, told: dict[str, Any]) -> None:
        viewer.last = told["number"]
        viewer.told = asyncio.get_running_loop().time()
        viewer.write(json_event("notification", told, str(viewer.last)))
