"""One producer or one consumer of messages, as a process of its own.

    python -m tools.speed.pump produce URL COUNT BYTES QUEUES
    python -m tools.speed.pump consume URL COUNT QUEUES CONSUMERS BATCH

The messages go over so many queues, one to each in turn, and each queue has so many consumers.

Each prints one line of JSON: `at`, the time (of the clock that all processes share) when the producer began, or when
the consumer had settled the last message; `cpu`, the seconds of CPU used for it. The consumer is ready when it
consumes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

from gorgond.redpill import DONE, Broker, Consumer, Message, Outcome, Producer, QueueFull, connect
from gorgond.service.loop import run
from gorgond.service.systemd import Notifier

QUEUE = "bench"
PUSH = 500  # messages handed in at a time
PAUSE = 0.005  # seconds until a full queue is tried again, or a look at what there is


async def produce(url: str, count: int, size: int, queues: int) -> None:
    """Push messages that are `size` bytes each; while some travel the next are made."""
    text = "x" * (size - len(Message("bench.text", {"text": ""}).encode()))
    left = count
    names = list(enumerate(_names(queues)))

    async def worker(producer: Producer) -> None:
        nonlocal left
        while left > 0:
            number = min(PUSH if queues == 1 else queues, left)
            left -= number
            messages = [Message("bench.text", {"text": text}) for _ in range(number)]
            while True:
                try:
                    await asyncio.gather(*(producer.push(name, *messages[place::queues]) for place, name in names))
                except QueueFull:  # refused as a whole: they travel as one batch
                    await asyncio.sleep(PAUSE)
                else:
                    break

    Notifier().ready()
    began, used = time.monotonic(), time.process_time()
    async with Producer(connect(url), "producer") as producer:
        await asyncio.gather(worker(producer), worker(producer))
    tell(began, used)


async def consume(url: str, count: int, queues: int, number: int, batch: int) -> None:
    """Settle messages, doing nothing with them, in `number` consumers of each queue: while one waits for Redis, another
    works."""
    left, ended = count, 0.0
    consumers: list[Consumer] = []

    async def pull(queue: str, name: str) -> None:
        nonlocal ended
        last = False

        async def handle(messages: Sequence[Message]) -> Sequence[Outcome]:
            nonlocal left, last
            left -= len(messages)
            last = left <= 0
            if last:
                for each in consumers:
                    each.stop()
            return [DONE] * len(messages)

        consumer = Consumer(broker, queue, name, handle, batch)
        consumers.append(consumer)
        await consumer.run()
        if last:  # another may still wait for messages
            ended = time.monotonic()

    broker = connect(url)
    pulling = [pull(queue, f"consumer.{place}") for queue in _names(queues) for place in range(number)]
    consuming = asyncio.gather(*pulling)
    await _begun(broker, _names(queues))
    used = time.process_time()
    Notifier().ready()
    await consuming
    tell(ended, used)


async def _begun(broker: Broker, queues: Sequence[str]) -> None:
    """Wait until each queue has a consumer: connecting is no part of what a message costs."""
    link = broker.link("bench")
    try:
        while True:
            if set(queues) <= set(await link.queues()):
                return
            await asyncio.sleep(PAUSE)
    finally:
        await link.close()


def _names(queues: int) -> list[str]:
    return [QUEUE, *(f"{QUEUE}.{number}" for number in range(1, queues))]


def tell(at: float, used: float) -> None:
    """Print when that was, and the CPU since it had used so much."""
    print(json.dumps({"at": at, "cpu": time.process_time() - used}))


if __name__ == "__main__":
    _work, _url, *_numbers = sys.argv[1:]
    run((produce if _work == "produce" else consume)(_url, *map(int, _numbers)))
