"""Real processes, killed and stopped at bad moments: what was accepted is stored once, and nothing has to be helped.

The test process pushes items and notes those the broker accepted; afterwards they are compared with the database.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

import pytest

from tests.conftest import RedisServer
from tests.integration.killing import Fabric, Pusher
from tests.waiting import eventually_async

OUTAGE = r"is away, waiting for it|is back after"


KILLS = int(os.environ.get("KILLS", "6"))  # of Redis, in each case; tools/prove deaths has more

Expect = Callable[[str], None]


async def test_stores_killed_in_the_middle_of_batches_lose_nothing(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    chance = random.Random(1)
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 20, 0.02)
    stores = {name: fabric.start_store(name, TEST_SLOW="0.03") for name in "12"}
    async with pusher.running():
        for _ in range(2):
            for name in stores:
                # one batch in the middle of its handling, some time after the last death
                done = (await fabric.counts()).done

                async def busy(done: int = done) -> bool:
                    counts = await fabric.counts()
                    return counts.done > done + 50 and counts.in_flight > 0

                await eventually_async(busy)
                await asyncio.sleep(chance.uniform(0, 0.02))
                stores[name].kill()
                stores[name] = await asyncio.to_thread(fabric.start_store, name, TEST_SLOW="0.03")
    await fabric.kept(pusher.accepted)
    assert "unfinished on its desk" in stores["1"].text + stores["2"].text
    assert [store.stop() for store in stores.values()] == [0, 0]


@pytest.mark.parametrize("fsync", ["always", "no"])
@pytest.mark.parametrize(("size", "pause"), [(50, 0.001), (1, 0.03)], ids=["claims", "waits"])
async def test_redis_killed_again_and_again_loses_nothing(
    fabric_of: Callable[..., Fabric],
    redis_factory: Callable[..., RedisServer],
    expected_logs: Expect,
    fsync: str,
    size: int,
    pause: float,
) -> None:
    """While messages are pushed and claimed without pause, and while consumers wait for the next."""
    expected_logs(OUTAGE)
    chance = random.Random(size)
    # With everysec Redis writes nothing while an fsync is under way, and a busy machine may take long over one: what it
    # confirms meanwhile a SIGKILL loses. With `no` it writes before it confirms, as it does with everysec otherwise.
    server = redis_factory(appendonly="yes", appendfsync=fsync)
    fabric = fabric_of(server.url)
    pusher = Pusher(fabric, size, pause)
    store = fabric.start_store()
    async with pusher.running():
        for _ in range(KILLS):
            accepted = len(pusher.accepted)
            await eventually_async(lambda accepted=accepted: len(pusher.accepted) > accepted)  # type: ignore[misc]
            await asyncio.sleep(chance.uniform(0, 0.2))
            server.kill()
            await asyncio.to_thread(server.start)
    await fabric.kept(pusher.accepted)
    assert (await fabric.counts()).accepted == len(pusher.accepted)  # what was repeated was not taken again
    assert store.stop() == 0
    assert "Traceback" not in store.text


async def test_a_stopped_store_is_replaced_and_refused_when_it_goes_on(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    # given a store that is stopped with a batch in its hands
    first = fabric.start_store("first", TEST_SILENCE="1", TEST_SLOW="0.3")
    await pusher.push(1)
    await fabric.drained()  # so the database is prepared: stopped within that, it would keep others out
    await pusher.push(10)
    await eventually_async(fabric.in_hand)
    first.signal(signal.SIGSTOP)
    # when another one finds it silent and does the work
    other = fabric.start_store("other", TEST_SILENCE="1")
    assert (await fabric.drained()).recovered > 0
    other.logged(r"store@first\S* is silent: back in the queue: \d+ messages? of store_put")
    # then the first is refused, and works on
    first.signal(signal.SIGCONT)
    first.logged("has lost its desk of store_put")
    assert other.stop() == 0
    await pusher.push(10)
    await fabric.kept(pusher.accepted)
    assert (await fabric.counts()).done == 21
    assert first.stop() == 0


async def test_a_message_that_kills_is_given_up_and_its_neighbours_are_done(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    await pusher.push(30)
    deaths = 0
    store = fabric.child("store", "--instance", "1", TEST_POISON="item13")

    async def given_up() -> bool:
        return (await fabric.counts()).dead > 0

    while not await given_up():
        if store.process.poll() is not None:
            deaths += 1
            assert deaths <= 3
            store = fabric.child("store", "--instance", "1", TEST_POISON="item13")
        await asyncio.sleep(0.01)
    counts = await fabric.drained()
    assert (counts.done, counts.dead, counts.difference()) == (29, 1, 0)
    assert fabric.stored() == pusher.accepted - {"item13"}
    assert deaths == 3
    assert store.stop() == 0
