"""Which jobs are to be cancelled, as far as an app server knows.

Who cancels a job has that stored, then tells all app servers. So what was enqueued while this one listened it has heard
of, if it was cancelled; of all others it asks the store, when it begins them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gorgond.app.backend import Backend
from gorgond.app.clients import Document
from gorgond.app.jobstatus import CANCEL, CANCELLED, JOBS
from gorgond.redpill import GorgonError, Message, loads, now_ms

HEARD_MAX = 10_000  # jobs that were cancelled and not begun; of more the store is asked
SURE_MS = 2_000  # for so long the clocks of two hosts may differ, and an event be under way
ASK_MS = 10_000  # in which a store must answer
AGAIN = 1.0  # seconds until one is asked again
AT_ONCE = 500  # documents that a store is asked for

log = logging.getLogger("gorgond.app")


@dataclass(slots=True, eq=False)
class Running:
    """A job that runs here, in this task."""

    task: asyncio.Task[object]
    before: int  # how often the task was cancelled
    fence: Callable[[], None]  # refuses what the job asks for
    cancelled: bool = False

    def cancel(self) -> None:
        """The job is to be cancelled."""
        if not self.cancelled:
            self.cancelled = True
            self.fence()
            self.task.cancel("the job is cancelled")

    def end(self) -> None:
        """The job is over: its cancellation is nobody else's."""
        if self.cancelled:
            self.task.uncancel()

    def is_cancelled_by_others(self) -> bool:
        """Whether the owner of the task has cancelled it too."""
        return self.task.cancelling() > self.before


class Cancels:
    """Those of one app server, which asks by `backend`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._since = math.inf  # since when nothing was missed, ms since 1970
        self._heard: set[str] = set()
        self._running: dict[str, Running] = {}
        self._sought: dict[str, dict[str, asyncio.Future[list[Document]]]] = {}  # by field and id
        self._seeking: dict[str, asyncio.Task[None]] = {}  # by field

    def hear(self, _: str, event: Message) -> None:
        """An event of the topic."""
        if event.op != CANCEL:
            return
        id = str(event.args.get("id", ""))
        if running := self._running.get(id):
            running.cancel()
            return
        if len(self._heard) >= HEARD_MAX:
            self.miss()
        self._heard.add(id)

    def miss(self) -> None:
        """From now on nothing is missed; until now it may have been."""
        self._heard.clear()
        self._since = now_ms()

    async def is_cancelled(self, message: Message) -> bool:
        """Whether this job is to be cancelled."""
        if message.id in self._heard:
            self._heard.discard(message.id)
            return True
        if message.sent > self._since + SURE_MS:
            return False
        return bool(await self.find(message.id + CANCELLED, "kept"))

    async def find(self, id: str, field: str) -> list[Document]:
        """A field of the document of this id, if there is one; while no store answers it is asked again. Those that are
        sought at the same time are one question."""
        sought = self._sought.setdefault(field, {})
        if id not in sought:
            sought[id] = asyncio.get_running_loop().create_future()
        if field not in self._seeking:
            self._seeking[field] = asyncio.get_running_loop().create_task(self._seek(field))
        return await asyncio.shield(sought[id])

    async def _seek(self, field: str) -> None:
        """Find what is sought by this field, until nothing is."""
        try:
            while sought := self._sought.pop(field, None):
                ids = list(sought)
                for begin in range(0, len(ids), AT_ONCE):
                    some = ids[begin : begin + AT_ONCE]
                    found = {each["id"]: each for each in await self._ask(some, field)}
                    for id in some:
                        sought[id].set_result([found[id]] if id in found else [])
        finally:
            del self._seeking[field]

    async def _ask(self, ids: Sequence[str], field: str) -> list[Document]:
        while True:
            args = {"filter": {"id": {"$in": ids}}, "fields": [field], "limit": len(ids)}
            try:
                reply = await self._backend.call("store_get", Message(f"{JOBS}.find", args, deadline=now_ms() + ASK_MS))
            except GorgonError as error:
                log.debug("whether a job is over is not known yet: %s", error)
                await asyncio.sleep(AGAIN)
            else:
                found: list[Document] = loads(reply.body)
                return found

    @contextmanager
    def running(self, id: str, fence: Callable[[], None]) -> Iterator[Running]:
        """While it runs in this task it can be cancelled; then `fence` is to refuse what it asks for."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("it runs in a task of asyncio's")
        running = self._running[id] = Running(task, task.cancelling(), fence)
        try:
            yield running
        finally:
            running.end()
            if self._running.get(id) is running:
                del self._running[id]
