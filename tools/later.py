#!/usr/bin/env -S sh -c 'exec "${0%/*}/python" "$0" "$@"'
"""The cost of messages for later: pushes and claims of a queue in which few, and in which a million, are delayed.

    tools/later.py                   1,000 and 1,000,000, on a Redis of its own
    tools/later.py --many 100000     fewer

The figures are µs that Redis takes for a call, the least of some rounds of 100.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from gorgond.redpill import DONE, Consumer, Message, Outcome, Producer, Room, connect
from gorgond.service.output import run_command

FEW, MANY = 1000, 1_000_000
ROUNDS, CALLS = 5, 100
ROOM = Room(10**9, 10**15)
MESSAGE = Message("mail.remind", {"user": 5, "text": "x" * 200})
HOUR = 3600.0


def costs(url: str, delayed: int) -> dict[str, float]:
    """µs a call on the Redis at `url`, by what it does, with so many delayed in its queue."""
    with redis.Redis.from_url(url) as client:
        return asyncio.run(_costs(url, client, delayed))


async def _costs(url: str, client: redis.Redis, delayed: int) -> dict[str, float]:
    broker, queue = connect(url, durable=False), f"delayed{delayed}"
    async with Producer(broker, "costs", ROOM) as producer:

        async def push(many: int, delay: float | None = None) -> None:
            await producer.push(queue, *[MESSAGE] * many, delay=delay)

        async def claim() -> None:
            """Handle what waits one by one."""
            left = CALLS

            async def handle(messages: Sequence[Message]) -> Sequence[Outcome]:
                nonlocal left
                left -= 1
                if not left:
                    consumer.stop()
                return [DONE] * len(messages)

            consumer = Consumer(broker, queue, "costs", handle, batch=1)
            await consumer.run()

        for number in range(delayed // FEW):
            await push(FEW, HOUR + number)
        found = {
            "push 1": await _least(client, lambda: push(1), CALLS),
            "claim 1": await _least(client, claim, 1),
            "push 1 for later": await _least(client, lambda: push(1, HOUR), CALLS),
            "push 64 for later": await _least(client, lambda: push(64, HOUR), CALLS),
        }
        for _ in range(ROUNDS):
            await push(CALLS, 0.001)
        await asyncio.sleep(0.1)
        found["claim 1 of what is due"] = await _least(client, claim, 1)
        return found


async def _least(client: redis.Redis, call: Callable[[], Awaitable[None]], calls: int) -> float:
    least = float("inf")
    for _ in range(ROUNDS):
        client.config_resetstat()
        for _ in range(calls):
            await call()
        figures = client.info("commandstats")["cmdstat_evalsha"]
        least = min(least, figures["usec"] / figures["calls"])
    return round(least, 1)


def main() -> int:
    """Measure and tell; the exit code."""
    from tools.speed.processes import Crew
    from tools.speed.servers import start_redis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=int, default=MANY, help="how many are delayed (%(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory, Crew(Path(directory) / "crew", {}) as crew:
        url = start_redis(crew, "redis", None)
        found = {str(number): costs(url, number) for number in (FEW, arguments.many)}
    few, many = found.values()
    print(f"{'µs a call':26}{FEW:>12,}{arguments.many:>12,}")
    for name in few:
        print(f"{name:26}{few[name]:>12}{many[name]:>12}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("tools/later.py", main))
