"""How many connections to MongoDB there are, counted as pymongo tells of them."""

from __future__ import annotations

import threading
from typing import Any

from pymongo.monitoring import ConnectionPoolListener


class PoolCount(ConnectionPoolListener):
    """`open` and `busy` connections of a client, those of its own watching of the servers left out."""

    def __init__(self) -> None:
        self.open = 0
        self.busy = 0
        self._lock = threading.Lock()

    def _count(self, open: int = 0, busy: int = 0) -> None:
        with self._lock:
            self.open += open
            self.busy += busy

    def connection_created(self, event: Any) -> None:
        self._count(open=1)

    def connection_closed(self, event: Any) -> None:
        self._count(open=-1)

    def connection_checked_out(self, event: Any) -> None:
        self._count(busy=1)

    def connection_checked_in(self, event: Any) -> None:
        self._count(busy=-1)

    def _nothing(self, event: Any) -> None:
        """Of no interest; pymongo wants an answer to each."""

    pool_created = pool_ready = pool_cleared = pool_closed = connection_ready = _nothing
    connection_check_out_started = connection_check_out_failed = _nothing
