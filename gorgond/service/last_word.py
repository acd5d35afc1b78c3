"""What a process that cannot run tells the fabric before it ends: who it would be, and why it cannot. So it is missed,
and not taken for one that was stopped."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gorgond.config import Config
from gorgond.errors import ConfigError
from gorgond.redpill import BrokerError, Message, Producer
from gorgond.service.fabric import connect_fabric
from gorgond.service.figures import LAST_WORD, RUN


def tell_failed(config: Config, name: str, why: str) -> None:
    """Tell it on the topic `stats`, unless the broker is away, or does not let us in."""
    with suppress(ConfigError, BrokerError, TimeoutError):
        asyncio.run(_tell(config, Message("stats.failed", {"name": name, "run": RUN, "why": why})))


async def _tell(config: Config, event: Message) -> None:
    broker = connect_fabric(config).calls
    producer, link = Producer(broker, f"{event.args['name']} end"), broker.link(f"{event.args['name']} end")
    try:
        async with asyncio.timeout(LAST_WORD):
            await link.ping()  # a producer would wait for a broker that is away
            producer.start()
            await producer.publish("stats", event)
            await producer.stop(timeout=0)
    finally:
        await link.close()
