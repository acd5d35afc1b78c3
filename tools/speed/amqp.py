"""The same as tools.speed.pump over RabbitMQ: a quorum queue, whose log is synchronised, and confirmed batches.

    python -m tools.speed.amqp produce URL COUNT BYTES BATCH
    python -m tools.speed.amqp consume URL COUNT BATCH

BATCH messages are under way until RabbitMQ has confirmed them; the consumer acknowledges as many at a time, and may
have two batches in hand. Each prints what pump prints.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from gorgond.service.loop import run
from gorgond.service.systemd import Notifier
from tools.speed.pump import QUEUE, tell

_DURABLE = pika.BasicProperties(delivery_mode=2)


async def produce(url: str, count: int, size: int, batch: int) -> None:
    """Publish messages that are `size` bytes each."""
    channel = await _channel(url)
    confirmed, missing = asyncio.Event(), 0

    def confirm(frame: Any) -> None:
        nonlocal missing
        missing = last - frame.method.delivery_tag if frame.method.multiple else missing - 1
        if missing == 0:
            confirmed.set()

    await _answer_of(lambda done: channel.confirm_delivery(confirm, callback=done))
    Notifier().ready()
    began, used, last = time.monotonic(), time.process_time(), 0
    while last < count:
        missing = min(batch, count - last)
        last += missing
        confirmed.clear()
        for _ in range(missing):
            channel.basic_publish("", QUEUE, b"x" * size, _DURABLE)
        await confirmed.wait()
    tell(began, used)


async def consume(url: str, count: int, batch: int) -> None:
    """Acknowledge messages."""
    used, left, done = time.process_time(), count, asyncio.Event()
    channel = await _channel(url)

    def take(_: Any, method: Any, *_message: Any) -> None:
        nonlocal left
        left -= 1
        if left % batch == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if left == 0:
            done.set()

    await _answer_of(lambda done: channel.basic_qos(prefetch_count=2 * batch, callback=done))
    await _answer_of(lambda done: channel.basic_consume(QUEUE, take, callback=done))
    Notifier().ready()
    await done.wait()
    tell(time.monotonic(), used)


async def _channel(url: str) -> Any:
    connection: Any = await _answer_of(lambda done: AsyncioConnection(pika.URLParameters(url), on_open_callback=done))
    channel: Any = await _answer_of(lambda done: connection.channel(on_open_callback=done))
    await _answer_of(
        lambda done: channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"}, callback=done)
    )
    return channel


async def _answer_of(ask: Any) -> Any:
    """What `ask` calls its argument with."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ask(answer.set_result)
    return await answer


if __name__ == "__main__":
    _work, _url, *_numbers = sys.argv[1:]
    run((produce if _work == "produce" else consume)(_url, *map(int, _numbers)))
