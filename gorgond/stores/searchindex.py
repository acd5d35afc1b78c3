"""Makes the index for searches when a collection is first searched: in a thread of its own, one for each collection.

Whoever searches meanwhile is told to ask again. Why not at the start: see `stores.schema`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gorgond.errors import GorgonError, StoreRefused

log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds that the search which begins it waits for it: enough for a few thousand documents

Make = Callable[[str, threading.Event], None]


class IndexBuilder:
    """`make(collection, closing)` makes the index, and ends soon when `closing` is set; it may be called again then."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}

    def make(self, collection: str) -> None:
        """See that the index is being made; who begins it waits a moment, everybody else does not."""
        with self._lock:
            running = self._threads.get(collection)
            if self._closing.is_set() or (running is not None and running.is_alive()):
                return
            thread = threading.Thread(target=self._run, args=(collection,), name=f"index {collection}", daemon=True)
            self._threads[collection] = thread
            thread.start()
        thread.join(PATIENCE)

    def _run(self, collection: str) -> None:
        try:
            self._make(collection, self._closing)
        except GorgonError as error:
            log.warning("the search index of %s was not made, the next search tries again: %s", collection, error)

    def close(self) -> None:
        """Make no more; returns when what is being made has stopped, or soon."""
        self._closing.set()
        for thread in self._threads.values():
            thread.join(PATIENCE)


def not_ready() -> StoreRefused:
    """What a search gets until the index is there."""
    return StoreRefused("search: the index for it is being made; ask again in a while", 503)
