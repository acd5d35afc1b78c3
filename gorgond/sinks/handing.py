"""Handing events to a sink: the part of every role whose durable group leads outside.

An event is settled after the sink has it. One whose hander is killed in between is handed over again, and its id tells
that it is the same. While the sink is away the events wait in their group; those of a batch that it has by then are
settled, the others come again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gorgond.errors import SinkAway
from gorgond.redpill import DONE, Message, Outage, Outcome, Retry, Unavailable
from gorgond.sinks.sink import Sink

BATCH = 200  # events that are settled together: the broker writes its disk once for all of them


class Handing:
    """Hands events to `sink`; `handle` is the handler of a consumer in a thread of its own, since writing blocks."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._outage = Outage(sink.name)

    async def handle(self, events: Sequence[Message]) -> Sequence[Outcome]:
        """The outcomes of a batch."""
        try:
            self._sink.write(events)
        except SinkAway as away:
            self._outage.begin(str(away))
            if not away.written:
                raise Unavailable(str(away)) from None
            left = [Retry(str(away), delay=0.0)] * (len(events) - away.written)
            return [*([DONE] * away.written), *left]
        self._outage.end()
        return [DONE] * len(events)

    def waiting(self) -> str:
        """A status line while the sink is away; else nothing."""
        if not self._outage.length:
            return ""
        return f"waiting for {self._outage.what} for {self._outage.length:.0f} s: {self._outage.reason}"

    def close(self) -> None:
        """Let go of the sink."""
        self._sink.close()
