"""A consumer that poison kills: `python -m gorgond.chaos.consumer QUEUE NAME`, the broker's URL on standard input.

A message with `poison` in its arguments kills the process, SIGKILL, as it begins to handle it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from gorgond.redpill import DONE, Consumer, Message, Outcome, connect


async def _handle(messages: Sequence[Message]) -> Sequence[Outcome]:
    if any(message.args.get("poison") for message in messages):
        os.kill(os.getpid(), signal.SIGKILL)
    return [DONE] * len(messages)


def main(queue: str, name: str) -> None:
    """Consume until terminated."""
    consumer = Consumer(connect(sys.stdin.readline().strip()), queue, name, _handle)

    async def run() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        await consumer.run()

    asyncio.run(run())


if __name__ == "__main__":
    main(*sys.argv[1:])
