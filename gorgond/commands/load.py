"""`gorgond load`: fills the database in bulk with made-up notes, past the queues.

It may be interrupted and run again: a note's id is made of the seed and its number, so none is stored twice, and what
is there already is skipped without sending it. Several batches are under way at the same time, in their order and
never more than THREADS of them; so all that can be missing below the last note that is there is within as many batches.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from gorgond.commands.progress import Bar
from gorgond.config import Config
from gorgond.errors import ConfigError, StoreAway, StoreRefused
from gorgond.providers.random import RandomItems
from gorgond.redpill import Outage
from gorgond.stores import open_store
from gorgond.stores.contract import Query, Store, Write

BATCH = 1000  # notes in one write
THREADS = 2  # while one waits for the database the other one's Python runs
PAUSE = 1.0  # seconds until a database that is away is asked again

T = TypeVar("T")


def fill(config: Config, seed: int, users: int, size: int, items: int) -> int:
    """Load notes 0 to `items`; the exit code. Raises ConfigError, StoreRefused."""
    with config.blaming("store", "url"):
        store = open_store(config.store.url)
    try:
        if config.store.url.startswith("sqlite:"):
            with config.blaming("store", "url"):
                _see_file(store)
        loading = Loading(store, RandomItems(seed, users, size))
        started = time.monotonic()
        loading.run(items)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this stopped", file=sys.stderr)
        raise
    finally:
        store.close()
    seconds = time.monotonic() - started
    there = items - loading.stored
    print(f"{items:,} notes: stored {loading.stored:,} in {seconds:.1f} s, {there:,} were there")
    return 0


def _see_file(store: Store) -> None:
    """A file that cannot be opened is no outage to wait for. Raises ConfigError."""
    try:
        store.health()
    except StoreAway as away:
        raise ConfigError(str(away)) from away


class Loading:
    """Writes notes of `source` into a store. `stored` is how many were not there before."""

    def __init__(self, store: Store, source: RandomItems) -> None:
        self.stored = 0
        self._store = store
        self._source = source
        self._outage = Outage("the database")
        self._stopping = Event()

    def run(self, items: int) -> None:
        """All notes below number `items`. Raises StoreRefused."""
        self._wait_out(self._store.prepare)
        bar = Bar("loaded")
        first = self._resume(items)
        bar.show(first, items)
        in_flight: deque[Future[int]] = deque()
        with ThreadPoolExecutor(THREADS) as threads:
            try:
                for begin in range(first, items, BATCH):
                    if len(in_flight) == THREADS:
                        self.stored += in_flight.popleft().result()
                        bar.show(begin - BATCH * len(in_flight), items)
                    in_flight.append(threads.submit(self._write, range(begin, min(begin + BATCH, items))))
                for written in in_flight:
                    self.stored += written.result()
            finally:
                self._stopping.set()
        bar.show(items, items)

    def _resume(self, items: int) -> int:
        """The number of the note to begin with: all below it are there."""
        batches = range(0, items, BATCH)
        complete = bisect_left(batches, True, key=lambda begin: not self._has(min(begin + BATCH, items) - 1))
        return max(0, complete - THREADS) * BATCH

    def _has(self, n: int) -> bool:
        """Whether note n is there."""
        query = Query("items", {"id": self._source.id(n)}, limit=1, projection=("id",))
        [found] = self._wait_out(lambda: self._store.find([query]))
        if isinstance(found, StoreRefused):
            raise found
        return found != b"[]"

    def _write(self, numbers: range) -> int:
        """Write these notes; how many were not there before."""
        documents = map(self._source.item, numbers)
        writes = [Write("insert", "items", document["id"], document["ts"], document) for document in documents]
        effects = self._wait_out(lambda: self._store.write(writes))
        for effect in effects:
            if isinstance(effect, StoreRefused):
                raise effect
        return effects.count("stored")

    def _wait_out(self, work: Callable[[], T]) -> T:
        """Do it; while the database is away, wait for it, unless all is about to end."""
        while True:
            try:
                done = work()
            except StoreAway as away:
                self._outage.begin(str(away))
                if self._stopping.wait(PAUSE):
                    raise
            else:
                self._outage.end()
                return done
