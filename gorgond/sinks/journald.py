"""Events as entries of journald, in its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).

An entry is one datagram: a line KEY=value for each field, or, where the value has line breaks, the key, a line break,
the value's length in 64 bits little endian, the value, a line break. An entry too large for a datagram is put into a
sealed memfd, and an empty datagram carries its descriptor.

sd_journal_send(3) does the same, but says that all is well where there is no journald, and waits for ever where it
hangs; nothing could be promised with it.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from gorgond.errors import SinkAway
from gorgond.redpill import Message, dumps
from gorgond.service.plain import plain
from gorgond.settings import Journal
from gorgond.sinks.entry import headline, logged_part, user_of
from gorgond.sinks.sink import Sink

SOCKET = Path("/run/systemd/journal/socket")
MESSAGE_ID = "8d8f6b6ce1de4b5c9d0d5f2a9a6f3c41"  # of every event: journalctl MESSAGE_ID=…
PATIENCE = 1  # seconds that journald may take to receive an entry
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class JournaldSink(Sink):
    """The journal behind the socket at `path`."""

    network = False

    def __init__(self, path: Path) -> None:
        self.name = f"journald {path}"
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # The kernel's own time limit: with Python's a socket without a peer is found ready again and again.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))

    @classmethod
    def of(cls, _: Journal) -> Self:
        return cls(SOCKET)

    def write(self, events: Sequence[Message]) -> None:
        for written, event in enumerate(events):
            try:
                self._send(encoded(_fields(event)))
            except BlockingIOError:
                raise SinkAway("it receives nothing", written) from None
            except OSError as error:
                raise SinkAway(f"{error.strerror}", written) from None

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_large(entry)

    def _send_large(self, entry: bytes) -> None:
        with os.fdopen(os.memfd_create("entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            carried = array.array("i", [file.fileno()])
            self._socket.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)], 0, self._path)

    def close(self) -> None:
        self._socket.close()


def encoded(fields: Mapping[str, str]) -> bytes:
    """An entry with these fields, as it travels."""
    parts = []
    for key, value in fields.items():
        raw = value.encode(errors="replace")
        if "\n" in value:
            parts.append(b"%s\n%s%s\n" % (key.encode(), struct.pack("<Q", len(raw)), raw))
        else:
            parts.append(b"%s=%s\n" % (key.encode(), raw))
    return b"".join(parts)


def _fields(event: Message) -> dict[str, str]:
    fields = {
        "MESSAGE": plain(headline(event)),
        "MESSAGE_ID": MESSAGE_ID,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "gorgon-journal",
        "GORGON_EVENT": event.op,
        "GORGON_ID": str(event.args.get("id", "")),
        "GORGON_USER": user_of(event),
        "GORGON_MESSAGE": event.id,
        "GORGON_TRACE": event.trace,
        "GORGON_ARGS": plain(dumps(logged_part(event)).decode()),
    }
    return {key: value for key, value in fields.items() if value}
