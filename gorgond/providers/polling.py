"""A source that is polled: by one of several instances at a time, from where the last poll ended.

    read → push the items → accepted → write the cursor

The cursor is the document NAME of the collection `providers`, which is asked for over a queue of the providers' own, so
that they may read nothing else. An instance that dies in between leaves an older cursor behind. Its successor reads the
same items again; they have the same ids, and the store has each once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from gorgond.errors import ConfigError
from gorgond.providers.pushing import Part, Pushing
from gorgond.providers.source import Batch, Source
from gorgond.redpill import GorgonError, Message, Outage, contained, loads, now_ms
from gorgond.service.calling import Calling
from gorgond.service.leading import Leading
from gorgond.service.watched import Beat, beating

COLLECTION = "providers"
READ = 5.0  # seconds that reading the cursor may take, before it is asked for again
POLL_MAX = 300.0  # seconds that a poll may take
AGAIN = (1.0, 60.0)  # seconds until a poll that failed is tried again: the first time, at most
TICK = 0.01  # seconds between two polls that bring nothing, at least
TURN = 1.0  # seconds between two signs of life, at most
WAIT_MAX = 86400.0  # seconds between two polls

log = logging.getLogger("gorgond.provider")


class Polling:
    """Polls one source."""

    def __init__(self, source: Source, leading: Leading, pushing: Pushing, caller: Calling) -> None:
        self.outage = Outage(f"source {source.name}")
        self.unread = Outage(f"the cursor of {source.name}, which is in the store")
        self.leading = leading
        self._source = source
        self._pushing = pushing
        self._caller = caller
        self._beat: Beat
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[Batch | None] | None = None

    def stop(self) -> None:
        """Poll no more; what a poll has brought is pushed."""
        self._stopping.set()
        self._pushing.stop()
        if self._task is not None:
            self._task.cancel()

    async def run(self, beat: Beat) -> None:
        """Poll until stopped, or until the source is at its end. Raises ConfigError when an operator must act."""
        self._beat = beat
        cursor, term, delay = None, 0, AGAIN[0]
        while not self._stopping.is_set():
            self._beat()
            if not self.leading.held:
                await self.leading.look(TURN)
                continue
            if self._source.remembers and term != self.leading.term:
                term = self.leading.term
                cursor = await self._read_cursor()
                continue
            try:
                batch = await self._poll(cursor)
                if batch is None:
                    return
                parts, note = self._pushing.parts(batch.items), self._note(batch.cursor)
                least = 0.0 if parts else TICK
                wait = min(batch.wait, WAIT_MAX) if batch.wait > least else least
            except _Ended:
                continue
            except ConfigError:
                raise
            except Exception as error:
                if not self.outage.length:
                    log.exception("polling %s failed", self._source.name)
                self.outage.begin(f"{type(error).__name__}: {error}")
                await self._pause(delay)
                delay = min(delay * 2, AGAIN[1])
                continue
            self.outage.end()
            delay = AGAIN[0]
            if await beating(self._bring(parts, note, batch.cursor != cursor), beat):
                cursor = batch.cursor
                await self._pause(wait)

    async def _bring(self, parts: Sequence[Part], note: bytes, moved: bool) -> bool:
        """Push what came, and then note how far we are; False when asked to stop before all of it was there."""
        if not await self._pushing.push(parts):
            return False
        # An instance that does not lead any more leaves that to the one that does, although an older cursor would only
        # cost a further look.
        if self._source.remembers and moved and self.leading.held:
            return await self._pushing.put([note])
        return True

    async def _poll(self, cursor: Any) -> Batch | None:
        """One poll, as long as it is ours. Raises what it raises, and _Ended when it was cut off."""
        task = self._task = asyncio.create_task(self._batch(cursor), name=f"polling {self._source.name}")
        loop = asyncio.get_running_loop()
        end = loop.time() + POLL_MAX
        try:
            while not task.done():
                self._beat()
                await asyncio.wait({task}, timeout=TURN)
                if not task.done() and not self.leading.held:
                    raise _Ended
                if not task.done() and loop.time() > end:
                    raise TimeoutError(f"a poll took more than {POLL_MAX:g} s")
            if task.cancelled():
                raise _Ended
            return task.result()
        finally:
            self._task = None
            task.cancel()
            await asyncio.wait({task}, timeout=TURN)

    async def _batch(self, cursor: Any) -> Batch | None:
        return await contained(self._source.poll(cursor))

    async def _read_cursor(self) -> Any:
        """The cursor in the store; None when there is none, or somebody asked to stop before it was there."""
        name = self._source.name
        while not self._stopping.is_set():
            self._beat()
            args = {"filter": {"id": name}, "limit": 1}
            question = Message(f"{COLLECTION}.find", args, deadline=now_ms() + int(READ * 1000))
            try:
                reply = await self._caller.call("provider_store_get", question)
                if reply.error is not None:
                    raise reply.error
            except GorgonError as error:
                self.unread.begin(str(error))
                await self._pause(TURN)
                continue
            self.unread.end()
            found = loads(reply.body)
            if found and "cursor" not in found[0]:
                raise ConfigError(
                    f"the document {name} of the collection {COLLECTION} has no cursor: write one, or delete it; "
                    f"then provider {name} begins anew"
                )
            return found[0]["cursor"] if found else None
        return None

    def _note(self, cursor: Any) -> bytes:
        """The message that keeps the cursor."""
        return Message(f"{COLLECTION}.replace", {"documents": [{"id": self._source.name, "cursor": cursor}]}).encode()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless asked to stop."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0 and not self._stopping.is_set():
            self._beat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left, TURN))


class _Ended(Exception):
    """A poll that was cut off: it is not ours any more, or nobody wants it."""
