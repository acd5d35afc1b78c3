"""A daemon's words to systemd (sd_notify(3)), and the sockets from it (sd_listen_fds(3)); silent without systemd. What
is said of systemd here holds for `gorgond up`, which stands in its place."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

import sdnotify

from gorgond.errors import ConfigError
from gorgond.service.plain import plain

FIRST_DESCRIPTOR = 3


class Notifier:
    """Tells systemd how the service fares."""

    def __init__(self) -> None:
        self._systemd = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        self._status = ""

    def ready(self) -> None:
        """Start-up, or a reload, is finished."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The service drains and will end."""
        self._tell("STOPPING=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1", socket.MSG_DONTWAIT)

    def status(self, line: str) -> None:
        """One line for `systemctl status`; sent when it has changed. A second line in it would be another word to
        systemd, and it is read on a terminal."""
        if line != self._status and self._tell(f"STATUS={plain(line)}", socket.MSG_DONTWAIT):
            self._status = line

    def _tell(self, state: str, flags: int = 0) -> bool:
        """Whether it was taken. A line that is said again and again does not wait for a reader that was stopped."""
        with suppress(OSError):
            if self._systemd is not None and self._systemd.socket is not None:
                self._systemd.socket.send(state.encode(errors="replace"), flags)
                return True
        return False


def watchdog_seconds(environ: MutableMapping[str, str] = os.environ) -> float:
    """The watchdog's patience; 0.0 when there is no watchdog for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000


def listening_sockets(name: str, environ: MutableMapping[str, str] = os.environ) -> list[socket.socket] | None:
    """The sockets that systemd has opened under `name`, or None when it has opened none for this process at all.

    Raises ConfigError when there are sockets but none of that name: a service must not listen elsewhere then. The
    variables are removed, so that children do not take the sockets for theirs.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(environ.pop("LISTEN_FDS", "0"))
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    del environ["LISTEN_PID"]
    found = []
    for offset in range(count):
        descriptor = FIRST_DESCRIPTOR + offset
        os.set_inheritable(descriptor, False)
        if offset < len(names) and names[offset] == name:
            listener = socket.socket(fileno=descriptor)
            listener.setblocking(False)
            found.append(listener)
    if not found:
        raise ConfigError(f"systemd passed {count} sockets, but none with FileDescriptorName={name}")
    return found
