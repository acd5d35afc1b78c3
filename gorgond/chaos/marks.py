"""Marks on the stats page: when a drill began, and how it ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gorgond.config import Config
from gorgond.errors import GorgonError
from gorgond.redpill import Message, Producer
from gorgond.service.fabric import connect_fabric

PATIENCE = 5.0  # seconds that a mark may take: it is for people, no drill fails without


def mark(config: Config, text: str) -> None:
    """Have the stats servers of this fabric show it among what happened when."""
    with suppress(GorgonError, TimeoutError):
        asyncio.run(_publish(config, Message("stats.mark", {"kind": "drill", "text": text})))


async def _publish(config: Config, event: Message) -> None:
    producer = Producer(connect_fabric(config).calls, "chaos-marks")
    producer.start()
    try:
        async with asyncio.timeout(PATIENCE):
            await producer.publish("stats", event)
    finally:
        await producer.stop(timeout=0)
