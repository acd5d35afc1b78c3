"""Taking connections from listening sockets.

The event loop's own servers are no good where several processes hold a socket and take turns: a connection accepted in
the turn in which they are closed is lost, they unlink a unix socket that others still listen on (Python 3.13), and when
no file descriptor is left asyncio's tries again a thousand times at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

AT_ONCE = 100  # connections taken in one turn of the event loop
PAUSE = 1.0  # seconds until it is tried again when there is no file descriptor left

log = logging.getLogger("gorgond.http")


class Acceptor:
    """Hands each connection that comes on `sockets` to `take`, which may raise OSError of one that has gone already."""

    def __init__(
        self, sockets: Sequence[socket.socket], take: Callable[[socket.socket], Coroutine[Any, Any, object]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = take
        self._open = set(sockets)
        self._arriving: set[asyncio.Task[object]] = set()
        for each in sockets:
            self._loop.add_reader(each, self._accept, each)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # it has gone already
                continue
            except OSError as error:
                log.warning("no connection can be accepted for %g s: %s", PAUSE, error.strerror)
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE, self._accept_again, listening)
                return
            connection.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(self._arrive(connection))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _arrive(self, connection: socket.socket) -> None:
        try:
            await self._take(connection)
        except OSError:  # it has gone already
            connection.close()

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._open:
            self._loop.add_reader(listening, self._accept, listening)

    async def close(self) -> None:
        """Accept no more; back when those that were accepted are taken. The sockets are closed, not shut
        down: other processes may hold them too."""
        for each in self._open:
            self._loop.remove_reader(each)
            each.close()
        self._open.clear()
        if self._arriving:
            await asyncio.wait(self._arriving)
