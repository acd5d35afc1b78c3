"""Where events are written for people to read later: journald, or a file where there is none.

`open_event_log` chooses; an event log has one method, `write`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gorgond.eventlog import journald
from gorgond.eventlog.file import FileLog
from gorgond.eventlog.journald import JournaldLog
from gorgond.redpill import Message

DEFAULT_FILE = Path("/var/log/gorgond/events.log")


class EventLog(Protocol):
    """A log of events; not for two threads at once."""

    name: str

    def write(self, events: Sequence[Message]) -> None:
        """Write these, in their order. Raises LogAway, which says how many of them were written."""

    def close(self) -> None:
        """Let go of what is open."""


def open_event_log(file: str) -> EventLog:
    """The log at the path `file`; without one journald, or where it is not running the file DEFAULT_FILE.

    Nothing is opened yet: what cannot be written to shows as `LogAway`.
    """
    if file or not journald.SOCKET.exists():
        return FileLog(Path(file or DEFAULT_FILE))
    return JournaldLog(journald.SOCKET)
