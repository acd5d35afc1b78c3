"""Everybody who looks at the page: the same bytes for all of them, and the newest for those who come later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gorgond.http.answers import Streamed
from gorgond.http.sse import Hub, Viewer, event

VIEWERS_MAX = 200


@dataclass(slots=True, eq=False)
class _Viewer(Viewer):
    """One who looks, as long as `stays` says so."""

    stays: Callable[[], bool]


class Viewers:
    """Those who look."""

    def __init__(self) -> None:
        self._hub: Hub[_Viewer] = Hub(VIEWERS_MAX, f"{VIEWERS_MAX} viewers are here already", 5)
        self._newest = b""

    def __len__(self) -> int:
        return len(self._hub)

    def answer(self, stays: Callable[[], bool]) -> Streamed:
        """The answer to one more, who is sent away when `stays` says no. Raises Problem 503 when there are too many."""
        return self._hub.answer(lambda sink: _Viewer(sink, stays), self._newest)

    def send(self, name: str, data: bytes) -> None:
        """Send an event to all; `data` is one line."""
        self._newest = event(name, data)
        for viewer in self._hub:
            if not viewer.stays():
                viewer.sink.close()
        self._hub.sweep()
        for viewer in self._hub:
            viewer.write(self._newest)

    def close(self) -> None:
        """End all streams."""
        self._hub.close()
