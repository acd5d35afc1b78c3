"""Ends connections of psycopg's whose server has said nothing for long, since psycopg waits for ever: one that is
stopped, or a host that is gone, is then away, as one that was killed is."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HANGS = 30.0  # seconds without an answer: several times what a statement has, on a machine that is busy
LOOKS = 1.0  # seconds between two looks


class Watch:
    """Watches what is asked of one database, in a thread that ends with it."""

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}  # descriptors of connections, and since when they wait for an answer
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def asking(self, descriptor: int) -> Iterator[None]:
        """While something is asked over the connection with this descriptor."""
        if self._thread is None:
            self._start()
        self._asked[descriptor] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:  # or it might be closed, and another's, when it is ended
                del self._asked[descriptor]

    def close(self) -> None:
        self._over.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="postgresql watch", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(LOOKS):
            with self._lock:
                for descriptor, asked in [*self._asked.items()]:
                    if asked < time.monotonic() - HANGS:
                        _end(descriptor)


def _end(descriptor: int) -> None:
    """Whoever waits for it is told that the connection is gone."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
