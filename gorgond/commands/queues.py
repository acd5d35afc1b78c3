"""A table of the queues, for people: what is where, and how much moves."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gorgond.redpill import BrokerError, Counts
from gorgond.roles import QUEUES
from gorgond.service.fabric import Fabric

HEADER = f"{'queue':14}{'queued':>10}{'in flight':>10}{'delayed':>9}{'dead':>7}{'in/s':>9}{'done/s':>9}"


class QueueTable:
    """The queues of a fabric, over all its brokers; rates are since the last look."""

    def __init__(self, fabric: Fabric) -> None:
        self._links = [broker.link("table") for broker in fabric.brokers]
        self._last: dict[str, tuple[float, int, int]] = {}

    async def lines(self) -> list[str]:
        """The table's lines, or one that says why there is none."""
        try:
            found = [await link.counts(QUEUES) for link in self._links]
        except BrokerError as error:
            return [f"no figures of the queues: {error}"]
        return [HEADER, *(self._line(name, counts) for name, *counts in zip(QUEUES, *found, strict=True))]

    def _line(self, name: str, counts: Sequence[Counts]) -> str:
        queued, in_flight, delayed, dead, accepted, done = (
            sum(getattr(each, figure) for each in counts)
            for figure in ("queued", "in_flight", "delayed", "dead", "accepted", "done")
        )
        now = time.monotonic()
        then, accepted_then, done_then = self._last.get(name, (now - 1, accepted, done))
        self._last[name] = now, accepted, done
        rates = [(new - old) / max(now - then, 0.001) for new, old in ((accepted, accepted_then), (done, done_then))]
        return f"{name:14}{queued:10,}{in_flight:10,}{delayed:9,}{dead:7,}{rates[0]:9,.0f}{rates[1]:9,.0f}"

    async def close(self) -> None:
        """Let go of the connections."""
        for link in self._links:
            await link.close()
