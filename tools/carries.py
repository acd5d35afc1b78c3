#!/usr/bin/env -S sh -c 'exec "${0%/*}/python" "$0" "$@"'
"""What one Redis carries: the CPU that it takes for a message from push to settled, by size and by appendfsync.

    tools/carries.py                      300 bytes to 32 kB, each a Redis of its own
    tools/carries.py --messages 5000      fewer of each
    tools/carries.py --apart              two queues of 2 kB over one Redis, and each over its own

A Redis has one core for all this, so a million µs by these is what it carries a second at most; the messages a second
beside it are what one producer and one consumer of this process came to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from gorgond.redpill import DONE, Consumer, Message, Outcome, Producer, Room, connect
from gorgond.service.output import run_command

SIZES = (300, 2000, 8000, 32_000)  # bytes of a message
ROOM = Room(10**9, 10**15)
BATCH = 64


def carried(url: str, size: int, messages: int) -> dict[str, float]:
    """The µs that the Redis at `url` takes for a message of `size` bytes, and how many went through it a second."""
    with redis.Redis.from_url(url) as client:
        before, began = _cpu(client), time.monotonic()
        asyncio.run(_carry(url, "carried", size, messages))
        took = time.monotonic() - began
        return {"us": round(1e6 * (_cpu(client) - before) / messages, 1), "per_s": round(messages / took)}


def apart(urls: Sequence[str], messages: int) -> dict[str, float]:
    """The µs that the busiest Redis of these takes for a message, of 2 kB, while two producers and two consumers, each
    pair in a process of its own, move so many through each of two queues, which they share; and how many went through
    all of them a second."""
    clients = [redis.Redis.from_url(url) for url in urls]
    before, began = [_cpu(client) for client in clients], time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        moved = [pool.submit(_move, urls[number % len(urls)], f"queue{number}", messages) for number in range(2)]
        for each in moved:
            each.result()
    took = time.monotonic() - began
    busiest = max(_cpu(client) - was for client, was in zip(clients, before, strict=True))
    return {"us": round(1e6 * busiest / (2 * messages), 1), "per_s": round(2 * messages / took)}


def _move(url: str, queue: str, messages: int) -> None:
    asyncio.run(_carry(url, queue, 2000, messages))


def _cpu(client: redis.Redis) -> float:
    figures = client.info("cpu")
    return float(figures["used_cpu_user"] + figures["used_cpu_sys"])


async def _carry(url: str, queue: str, size: int, messages: int) -> None:
    broker, left = connect(url, durable=False), messages
    message = Message("note.keep", {"text": "x" * (size - 60)})  # its header takes the rest

    async def handle(taken: Sequence[Message]) -> Sequence[Outcome]:
        nonlocal left
        left -= len(taken)
        if left <= 0:
            consumer.stop()
        return [DONE] * len(taken)

    consumer = Consumer(broker, queue, "carries", handle, batch=BATCH)
    async with Producer(broker, "carries", ROOM) as producer:
        consuming = asyncio.create_task(consumer.run())
        for _ in range(0, messages, BATCH):
            await producer.push(queue, *[message] * BATCH)
        await consuming


def main() -> int:
    """Measure and tell; the exit code."""
    from tools.speed.processes import Crew
    from tools.speed.servers import start_redis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=19_200, help="of each size (%(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here, too")
    parser.add_argument("--apart", action="store_true", help="two queues over one Redis, and over two")
    arguments = parser.parse_args()
    messages = -(-arguments.messages // BATCH) * BATCH
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as directory, Crew(Path(directory) / "crew", {}) as crew:
        for fsync in ("always", "everysec", None):
            if arguments.apart:
                urls = [start_redis(crew, f"{fsync or 'none'}{number}", fsync) for number in range(3)]
                for some in (urls[:1], urls[1:]):
                    name = f"{fsync or 'no file'}, {len(some)} Redis"
                    found[name] = each = apart(some, messages)
                    print(f"{name:20}{each['us']:>8} µs of the busiest{each['per_s']:>9,}/s", flush=True)
                continue
            url = start_redis(crew, fsync or "none", fsync)
            for size in SIZES:
                found[f"{fsync or 'no file'}, {size:,} bytes"] = each = carried(url, size, messages)
                print(f"{fsync or 'no file':10}{size:>8,} bytes{each['us']:>8} µs{each['per_s']:>9,}/s", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("tools/carries.py", main))
