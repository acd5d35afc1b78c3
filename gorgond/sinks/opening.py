"""The sink of a journal: the kind that [journal] names, else journald, or a file where there is none."""

from __future__ import annotations

from gorgond.settings import Journal
from gorgond.sinks import SINKS, journald
from gorgond.sinks.sink import Sink


def open_sink(settings: Journal) -> Sink:
    """The sink of these settings. Raises ConfigError when its kind cannot be imported."""
    by_itself = "file" if settings.file or not journald.SOCKET.exists() else "journald"
    kind: type[Sink] = SINKS.load(settings.kind or by_itself)
    return kind.of(settings)
