"""The only job that waits or runs under a key, in memory and on Redis: kept, replaced, followed, and by whom it is
pushed."""

from __future__ import annotations

import asyncio

import pytest

from gorgond.app import App, Context
from gorgond.app.enqueuing import Outside, Request, enqueue
from gorgond.redpill import Room, Unique, keys, new_id
from gorgond.redpill.broker import Step
from gorgond.service.fabric import Fabric
from tests.conftest import RedisServer
from tests.contract.bench import Bench
from tests.waiting import eventually_async


class Keyed:
    """Takes steps for the key k of queue q."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def take(self, step: Step, id: str, raw: bytes = b"", at: int = 1, seconds: float = 60) -> tuple[str, bytes]:
        return await self._bench.link().unique("q", Unique("k", step, id, raw, at, seconds))

    async def waiting(self, id: str) -> None:
        assert await self.take("keep", id, b"raw " + id.encode()) == (id, b"raw " + id.encode())
        await self.take("pushed", id)

    async def running(self, id: str) -> None:
        await self.waiting(id)
        assert await self.take("begin", id, b"w1", 0) == (id, b"")


@pytest.fixture
def keyed(bench: Bench) -> Keyed:
    return Keyed(bench)


async def test_the_first_one_stands_until_it_is_over(keyed: Keyed) -> None:
    # given one that is in the queue
    await keyed.waiting("j1")
    # then others are that one, in whatever mode, also when it runs
    assert await keyed.take("keep", "j2", b"raw") == ("j1", b"")
    assert await keyed.take("again", "j2", b"raw") == ("j1", b"")
    assert await keyed.take("begin", "j1", b"w1", 0) == ("j1", b"")
    assert await keyed.take("keep", "j2", b"raw") == ("j1", b"")
    # when it is over
    assert await keyed.take("end", "j1") == ("", b"")
    # then it stays so for who asks for it again, and another one may be next
    assert await keyed.take("begin", "j1", b"w2", 0) == ("", b"")
    await keyed.waiting("j2")


async def test_one_that_is_not_known_to_be_pushed_is_pushed_by_whoever_meets_it(keyed: Keyed) -> None:
    assert await keyed.take("keep", "j1", b"one") == ("j1", b"one")
    # given that its producer is dead, or asks again
    for id in ("j1", "j2"):
        assert await keyed.take("keep", id, b"two") == ("j1", b"one")
    await keyed.take("pushed", "j1")
    assert await keyed.take("keep", "j2", b"two") == ("j1", b"")
    # and a late word that it was pushed changes nothing
    await keyed.take("begin", "j1", b"w1", 0)
    await keyed.take("pushed", "j1")
    assert await keyed.take("begin", "j1", b"w2", 0) == ("", b"")


async def test_one_that_waits_gets_what_is_asked_for_last(keyed: Keyed) -> None:
    await keyed.waiting("j1")
    assert await keyed.take("replace", "j2", b"two", 20) == ("j1", b"")
    # and a late copy of an earlier one does not hold
    assert await keyed.take("replace", "j3", b"three", 10) == ("j1", b"")
    assert await keyed.take("begin", "j1", b"w1", 0) == ("j1", b"two")


@pytest.mark.parametrize("mode", ["replace", "again"])
async def test_one_that_runs_is_followed_by_one_more(keyed: Keyed, mode: Step) -> None:
    await keyed.running("j1")
    # when two more are asked for
    assert await keyed.take(mode, "j2", b"two", 20) == ("j2", b"")
    assert await keyed.take(mode, "j3", b"three", 30) == ("j2", b"")
    # then one follows, which whoever ends the first pushes
    assert await keyed.take("end", "j1") == ("j2", b"two")
    assert await keyed.take("end", "j1") == ("j2", b"two")  # when it died before
    await keyed.take("pushed", "j2")
    assert await keyed.take("end", "j1") == ("j2", b"")
    assert await keyed.take("begin", "j2", b"w1", 0) == ("j2", b"three" if mode == "replace" else b"")
    assert await keyed.take("end", "j2") == ("", b"")


async def test_a_copy_of_one_that_runs_elsewhere_is_not_begun(keyed: Keyed) -> None:
    await keyed.running("j1")
    # given a call whose answer was lost, and a second copy in the queue
    assert await keyed.take("begin", "j1", b"w1", 0) == ("j1", b"")
    assert await keyed.take("begin", "j1", b"w2", 0) == ("", b"")
    # but one whose worker has died is
    assert await keyed.take("begin", "j1", b"w2", 2) == ("j1", b"")


async def test_one_that_was_given_up_may_be_put_back(keyed: Keyed) -> None:
    await keyed.running("j1")
    assert await keyed.take("fail", "j1") == ("", b"")
    assert await keyed.take("begin", "j1", b"w1", 0) == ("j1", b"")


async def test_a_key_is_free_after_its_time_and_others_are_others(
    bench: Bench, keyed: Keyed, shared_redis: RedisServer
) -> None:
    link = bench.link()
    await link.unique("q", Unique("short", "keep", "j1", b"one", 1, 0.001))

    async def free() -> bool:
        return (await link.unique("q", Unique("short", "keep", "j2", b"two", 1, 60)))[0] == "j2"

    await eventually_async(free)
    await keyed.waiting("j1")
    assert await link.unique("other", Unique("k", "keep", "j5", b"five", 1, 60)) == ("j5", b"five")
    if not bench.broker.in_process:
        assert 0 < int(shared_redis.cli("PTTL", keys.unique("q", "k"))) <= 60_000


SHORT = 0.3  # seconds for which a key is one's, and more than a few steps take


async def over(bench: Bench) -> None:
    """Until another key that was taken later, for as long, is free."""
    link, later = bench.link(), new_id()
    await link.unique("q", Unique(later, "keep", "l1", b"one", 1, SHORT))

    async def free() -> bool:
        return (await link.unique("q", Unique(later, "keep", "l2", b"two", 1, 60)))[0] == "l2"

    await eventually_async(free)


async def test_one_that_follows_is_not_lost_when_the_time_of_the_key_is_over(bench: Bench, keyed: Keyed) -> None:
    # given one that runs, and another one that was promised to follow
    await keyed.take("keep", "j1", b"one", seconds=SHORT)
    await keyed.take("pushed", "j1")
    await keyed.take("begin", "j1", b"w1", 0)
    assert await keyed.take("again", "j2", b"two", 20) == ("j2", b"")
    # when the first one runs for longer, and whoever ends it dies before it has pushed the other one
    await over(bench)
    assert await keyed.take("end", "j1") == ("j2", b"two")
    await over(bench)
    # then who ends it again does
    assert await keyed.take("end", "j1") == ("j2", b"two")
    await keyed.take("pushed", "j2")
    # and the key is free in time
    await over(bench)
    await keyed.waiting("j3")


async def test_what_a_waiting_one_is_asked_for_last_holds_when_the_time_of_the_key_is_over(
    bench: Bench, keyed: Keyed
) -> None:
    await keyed.take("keep", "j1", b"one", seconds=SHORT)
    await keyed.take("pushed", "j1")
    assert await keyed.take("replace", "j2", b"two", 20) == ("j1", b"")
    await over(bench)
    assert await keyed.take("begin", "j1", b"w1", 0) == ("j1", b"two")
    await over(bench)
    assert await keyed.take("begin", "j1", b"w2", 2) == ("j1", b"two")


async def test_many_that_are_enqueued_at_the_same_time_stand_each_under_its_own_key(bench: Bench) -> None:
    app, ids = App("shop"), [f"job {number}" for number in range(30)]

    @app.job(keep=0)
    async def resize(_: Context) -> None: ...

    async with Outside(Fabric(bench.broker, bench.broker, Room()), "test") as outside:
        asked = (enqueue(outside, resize, id, Request({}, unique=f"key of {id}")) for id in ids)
        assert [each.id for each in await asyncio.gather(*asked)] == ids
