"""The same as tools.speed.pump over NATS JetStream: a stream in a file, and acknowledged batches.

    python -m tools.speed.jetstream produce URL COUNT BYTES BATCH
    python -m tools.speed.jetstream consume URL COUNT BATCH

BATCH messages are under way until JetStream has acknowledged them; the consumer fetches as many at a time, and
acknowledges each. JetStream synchronises its file every two minutes. Each prints what pump prints.
"""

from __future__ import annotations

import asyncio
import sys
import time

import nats

from gorgond.service.loop import run
from gorgond.service.systemd import Notifier
from tools.speed.pump import QUEUE, tell


async def produce(url: str, count: int, size: int, batch: int) -> None:
    """Publish messages that are `size` bytes each."""
    connection = await nats.connect(url)
    stream = connection.jetstream()
    Notifier().ready()
    began, used = time.monotonic(), time.process_time()
    for done in range(0, count, batch):
        some = min(batch, count - done)
        await asyncio.gather(*(stream.publish(QUEUE, b"x" * size) for _ in range(some)))
    tell(began, used)
    await connection.close()


async def consume(url: str, count: int, batch: int) -> None:
    """Acknowledge messages."""
    used = time.process_time()
    connection = await nats.connect(url)
    stream = connection.jetstream()
    await stream.add_stream(name=QUEUE, subjects=[QUEUE])
    subscription = await stream.pull_subscribe(QUEUE, durable="consumer")
    Notifier().ready()
    while count > 0:
        some = await subscription.fetch(min(batch, count), timeout=60)
        for message in some:
            await message.ack()
        count -= len(some)
    await connection.flush()
    tell(time.monotonic(), used)
    await connection.close()


if __name__ == "__main__":
    _work, _url, *_numbers = sys.argv[1:]
    run((produce if _work == "produce" else consume)(_url, *map(int, _numbers)))
