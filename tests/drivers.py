"""`python -m tests.drivers URL [plain]`: a thousand calls that are cancelled at bad moments, among a thousand others,
with whatever redis-py is found; `plain` hides hiredis from it. Says with which it was, or fails.

Each version of the driver has its own way to lose track of which answer belongs to which command when a task is
cancelled, so a call's answer may become another's.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from importlib.metadata import version

from gorgond.redpill import Caller, Consumer, Done, Message, Outcome, Producer, Reply, connect, now_ms
from gorgond.redpill.broker import Link

ROUNDS, CALLS = 20, 100  # half of which are cancelled
LATEST = 0.02  # seconds until they are


async def echo(batch: Sequence[Message]) -> Sequence[Outcome]:
    return [Done(b'"%s"' % message.id.encode()) for message in batch]


async def main(url: str) -> None:
    """Raises AssertionError when an answer is another's, or one is missing."""
    broker = connect(url, durable=False)
    consumer = Consumer(broker, "q", "consumer", echo)
    running = asyncio.create_task(consumer.run())
    async with Producer(broker, "p") as producer, Caller(broker, producer, "data", "c") as caller:
        for _ in range(ROUNDS):
            await cancel_half(caller)
    consumer.stop()
    await running
    link = broker.link("look")
    await cut_short(link)
    (counts,) = await link.counts(["q"])
    await link.close()
    assert counts.accepted >= ROUNDS * CALLS // 2, counts
    assert (counts.difference(), counts.dead, counts.in_flight) == (0, 0, 0), counts


async def cancel_half(caller: Caller) -> None:
    """Of so many calls, at random moments."""
    loop = asyncio.get_running_loop()
    messages = [Message("op", deadline=now_ms() + 60_000) for _ in range(CALLS)]
    calls = [caller.call("q", message) for message in messages]
    for call in calls[::2]:
        loop.call_later(random.uniform(0, LATEST), call.cancel)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    for number, (message, end) in enumerate(zip(messages, ends, strict=True)):
        if isinstance(end, Reply):
            assert (end.id, end.body) == (message.id, b'"%s"' % message.id.encode()), end
        else:
            assert isinstance(end, asyncio.CancelledError), end
            assert number % 2 == 0


async def cut_short(link: Link) -> None:
    """Rounds that are cancelled while they wait; the next must not read their answers."""
    for number in range(CALLS):
        one, other = f"one:{number}", f"other:{number}"
        fetch = asyncio.create_task(link.fetch([one], 1))
        asyncio.get_running_loop().call_later(random.uniform(0, 0.002), fetch.cancel)
        await asyncio.wait({fetch})
        await link.reply(one, [one.encode()])
        await link.reply(other, [other.encode()])
        assert await link.fetch([other], 1) == [other.encode()]


if __name__ == "__main__":
    if "plain" in sys.argv:
        sys.modules["hiredis"] = None  # type: ignore[assignment]
    from redis import utils

    asyncio.run(main(sys.argv[1]))
    print(version("redis"), "hiredis" if utils.HIREDIS_AVAILABLE else "plain")
