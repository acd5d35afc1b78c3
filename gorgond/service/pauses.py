"""Queues are paused on all brokers or on none. A broker of calls may have forgotten it, since it keeps nothing on disk:
then what the durable one says is done there again."""

from __future__ import annotations

from collections.abc import Sequence

from gorgond.redpill import Counts, Link


async def pause_alike(links: Sequence[Link], queues: Sequence[str], figures: Sequence[Sequence[Counts]]) -> None:
    """Pause and resume these queues as they are at the durable broker, which is the first; `figures` are those of each
    broker. Raises BrokerError."""
    for queue, durable, *others in zip(queues, *figures, strict=True):
        for link, counts in zip(links[1:], others, strict=True):
            if durable.paused and not counts.paused:
                await link.pause(queue)
            elif counts.paused and not durable.paused:
                await link.resume(queue)
