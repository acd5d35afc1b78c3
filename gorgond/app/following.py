"""Who watches inboxes at one server, and is told of each notification once, in order, as it comes.

A user's notifications are numbered without a gap (`app.notifying`). Who comes says up to which number it has them. It
joins those who are told first, and is then told from the store of what came after. From then on each event is either
the next one, or shows that something was missed, which is read from the store too. So it does not matter what the
listener missed, nor to which server a client connects again.

    notification   the next one: {"number", "kind", "title", "data", "at", "read"}
    read           one was read, or all up to a number: {"number"} or {"until"}
    reset          too much was missed, or nobody knows what: the inbox is to be read anew
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from gorgond.app.backend import Hear
from gorgond.app.clients import Document
from gorgond.app.notifying import TOPIC, document_id, filter_after, number_of, visible_part
from gorgond.redpill import GorgonError, Message

LOOK = 0.3  # seconds between two looks who has gone, and who has missed something
LINGER = 60.0  # seconds for which events are heard after the last one has gone
AT_ONCE = 64  # who are told at the same time of what they missed

MISSED_MAX = 999  # notifications that one is told of; who missed more reads the inbox anew
PORTION = 100  # of them at a time,
PORTION_BYTES = 128 * 1024  # or about so much: who takes them gets more

Find = Callable[[dict[str, Any], int, int], Awaitable[Sequence[Document]]]

log = logging.getLogger("gorgond.live")


class Follower(ABC):
    """One that watches the inbox of `user`, and has all up to the number `last`."""

    def __init__(self, user: str, last: int) -> None:
        self.user = user
        self.last = last
        self.behind = True  # there may be some that it was not told of

    @abstractmethod
    def tell(self, event: str, told: Mapping[str, Any], number: int | None = None) -> None:
        """Send it an event; with a `number`, it has all up to that then. It may have gone."""

    @abstractmethod
    def takes_more(self) -> bool:
        """Whether it has taken what it was told."""

    @abstractmethod
    def tell_last(self) -> None:
        """It has all up to `last`, which it may not know, since it was told none: tell it that."""

    def show(self, told: Mapping[str, Any]) -> None:
        """Tell it the next notification."""
        self.last = told["number"]
        self.tell("notification", told, self.last)


F = TypeVar("F", bound=Follower)


class Inboxes(Generic[F]):
    """The followers of one server. `find` reads notifications: a filter, a direction of the ids, and how many. `hear`
    listens to a topic. `sweep` is called at each turn, with the event loop's time, to let those `leave` who have
    gone."""

    def __init__(self, find: Find, hear: Hear, sweep: Callable[[float], None]) -> None:
        self._find = find
        self._hear = hear
        self._sweep = sweep
        self._of: defaultdict[str, set[F]] = defaultdict(set)  # by user
        self._due = asyncio.Event()

    def __iter__(self) -> Iterator[F]:
        return (each for some in list(self._of.values()) for each in list(some))

    def of(self, user: str) -> list[F]:
        """Those of this user."""
        return list(self._of.get(user, ()))

    def join(self, follower: F) -> None:
        """One more, who is told soon of what it does not have."""
        self._of[follower.user].add(follower)
        self.wake()

    def wake(self) -> None:
        """Look now: there is something to tell, or somebody takes it."""
        self._due.set()

    def leave(self, follower: F) -> None:
        """One less."""
        some = self._of.get(follower.user, set())
        some.discard(follower)
        if not some:
            self._of.pop(follower.user, None)

    async def newest(self, user: str) -> int:
        """The number of a user's newest notification; 0 where there is none. Raises what asking the store raises."""
        found = await self._find(filter_after(user), -1, 1)
        return number_of(found[0]["id"]) if found else 0

    async def run(self, beat: Callable[[], None]) -> None:
        """Tell all what they are to know, until there has been nobody for a while."""
        loop = asyncio.get_running_loop()
        listener = self._hear(TOPIC, self._deliver, self._on_connect)
        empty = loop.time()
        try:
            while self._of or loop.time() - empty < LINGER:
                beat()
                await self._wait()
                self._sweep(loop.time())
                if self._of:
                    empty = loop.time()
                late = [each for each in self if each.behind and each.takes_more()]
                try:
                    await asyncio.gather(*map(self._catch_up, late[:AT_ONCE]))
                    if any(each.behind for each in late):
                        self.wake()
                except GorgonError:
                    log.debug("the store is away: inboxes are told in the next round")
                except Exception:
                    log.exception("inboxes could not be told what is new")
        finally:
            listener.stop()

    async def _wait(self) -> None:
        """Until somebody has missed something, or it is time to look."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await self._due.wait()
        self._due.clear()

    def _deliver(self, _: str, message: Message) -> None:
        told = dict(message.args)
        for each in self.of(str(told.pop("user", ""))):
            if message.op == "notify.read":
                each.tell("read", told)
            elif told.get("number") == each.last + 1:
                each.show(told)
            elif told.get("number", 0) > each.last:
                each.behind = True
                self.wake()

    def _on_connect(self) -> None:
        """The listener has connected: from now on nothing is missed, until then it may have been."""
        for each in self:
            each.behind = True
        self.wake()

    async def _catch_up(self, follower: F) -> None:
        """Tell one what came after what it was told last, or a portion of that. Raises what asking the store raises;
        then it is still behind."""
        since = follower.last
        filter = {"id": {"$gte": document_id(follower.user, since), "$lt": f"{follower.user};"}}
        follower.behind = False
        try:
            found = await self._find(filter, 1, PORTION + 1)
            # The first is that of `since`, or the very first, unless these have been tidied.
            unknown = bool(found or since) and (not found or number_of(found[0]["id"]) != max(since, 1))
            more = len(found) > PORTION
            newest = await self.newest(follower.user) if unknown or more else 0
        except GorgonError:
            follower.behind = True
            raise
        if unknown or newest - since > MISSED_MAX:
            follower.last = newest
            follower.tell("reset", {}, newest)
            return
        size = 0
        for document in found:
            if number_of(document["id"]) <= follower.last:
                continue
            if size > PORTION_BYTES:
                more = True
                break
            follower.show(visible_part(document, 0))
            size += len(document["data"])
        if more:
            follower.behind = True
        elif not follower.behind:
            follower.tell_last()
