"""Looks whether a Redis on a unix socket of this host answers, and has it started again when it does not.

It loads the scripts as soon as Redis is there, since roles may not load any. A script that does not end is ended, which
is possible as long as it has written nothing. A Redis that says nothing for PATIENCE is killed, whether it loops, hangs
or was stopped: what was accepted is on its disk, and who started it starts it again. One that reads its file at its
start says so, which is an answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from gorgond.errors import ConfigError
from gorgond.redpill import Broker, keys, protocol, script

TICK = 1.0  # seconds between two questions
AGAIN = 0.05  # seconds until one that is not there, or not ready, is asked again
PATIENCE = 30.0  # seconds that it may say nothing, or nothing but that a script runs

log = logging.getLogger(__name__)


class Watch:
    """The watch over the Redis at `path`, where we are `user`; without a password nobody in particular.

    `beat` is called while the watch itself goes on, `met` when Redis has the scripts.
    """

    def __init__(
        self,
        path: str,
        user: str = "",
        password: str = "",
        patience: float = PATIENCE,
        *,
        beat: Callable[[], None] = lambda: None,
        met: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._beat, self._met = beat, met
        self._login = ("AUTH", user, password) if password else ()
        self._patience = patience
        self._refusal = ""  # told once

    @classmethod
    def over(
        cls, broker: Broker, beat: Callable[[], None] = lambda: None, met: Callable[[], None] = lambda: None
    ) -> Watch:
        """The watch over this broker. Raises ConfigError when it is none on a unix socket of this host."""
        if broker.socket is None:
            raise ConfigError(
                "only a broker on a unix socket of this host is watched, as unix:///run/gorgond/broker.sock"
            )
        return cls(broker.socket.path, broker.socket.user, broker.socket.password, beat=beat, met=met)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._beat()
            with suppress(OSError, EOFError), socket.socket(socket.AF_UNIX) as link:
                await self._watch(link)
            await asyncio.sleep(AGAIN)

    async def _watch(self, link: socket.socket) -> None:
        """Watch over the Redis that runs now. Raises OSError and EOFError when there is none, or no more."""
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, self.path)
        reader, writer = await asyncio.open_unix_connection(sock=link)
        try:
            await self._look(_Asking(reader, writer, self._patience))
        except TimeoutError:
            pid, _, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            log.error("the broker %s did not answer for %g s: %s", self.path, self._patience, kill(pid))
        finally:
            writer.close()

    async def _look(self, redis: _Asking) -> None:
        """Ask again and again. Raises TimeoutError when it hangs, OSError and EOFError when it ends."""
        if self._login:
            await self._tell(redis, *self._login)
        loaded, busy = False, 0.0
        while True:
            answer = await redis.ask("PING")
            self._beat()
            if not answer.startswith(b"-BUSY"):
                busy = 0.0
                if not loaded and not answer.startswith(b"-LOADING"):
                    loaded = await self._agree(redis) and await self._load(redis)
                    if loaded:
                        self._met()
            elif busy and time.monotonic() - busy > self._patience:
                raise TimeoutError
            else:
                busy = busy or time.monotonic()
                said = (await redis.ask("SCRIPT", "KILL")).decode()
                log.warning("a script kept the broker %s from answering; to SCRIPT KILL it says %s", self.path, said)
            await redis.rest(AGAIN if answer.startswith(b"-LOADING") else TICK)

    async def _agree(self, redis: _Asking) -> bool:
        """Whether its keys and scripts are of our major version; where none is noted, ours is. A broker whose users are
        still those of an earlier gorgond does not let us look: then whoever made its users notes it."""
        said = (await redis.ask("GET", keys.PROTOCOL)).decode(errors="replace")
        if said.startswith("-NOPERM"):
            return True
        if protocol.is_outdated(said):  # a Redis without room does not take it, but takes the scripts
            await redis.ask("SET", keys.PROTOCOL, protocol.VERSION, "XX" if said else "NX")
        why = protocol.refusal(said)
        if why and why != self._refusal:
            self._refusal = why
            log.error("the broker %s is not given our scripts: %s", self.path, why)
        return not why

    async def _load(self, redis: _Asking) -> bool:
        return all([await self._tell(redis, "SCRIPT", "LOAD", each.text) for each in script.ALL])

    async def _tell(self, redis: _Asking, *words: str) -> bool:
        """Whether it did what it was told; the log says otherwise why, once."""
        answer = (await redis.ask(*words)).decode(errors="replace")
        refused = answer.startswith("-")
        if refused and answer != self._refusal:
            self._refusal = answer
            log.error("the broker %s refuses its watch: %s; see gorgonctl secrets", self.path, answer)
        return not refused


class _Asking:
    """A connection to Redis for commands with short answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float) -> None:
        self._reader, self._writer, self._patience = reader, writer, patience

    async def ask(self, *words: str) -> bytes:
        """The text that is the answer, empty for none; of an answer of another kind its first line. Raises TimeoutError
        when there is none in time, EOFError, OSError."""
        packed = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._writer.write(f"*{len(words)}\r\n{''.join(packed)}".encode())
        async with asyncio.timeout(self._patience):
            line = await self._reader.readuntil(b"\r\n")
            if line == b"$-1\r\n":
                return b""
            if line.startswith(b"$"):
                return (await self._reader.readexactly(int(line[1:]) + 2))[:-2]
        return line.rstrip()

    async def rest(self, seconds: float) -> None:
        """Wait so long. Raises EOFError as soon as Redis has ended: the next one wants its scripts at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
                raise EOFError


def kill(pid: int) -> str:
    """End a process that hangs: what became of it, in words."""
    if pid == 0:  # the kernel's word for a process that cannot be seen from here; to kill(2) it would be ourselves
        return "it runs in another container, and can be ended only there"
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        return f"it cannot be killed: process {pid}: {error.strerror}"
    return f"it is killed, process {pid}"
