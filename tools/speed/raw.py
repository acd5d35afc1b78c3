"""The same as tools.speed.pump without its promises: pipelines of RPUSH and LPOP, as fast as a socket takes them.

    python -m tools.speed.raw produce URL COUNT BYTES BATCH
    python -m tools.speed.raw consume URL COUNT BATCH

A round trip has BATCH commands, a message each, that were packed before; what is popped is lost when its consumer dies.
Each prints what pump prints.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from hiredis import Reader, pack_command

from gorgond.service.systemd import Notifier
from tools.speed.pump import QUEUE, tell

READ = 1 << 18  # bytes


class Redis:
    """A connection to the Redis at this URL of a unix socket."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(url.removeprefix("unix://"))
        self._reader = Reader()

    def ask(self, packed: bytes, count: int) -> Sequence[Any]:
        """The answers to so many commands."""
        self._socket.sendall(packed)
        answers: list[Any] = []
        while len(answers) < count:
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(READ))
            else:
                answers.append(answer)
        return answers


def produce(server: Redis, count: int, size: int, batch: int) -> None:
    """Push messages that are `size` bytes each."""
    command = pack_command(("RPUSH", QUEUE, b"x" * size))  # type: ignore[arg-type] # it takes more than one
    whole = command * batch
    Notifier().ready()
    began, used = time.monotonic(), time.process_time()
    for _ in range(count // batch):
        server.ask(whole, batch)
    server.ask(command * (count % batch), count % batch)
    tell(began, used)


def consume(server: Redis, count: int, batch: int) -> None:
    """Pop them; where none is left, wait for one."""
    used = time.process_time()
    whole = pack_command(("LPOP", QUEUE)) * batch  # type: ignore[arg-type]
    wait = pack_command(("BLPOP", QUEUE, 0))  # type: ignore[arg-type]
    Notifier().ready()
    while count > 0:
        found = batch - server.ask(whole, batch).count(None)
        if count > found == 0:
            server.ask(wait, 1)
            found = 1
        count -= found
    tell(time.monotonic(), used)


if __name__ == "__main__":
    _work, _url, *_numbers = sys.argv[1:]
    (produce if _work == "produce" else consume)(Redis(_url), *map(int, _numbers))
