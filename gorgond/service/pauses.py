"""Queues are paused on all brokers or on none. A broker of calls may have forgotten it, since it keeps nothing on disk:
then what the durable one says is done there again; and so for a queue that has a broker of its own."""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.redpill import Counts, Link


async def pause_alike(figures: Mapping[Link, Mapping[str, Counts]]) -> None:
    """Pause and resume the queues of each broker as they are at the durable one, which is the first; `figures` are
    those of each. Raises BrokerError."""
    durable, *others = figures.items()
    for link, counts in others:
        for queue, here in counts.items():
            paused = durable[1][queue].paused
            if paused and not here.paused:
                await link.pause(queue)
            elif here.paused and not paused:
                await link.resume(queue)
