"""What is old leaves the store, a little at a time: one of all notification servers sees to it.

    deliveries      those that were settled, when `keep` seconds have passed
    digests         those that were sent, when as much has passed, with what is left in them
    notifications   those of a user that are as old, and those beyond the `newest`, a day later: from the first on, up
                    to one that stays, and never the newest, so there is no gap in what is left, and the next one's
                    number is known

What is not sent yet is never touched. A step asks for PAGE documents at most, and deletes as many at most, one after
another; between two steps it rests. Inboxes are gone through in the order of the documents' ids, by which a user's lie
together; of a user whose first one stays the others are passed over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any

from gorgond.app.clients import Document, StoreClient
from gorgond.app.notifying import DELIVERIES, NOTIFICATIONS, newest_number, number_of
from gorgond.errors import NotFound
from gorgond.notifiers.digests import DIGESTS
from gorgond.redpill import GorgonError, now_ms
from gorgond.service.channels import SETTLED
from gorgond.service.leading import Leading
from gorgond.service.metrics import Metrics
from gorgond.service.watched import Beat, beating
from gorgond.settings import Notifications

PAGE = 200  # documents looked at in a step
BREATH = 1.0  # seconds after a step
REST = 600.0  # seconds after all was gone through
YOUNG = 86_400_000  # ms for which a notification stays, however many come after it

log = logging.getLogger("gorgond.notify")


class Tidying:
    """Tidies the store while the lease is ours."""

    def __init__(self, store: StoreClient, leading: Leading, settings: Notifications, metrics: Metrics) -> None:
        self._store = store
        self._leading = leading
        self._settings = settings
        self._metrics = metrics
        self._gone = 0  # in this round

    async def run(self, beat: Beat) -> None:
        """Go through all of it again and again, until cancelled."""
        state, after = 0, ""
        while True:
            beat()
            if not self._leading.held:
                state, after = 0, ""
                await self._leading.look(BREATH)
                continue
            try:
                if state < len(SETTLED):
                    state += not await beating(self._tidy_deliveries(SETTLED[state]), beat)
                elif state == len(SETTLED):
                    state += not await beating(self._tidy_digests(), beat)
                else:
                    after = await beating(self._tidy_inboxes(after), beat)
                    state = state if after else 0
            except GorgonError as error:  # the store is away, or busy
                log.debug("tidying goes on later: %s", error)
                await asyncio.sleep(BREATH)
                continue
            over = state == 0 and not after
            if over and self._gone:
                log.info("%d old notifications and deliveries are deleted", self._gone)
                self._gone = 0
            await self._rest(REST if over else BREATH, beat)

    async def _rest(self, seconds: float, beat: Beat) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._leading.held:
            beat()
            await asyncio.sleep(min(left, BREATH))

    async def _tidy_deliveries(self, state: str) -> bool:
        """A step for deliveries in this state: whether there may be more of them."""
        old = {"state": state, "ts": {"$lt": self._oldest()}}
        found = await self._store.find(DELIVERIES, old, sort="ts", limit=PAGE, fields=["ts"])
        await self._delete(DELIVERIES, found)
        return len(found) == PAGE

    async def _tidy_digests(self) -> bool:
        """A step for digests: whether there may be more of them. What is left in one was not sent, or is in another."""
        closed = {"state": "closed", "ts": {"$lt": self._oldest()}}
        found = await self._store.find(DIGESTS, closed, sort="ts", limit=PAGE, fields=["ts"])
        for each in found:
            inside = {"id": {"$gt": f"{each['id']}:", "$lt": f"{each['id']};"}}
            left = await self._store.find(DIGESTS, inside, sort="id", limit=PAGE, fields=["ts"])
            await self._delete(DIGESTS, left)
            if len(left) == PAGE:
                return True
            await self._delete(DIGESTS, [each])
        return len(found) == PAGE

    async def _tidy_inboxes(self, after: str) -> str:
        """A step for the inboxes behind this id: behind which the next one begins; empty at the end."""
        found = await self._store.find(NOTIFICATIONS, {"id": {"$gt": after}}, sort="id", limit=PAGE, fields=["ts"])
        users = [(user, list(some)) for user, some in groupby(found, lambda each: _user(each["id"]))]
        for user, some in users:
            last = user == users[-1][0]
            if some[0]["ts"] < now_ms() - YOUNG:
                newest = await newest_number(self._store, user) if last else number_of(some[-1]["id"])
                some = list(self._old(some, newest))  # noqa: PLW2901
                await self._delete(NOTIFICATIONS, some)
                whole = bool(some) and some[-1]["id"] == found[-1]["id"]
            else:
                whole = False
            if last and not whole:
                return f"{user};"  # what stays of this user stays together
        return found[-1]["id"] if found else ""

    def _old(self, documents: Sequence[Document], newest: int) -> Iterator[Document]:
        """Those that go, of a user's in their order, up to the first that stays."""
        oldest, young = self._oldest(), now_ms() - YOUNG
        first = newest - self._settings.newest + 1  # of those that stay for their number

        def goes(document: Document) -> bool:
            number = number_of(document["id"])
            beyond = number < first and document["ts"] < young
            return number < newest and (beyond or document["ts"] < oldest)

        return takewhile(goes, documents)

    def _oldest(self) -> int:
        return now_ms() - int(self._settings.keep * 1000)

    async def _delete(self, collection: str, documents: Sequence[dict[str, Any]]) -> None:
        """Delete these one after another, as long as the lease is ours."""
        for document in documents:
            if not self._leading.held:
                return
            began = time.monotonic()
            try:
                await self._store.delete(collection, document["id"])
            except NotFound:
                continue  # the account has ended meanwhile
            self._gone += 1
            self._metrics.measure(f"tidy {collection}", 1, 0, 0, time.monotonic() - began)


def _user(id: str) -> str:
    return id.rpartition(":")[0]
