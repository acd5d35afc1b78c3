"""Everybody who looks at the page: one stream of server-sent events for each, and the same bytes for all of them.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Callable

from gorgond.http.answers import Problem, Sink, Streamed

VIEWERS_MAX = 200
BEHIND_MAX = 256 * 1024  # bytes that a viewer may be behind; then it is dropped, and comes again by itself
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Viewers:
    """Those who look."""

    def __init__(self) -> None:
        self._sinks: dict[Sink, Callable[[], bool]] = {}
        self._newest = b""

    def __len__(self) -> int:
        return len(self._sinks)

    def answer(self, stays: Callable[[], bool]) -> Streamed:
        """The answer to one more, who is sent away when `stays` says no. Raises Problem 503 when there are too many."""
        self._sweep()
        if len(self._sinks) >= VIEWERS_MAX:
            raise Problem(503, f"{VIEWERS_MAX} viewers are here already", {"Retry-After": "5"})
        begin = b"retry: 1000\n\n" + self._newest
        return Streamed(200, begin, "text/event-stream; charset=utf-8", HEADERS, lambda sink: self._join(sink, stays))

    def _join(self, sink: Sink, stays: Callable[[], bool]) -> None:
        self._sinks[sink] = stays

    def send(self, name: str, data: bytes) -> None:
        """Send an event to all; `data` is one line."""
        self._newest = b"event: %s\ndata: %s\n\n" % (name.encode(), data)
        self._sweep()
        for sink in self._sinks:
            sink.write(self._newest)

    def _sweep(self) -> None:
        """Forget who has gone, drop who is too far behind or may not look any more."""
        for sink, stays in list(self._sinks.items()):
            if sink.unsent > BEHIND_MAX or not stays():
                sink.close()
            if sink.closed():
                del self._sinks[sink]

    def close(self) -> None:
        """End all streams."""
        for sink in self._sinks:
            sink.close()
        self._sinks.clear()
