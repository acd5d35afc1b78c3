"""Events in a plain file, one JSON object a line:

    {"at":"2026-11-25T18:40:12.345+00:00","event":"items.added","id":"1a2b","user":"5","message":"…","args":{…}}

Characters that are not seen in it, but do something to a terminal, are escaped as JSON has it.
The file may be renamed, removed or truncated meanwhile (logrotate(8)): it is looked for by its name each time. A batch
is written whole or not at all, so a full disk leaves no half of a line, and nothing is there twice when there is room.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gorgond.errors import SinkAway
from gorgond.redpill import Message, dumps
from gorgond.service.plain import plain
from gorgond.settings import Journal
from gorgond.sinks.entry import logged_part, user_of
from gorgond.sinks.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = Path("/var/log/gorgond/events.log")  # where it is unless [journal] file says


class FileSink(Sink):
    """The log at `path`. Several processes may share it."""

    network = False

    def __init__(self, path: Path) -> None:
        self.name = f"event log {path}"
        self._path = path
        self._file = -1

    @classmethod
    def of(cls, settings: Journal) -> Self:
        return cls(Path(settings.file) if settings.file else DEFAULT)

    def write(self, events: Sequence[Message]) -> None:
        lines = b"".join(map(_line, events))
        try:
            self._reopen()
            with _lock(self._file):
                self._append(lines)
        except OSError as error:
            raise SinkAway(f"{self._path}: {error.strerror}", 0) from None

    def _reopen(self) -> None:
        """Open the file that has the name now, unless it is open."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file), self._path.stat()):
                return
        self.close()
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _append(self, lines: bytes) -> None:
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":  # somebody was killed while writing
            lines = b"\n" + lines
        try:
            written = os.write(self._file, lines)
            while written < len(lines):  # a full disk takes a part first and says so then
                written += os.write(self._file, lines[written:])
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def _lock(file: int) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _line(event: Message) -> bytes:
    entry = {
        "at": datetime.fromtimestamp(event.sent / 1000, UTC).isoformat(timespec="milliseconds"),
        "event": event.op,
        "id": event.args.get("id", ""),
        "user": user_of(event),
        "message": event.id,
        "args": logged_part(event),
    }
    return plain(dumps(entry).decode()).encode() + b"\n"
