"""Server-sent events (HTML Standard, 9.2): who is connected, until they go, fall too far behind or are sent away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gorgond.http.answers import Problem, Sink, Streamed
from gorgond.redpill import dumps

BEHIND_MAX = 256 * 1024  # bytes that a viewer may be behind; then it is dropped, and comes again by itself
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


@dataclass(slots=True, eq=False)
class Viewer:
    """One who is connected."""

    sink: Sink

    def write(self, data: bytes) -> None:
        """Send it, unless the viewer has gone."""
        if not self.sink.closed():
            self.sink.write(data)


V = TypeVar("V", bound=Viewer)


class Hub(Generic[V]):
    """Those who are connected, `most` of them; a client that comes then is told `full`, and to come again in `again`
    seconds."""

    def __init__(self, most: int, full: str, again: int) -> None:
        self._most = most
        self._full = full
        self._again = again
        self._viewers: set[V] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._viewers))

    def answer(self, join: Callable[[Sink], V], first: bytes = b"") -> Streamed:
        """The answer to one more, which begins with `first`; `join` makes a viewer of its sink. Raises Problem 503."""
        self.sweep()
        if len(self) >= self._most:
            raise Problem(503, self._full, {"Retry-After": str(self._again)})
        begin = b"retry: 1000\n\n" + first
        return Streamed(200, begin, "text/event-stream", HEADERS, lambda sink: self._viewers.add(join(sink)))

    def sweep(self) -> None:
        """Forget who has gone, drop who is too far behind."""
        for viewer in self:
            if viewer.sink.unsent > BEHIND_MAX:
                viewer.sink.close()
            if viewer.sink.closed():
                self._viewers.discard(viewer)

    def close(self) -> None:
        """End all streams."""
        for viewer in self._viewers:
            viewer.sink.close()
        self._viewers.clear()


def event(kind: str, data: bytes, id: str = "") -> bytes:
    """An event; `data` is one line."""
    head = f"id: {id}\n" if id else ""
    return head.encode() + b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def json_event(kind: str, value: Any, id: str = "") -> bytes:
    """An event whose data is JSON."""
    return event(kind, dumps(value), id)
