"""New, changed and deleted notes as server-sent events, for pages that are open (HTML Standard, 9.2).

    event: note     data: {"id", "html"}     a note was added or changed
    event: gone     data: {"id"}             one that it shows was deleted, or has become private
    event: reset    data: {}                 something was missed: load the page anew

A page that connects says how new its newest note is (`since`), and is first told of those that came after. It also says
which notes it shows (`shown`, a tag each): of others it is not told that they have gone, since they may be private. An
event's id is that of its message on store_notify, so a browser that connects again, to whichever web server, says in
Last-Event-ID what it has seen and gets what came after. All web servers hear the same events in the same order; each
keeps the newest, and listens only while it has viewers and a little longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from gorgond.app.backend import Hear
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Sink
from gorgond.http.sse import Hub, Viewer, json_event
from gorgond.http.telling import Spawn, Telling
from gorgond.redpill import GorgonError, Message

TOPIC = "store_notify"
KEPT = 2_000  # events, for viewers who connect again
VIEWERS_MAX = 1_000
PAUSE = 0.3  # seconds between two rounds of telling
TAG = 12  # characters of a note's tag
SHOWN = 100  # notes that a page shows: it keeps fewer
MOST = 20  # events told a viewer in one round; of more, the newest
BUSY = 2.0  # seconds between them when there were more: nobody reads as fast, and each costs a store and the browser
QUIET = 15.0  # seconds after which a viewer is sent a comment, so that its connection is not taken for dead
LINGER = 60.0  # seconds for which events are kept after the last viewer has gone

log = logging.getLogger("gorgond.web")

Cards = Mapping[str, tuple[Any, str]]  # by the notes' ids: the owner's number and the HTML


class Renders(Protocol):
    """Makes the HTML of notes."""

    async def cards(self, ids: Sequence[str]) -> Cards:
        """Of those with these ids that there are."""

    async def since(self, userid: int | None, ts: int, most: int) -> Cards:
        """Of the newest of a user's, or everybody's, that are not older; the newest last."""


@dataclass(slots=True, eq=False)
class _Event:
    number: int  # counts what this server has heard
    id: str
    item: str
    userid: Any  # None: not told by the event
    gone: bool
    private: bool  # it says that the note is, which may have been shown before
    told: bool = False  # to somebody, with the note


@dataclass(slots=True, eq=False)
class _Viewer(Viewer):
    userid: int | None  # whose notes it shows; None: everybody's
    since: int | None  # the `ts` of its newest note, as long as it was not told of those that came after
    seen: int  # number of the last event it was told
    told: float  # when it was last sent anything
    shown: deque[str]  # the tags of the notes that it shows, those that it was told last at the end

    def shows(self, item: str) -> None:
        """It shows this note from now on. One that changes again and again takes no other one's place."""
        with suppress(ValueError):
            self.shown.remove(tag(item))
        self.shown.append(tag(item))


class Live:
    """The viewers of one web server. `hear` listens to a topic, `spawn` runs a loop of the server's, with what it is to
    call at each turn."""

    def __init__(self, hear: Hear, spawn: Spawn, notes: Renders) -> None:
        self._hear = hear
        self._notes = notes
        self._events: deque[_Event] = deque(maxlen=KEPT)
        self._number = 0
        self._hearing = False
        full = "too many pages are open here; this one does not update itself"
        self._hub: Hub[_Viewer] = Hub(VIEWERS_MAX, full, 60)
        self._telling = Telling(spawn, self._tell, "live")

    def watch(self, userid: int | None, since: int, last: str, shown: str = "") -> Answer:
        """The answer for a new viewer, who has the notes up to the `ts` `since` or, if it was here before, has seen
        the event `last`, and shows the notes of the tags `shown`. Raises Problem 503."""

        def join(sink: Sink) -> _Viewer:
            seen = self._number_of(last) if last else self._number
            now = asyncio.get_running_loop().time()
            tags = deque((shown[at : at + TAG] for at in range(0, len(shown), TAG)), SHOWN)
            if last:
                tags.extend(tag(event.item) for event in self._events if event.told)
            viewer = _Viewer(sink, userid, None if last else since, self._number if seen is None else seen, now, tags)
            if seen is None:
                viewer.write(json_event("reset", {}))
            self._telling.begin()
            return viewer

        return self._hub.answer(join)

    def close(self) -> None:
        """The server drains: browsers connect to another one by themselves."""
        self._hub.close()
        self._telling.end()

    def _number_of(self, id: str) -> int | None:
        """The number of the event of this id, if it is kept."""
        return next((event.number for event in reversed(self._events) if event.id == id), None)

    def _deliver(self, _: str, message: Message) -> None:
        collection, _, change = message.op.partition(".")
        if collection != "items":
            return
        item, document = message.args.get("id"), message.args.get("document", {})
        if not isinstance(item, str) or not isinstance(document, dict):
            raise BadRequest("id", "an event of a note has one, a text, and if it has a document that is an object")
        changes = message.args.get("changes", {})
        private = document.get("private") is True or (isinstance(changes, dict) and changes.get("private") is True)
        if private and change == "added":
            return
        self._number += 1
        gone = change == "deleted"
        self._events.append(_Event(self._number, message.id, item, document.get("userid"), gone, private))

    def _on_connect(self) -> None:
        """The listener has connected: from now on nothing is missed, until then it may have been."""
        if self._hearing:
            self._events.clear()
            for viewer in self._hub:
                viewer.write(json_event("reset", {}))
        self._hearing = True

    async def _tell(self, beat: Callable[[], None]) -> None:
        """Tell all viewers what is new, until there has been none for a while."""
        loop = asyncio.get_running_loop()
        listener = self._hear(TOPIC, self._deliver, self._on_connect)
        empty = loop.time()
        pause = PAUSE
        try:
            while self._hub or loop.time() - empty < LINGER:
                beat()
                await asyncio.sleep(pause)
                self._hub.sweep()
                if self._hub:
                    empty = loop.time()
                if self._hearing:
                    try:
                        pause = BUSY if await self._round(loop.time()) else PAUSE
                    except GorgonError:
                        log.debug("the store is away: pages are told in the next round")
                    except Exception:
                        log.exception("pages could not be told what is new")
        finally:
            listener.stop()
            self._events.clear()  # there is a gap from here on
            self._hearing = False

    async def _round(self, now: float) -> bool:
        """Tell each viewer what is new; whether that was as much as may be for any."""
        number = self._number
        due = {viewer: self._due(viewer) for viewer in self._hub}
        ids = {event.item for events in due.values() for event in events if not event.gone}
        cards = await self._notes.cards(sorted(ids)) if ids else {}
        for viewer, events in due.items():
            data = b""
            if viewer.since is not None:
                data = _new(viewer, await self._notes.since(viewer.userid, viewer.since, MOST))
                viewer.since = None
            data += b"".join(_show(viewer, events, cards))
            viewer.seen = number
            if data or now - viewer.told > QUIET:
                viewer.told = now
                viewer.write(data or b": quiet\n\n")
        return any(len(events) == MOST for events in due.values())

    def _due(self, viewer: _Viewer) -> list[_Event]:
        """The events that it is to be told: of several changes of a note the last, and of many notes the newest."""
        last: dict[str, _Event] = {}
        for event in reversed(self._events):
            if event.number <= viewer.seen or len(last) >= MOST:
                break
            if viewer.userid is None or event.userid in (None, viewer.userid):
                last.setdefault(event.item, event)
        return list(reversed(last.values()))


def tag(item: str) -> str:
    """What stands for a note in the address of a page's events: ids may be long."""
    return sha256(item.encode()).hexdigest()[:TAG]


def _new(viewer: _Viewer, cards: Cards) -> bytes:
    for id in cards:
        viewer.shows(id)
    return b"".join(json_event("note", {"id": id, "html": html}) for id, (_, html) in cards.items())


def _show(viewer: _Viewer, events: Iterable[_Event], cards: Cards) -> Iterable[bytes]:
    for event in events:
        if event.item in cards and not event.gone:
            userid, html = cards[event.item]
            if viewer.userid in (None, userid):
                event.told = True
                viewer.shows(event.item)
                yield json_event("note", {"id": event.item, "html": html}, event.id)
        elif (event.gone or event.private) and tag(event.item) in viewer.shown:
            yield json_event("gone", {"id": event.item}, event.id)
