"""Public notes as they are added and changed, for who has subscribed to those of a user, or with a keyword.

    {"user": 5}             the notes of this user
    {"keyword": "sourdough"}    those with this keyword, whatever its case

Each server hears `store_notify` as long as anybody has subscribed, and reads each event once, however many want it. A
note comes whole, as the API has it. One that was patched, of which the event has the changes alone, is read from the
store, as nobody: so what is private stays so. A note may come twice; its `id` and `ts` tell. When the server has heard
nothing for a while, since its connection to the broker ended, who has subscribed is told `missed`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gorgond.app.backend import Hear
from gorgond.app.clients import Document, StoreClient
from gorgond.bounds import WHOLE_MAX
from gorgond.errors import BadRequest
from gorgond.http.telling import Spawn, Telling
from gorgond.live.websocket import PACKET_MAX, Socket
from gorgond.redpill import BrokerAway, GorgonError, Message
from gorgond.stores.folding import folded

TOPIC = "store_notify"
EACH_MAX = 20  # subscriptions of a client
WORD_MAX = 100  # characters of a keyword
CHANGED_MAX = 1_000  # changed notes that wait to be read; beyond that who has subscribed is told that it missed some
READ = 100  # of them at a time
PAUSE = 0.3  # seconds between two looks at them
LINGER = 60.0  # seconds for which events are heard after the last subscription has ended
HEAR = 5.0  # seconds within which they are heard

K = TypeVar("K")
V = TypeVar("V")
Wanted = tuple[str, Any]
Packet = Callable[[str, Mapping[str, Any]], bytes]

log = logging.getLogger("gorgond.live")


class Items:
    """The subscriptions at one server. `store` has the notes. `packet` makes what a client is sent of an event."""

    def __init__(self, store: StoreClient, hear: Hear, spawn: Spawn, packet: Packet) -> None:
        self._store = store
        self._hear = hear
        self._packet = packet
        self._who: defaultdict[Wanted, set[Socket]] = defaultdict(set)
        self._what: defaultdict[Socket, set[Wanted]] = defaultdict(set)
        self._changed: dict[str, None] = {}  # ids of notes, in order
        self._hears = asyncio.Event()
        self._telling = Telling(spawn, self._run, "items")

    async def subscribe(self, client: Socket, wanted: Any) -> None:
        """Tell a client of these notes from now on. Raises BadRequest, and BrokerAway when they cannot be heard of."""
        one = _read(wanted)
        if len({one, *self._what.get(client, ())}) > EACH_MAX:
            raise BadRequest("wanted", f"{EACH_MAX} subscriptions are all that a client may have")
        self._what[client].add(one)
        self._who[one].add(client)
        self._telling.begin()
        try:
            async with asyncio.timeout(HEAR):
                await self._hears.wait()
        except TimeoutError:
            self._end(client, one)
            raise BrokerAway("the broker is away; try again") from None

    async def unsubscribe(self, client: Socket, wanted: Any) -> None:
        """Tell it no more of them. Raises BadRequest."""
        self._end(client, _read(wanted))

    def leave(self, client: Socket) -> None:
        """A client has gone."""
        for one in list(self._what.get(client, ())):
            self._end(client, one)

    def close(self) -> None:
        """The server ends."""
        self._telling.end()

    def _end(self, client: Socket, one: Wanted) -> None:
        _discard(self._who, one, client)
        _discard(self._what, client, one)

    async def _run(self, beat: Callable[[], None]) -> None:
        """Hear what happens, until nobody has wanted to know for a while."""
        loop = asyncio.get_running_loop()
        listener = self._hear(TOPIC, self._deliver, self._on_connect)
        empty = loop.time()
        try:
            while self._who or loop.time() - empty < LINGER:
                beat()
                await asyncio.sleep(PAUSE)
                if self._who:
                    empty = loop.time()
                try:
                    await self._read_changed()
                except GorgonError:
                    log.debug("the store is away: changed notes are read in the next round")
                except Exception:
                    log.exception("changed notes could not be told")
        finally:
            listener.stop()
            self._hears.clear()

    def _on_connect(self) -> None:
        if self._hears.is_set():
            self._tell_missed()
        self._hears.set()

    def _tell_missed(self) -> None:
        packet = self._packet("missed", {})
        for client in list(self._what):
            client.send(packet)

    def _deliver(self, _: str, message: Message) -> None:
        collection, _, change = message.op.partition(".")
        if collection != "items" or change == "deleted" or not self._who:
            return
        document = message.args.get("document")
        if isinstance(document, dict):
            self._tell(document)
        elif len(self._changed) < CHANGED_MAX:
            self._changed[str(message.args["id"])] = None
        else:
            self._changed.clear()
            self._tell_missed()

    async def _read_changed(self) -> None:
        """Tell of the notes that were patched, as far as they are public."""
        while self._changed:
            ids = list(self._changed)[:READ]
            found = await self._store.find("items", {"id": {"$in": ids}}, limit=len(ids))
            for id in ids:
                self._changed.pop(id, None)
            for document in found:
                self._tell(document)

    def _tell(self, document: Document) -> None:
        if document.get("private") is True:
            return
        wanted: list[Wanted] = [("user", document.get("userid"))]
        keywords = document.get("keywords")
        if isinstance(keywords, list):
            wanted += [("keyword", folded(each)) for each in keywords if isinstance(each, str)]
        clients = {client for one in wanted for client in self._who.get(one, ())}
        if not clients:
            return
        packet = self._packet("item", document)
        if len(packet) > PACKET_MAX:
            known = {name: document.get(name) for name in ("id", "ts", "userid")}
            packet = self._packet("item", known | {"more": True})
        for client in clients:
            client.send(packet)


def _discard(table: dict[K, set[V]], key: K, value: V) -> None:
    """Take a value from a set in a table, and the set when nothing is left of it."""
    some = table.get(key, set())
    some.discard(value)
    if not some:
        table.pop(key, None)


def _read(wanted: Any) -> Wanted:
    """What somebody wants. Raises BadRequest."""
    if isinstance(wanted, Mapping) and len(wanted) == 1:
        user, word = wanted.get("user"), wanted.get("keyword")
        if type(user) is int and 0 <= user <= WHOLE_MAX:
            return ("user", user)
        if isinstance(word, str) and 0 < len(word) <= WORD_MAX:
            return ("keyword", folded(word))
    raise BadRequest("wanted", f"must be {{user: a number}}, or {{keyword: a word of {WORD_MAX} characters at most}}")
