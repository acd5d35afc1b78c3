"""The words of services to `gorgond up`, which they are to systemd: READY, WATCHDOG, STATUS (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_LONGEST = 1 << 16  # bytes of a datagram


class Notices:
    """A datagram socket at `path`, whose directory is ours alone. The kernel says which process each datagram is of. A
    process speaks for the one that began its session too: a program that has no such sockets asks systemd-notify(1) to
    say it. Datagrams of others are dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        path.unlink(missing_ok=True)  # of one that was killed
        self._socket.bind(str(path))
        self._heard: dict[int, Callable[[Mapping[str, str]], None]] = {}  # by process

    def start(self) -> None:
        """Hear from now on, in this event loop."""
        asyncio.get_running_loop().add_reader(self._socket, self.read)

    def close(self) -> None:
        """Hear no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def follow(self, pid: int, heard: Callable[[Mapping[str, str]], None]) -> None:
        """Call `heard` with the fields of what this process says."""
        self._heard[pid] = heard

    def forget(self, pid: int) -> None:
        """It has ended; its last words are heard first."""
        self.read()
        self._heard.pop(pid, None)

    def read(self) -> None:
        """Pass on what is there."""
        with suppress(BlockingIOError):
            while True:
                data, more, *_ = self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
                for level, kind, content in more:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                        self._pass_on(_CREDENTIALS.unpack(content)[0], data)

    def _pass_on(self, pid: int, data: bytes) -> None:
        if heard := self._heard.get(pid) or self._heard.get(_session_of(pid)):
            lines = data.decode(errors="replace").splitlines()
            heard({key: text for key, mark, text in (line.partition("=") for line in lines) if mark})


def _session_of(pid: int) -> int:
    """The process that began the session of this one; 0 when it has ended."""
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0
