"""History, marks and losses in the store: loaded when it answers, saved each minute. docs/stats.md has the documents.

The documents go to store_put as jobs over the durable broker, so that what was saved is kept while no store runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gorgond.redpill import GorgonError, Message, Producer, loads, now_ms
from gorgond.service.calling import Calling
from gorgond.stats.history import History

COLLECTION = "stats"
ASKED = 20  # documents asked for at a time; one of a minute's seconds has some 100 kB
PATIENCE = 10.0  # seconds that an answer may take
PAUSE = 1.0  # seconds between two attempts
WAITING_MAX = 5000  # documents that wait to be saved, when the queue has no room

log = logging.getLogger("gorgond.stats")


class Kept(Protocol):
    """Something that is kept as a document."""

    def unsaved(self) -> Sequence[dict[str, Any]]:
        """The document, if it has changed since the last call."""

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take in what was saved."""


class Archive:
    """Loads and saves `history`, and `others`, a document each by its id."""

    def __init__(self, caller: Calling, jobs: Producer, history: History, others: Mapping[str, Kept]) -> None:
        self._caller = caller
        self._jobs = jobs
        self._history = history
        self._others = others
        self._waiting: dict[str, dict[str, Any]] = {}

    async def load(self) -> None:
        """Take in all that was saved, as soon as a store answers."""
        ids = [*self._others, *self._history.ids()]
        for begin in range(0, len(ids), ASKED):
            found = await self._find(ids[begin : begin + ASKED])
            for document in found:
                if document["id"] in self._others:
                    self._others[document["id"]].restore(document)
            self._history.restore(
                (document for document in found if document["id"] not in self._others), now_ms() // 1000
            )  # fmt: skip

    async def _find(self, ids: list[str]) -> list[dict[str, Any]]:
        while True:
            args = {"filter": {"id": {"$in": ids}}, "limit": len(ids)}
            question = Message(f"{COLLECTION}.find", args, deadline=now_ms() + int(PATIENCE * 1000))
            try:
                reply = await self._caller.call("store_get", question)
                if reply.error is not None:
                    raise reply.error
                found: list[dict[str, Any]] = loads(reply.body)
                return found
            except GorgonError as error:
                log.info("the history is not loaded yet: %s", error)
                await asyncio.sleep(PAUSE)

    async def save(self) -> None:
        """Save what was closed since the last time. Documents for which the queue has no room are saved the next
        time."""
        others = (document for each in self._others.values() for document in each.unsaved())
        for document in (*self._history.unsaved(), *others):
            self._waiting[document["id"]] = document
        for id, document in list(self._waiting.items()):
            try:
                await self._jobs.push("store_put", Message(f"{COLLECTION}.replace", {"documents": [document]}))
            except GorgonError as error:
                log.warning("%d documents of history wait to be saved: %s", len(self._waiting), error)
                break
            del self._waiting[id]
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
