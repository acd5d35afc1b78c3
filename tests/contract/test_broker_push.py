"""The contract of `Broker` and `Link`: push, and how often a thing may be done; in memory and on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gorgond.redpill import keys
from gorgond.redpill.broker import Batch, Claim, Room
from gorgond.redpill.clock import now_ms
from gorgond.redpill.errors import BrokerError, QueueFull
from gorgond.redpill.limits import Limit
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from tests.conftest import RedisServer
from tests.contract.bench import LIMIT, Bench, raws
from tests.waiting import eventually_async

# ---- push


async def test_push_keeps_order(bench: Bench) -> None:
    assert await bench.push(*raws("abc")) is None
    assert await bench.push(*raws("de")) is None

    assert await bench.all_of() == raws("abcde")


async def test_push_of_a_number_seen_has_no_effect(bench: Bench) -> None:
    batch = Batch("q", 1, raws("ab"))
    assert await bench.link().push("p", Room(LIMIT), [batch]) == [None]

    # its answer was lost: again, over another connection
    assert await bench.link().push("p", Room(LIMIT), [batch]) == [None]

    assert await bench.all_of() == raws("ab")


async def test_push_of_a_number_seen_is_accepted_although_the_queue_is_full_by_now(bench: Bench) -> None:
    batch = Batch("q", 1, raws("ab"))
    await bench.link().push("p", Room(2), [batch])

    assert await bench.link().push("p", Room(2), [batch]) == [None]
    assert await bench.places() == (2, 0, 0, 0)


async def test_push_numbers_are_per_producer_and_queue(bench: Bench) -> None:
    link = bench.link()
    for producer in ("p1", "p2"):
        assert await link.push(producer, Room(LIMIT), [Batch("q", 1, raws("a")), Batch("r", 1, raws("b"))]) == [
            None,
            None,
        ]

    assert await bench.places("q") == (2, 0, 0, 0)
    assert await bench.places("r") == (2, 0, 0, 0)


async def test_push_refuses_a_batch_whole_at_the_limit_and_takes_it_later(bench: Bench) -> None:
    link = bench.link()
    await link.push("p", Room(3), [Batch("q", 1, raws("ab"))])

    refused, other = await link.push("p", Room(3), [Batch("q", 2, raws("cd")), Batch("r", 3, raws("e"))])

    assert isinstance(refused, QueueFull)
    assert refused.queue == "q"
    assert str(refused) == "q: the queue is at its limit; try again later"
    assert other is None
    assert await bench.places() == (2, 0, 0, 0)
    assert await link.push("p", Room(4), [Batch("q", 4, raws("cd"))]) == [None]
    assert await bench.all_of() == raws("abcd")


async def test_what_waits_is_bounded_in_bytes_too(bench: Bench) -> None:
    large, room = Message("op", {"pad": "x" * 10_000}, sent=0).encode(), Room(LIMIT, 50_000)
    link, consumer = bench.link(), await bench.consumer()
    number = 0

    async def push() -> BrokerError | None:
        nonlocal number
        number += 1
        return (await link.push("p", room, [Batch("q", number, [large])]))[0]

    # given a queue of which as much goes as comes: it is never full, however much that is
    for _ in range(20):
        assert await push() is None
        assert await push() is None
        handed = await consumer.claim(want=2)
        await consumer.claim(done=len(handed), want=0)
    # when nothing goes any more, then it is full
    while (refused := await push()) is None:
        assert number < 60
    assert isinstance(refused, QueueFull)
    assert 4 <= (await bench.places())[0] <= 5
    # and has room when that is done
    handed = []
    while handed := await consumer.claim(len(handed), want=2):
        pass
    assert await push() is None
    assert await eventually_async(lambda: _accepted(push))


async def _accepted(push: Callable[[], Awaitable[BrokerError | None]]) -> bool:
    return await push() is None


async def test_a_batch_that_was_refused_stays_refused_when_a_copy_of_it_finds_room(bench: Bench) -> None:
    link = bench.link()
    await link.push("p", Room(3), [Batch("q", 1, raws("ab"))])
    batch = Batch("q", 2, raws("cd"))
    assert isinstance((await link.push("p", Room(3), [batch]))[0], QueueFull)

    # its callers were told so; then there is room, and the copy arrives
    again = (await link.push("p", Room(4), [batch]))[0]

    assert isinstance(again, QueueFull)
    assert await bench.all_of() == raws("ab")


@pytest.mark.parametrize("name", ["", "a b", "a/b/c", "{a}", "a\n", "/g", "t/", "ä", "a" * 201])
async def test_names_that_are_none_are_refused(bench: Bench, name: str) -> None:
    link = bench.link()
    with pytest.raises(ValueError, match="is no queue name"):
        await link.push("p", Room(LIMIT), [Batch(name, 1, raws("a"))])
    with pytest.raises(ValueError, match="is no queue name"):
        await link.take(name, "consumer")
    with pytest.raises(ValueError, match="is no queue name"):
        await link.claim(name, "consumer", "1", Claim(1))
    with pytest.raises(ValueError, match="is no queue name"):
        await link.wait(name, "consumer", 0.01)
    with pytest.raises(ValueError, match="is no queue name"):
        await link.fetch([name], 0.01)
    with pytest.raises(ValueError, match="is no queue name"):
        await link.counts([name])
    with pytest.raises(ValueError, match="is no queue name"):
        await link.join("t", name or "a/b", LIMIT)


# ---- limits on how often


async def test_so_many_at_once_and_then_one_after_each_interval(bench: Bench) -> None:
    limit = Limit("anna", 3, 60)
    assert [await bench.admit("login", [limit]) for _ in range(3)] == [0.0] * 3

    # the next one has to wait, at most an interval; it is told how long, and that counts nothing
    wait = await bench.admit("login", [limit])
    assert 0 < wait <= 60
    assert await bench.admit("login", [limit]) <= wait

    # after that one more goes, and no more in any time than the intervals in it
    began, admitted = now_ms(), 0
    while admitted < 8:
        wait = await bench.admit("login", [Limit("bob", 3, 0.1)])
        admitted += wait == 0.0
        assert admitted <= 3 + (now_ms() - began) / 100 + 1
        await asyncio.sleep(wait)


async def test_limits_are_asked_together_and_none_counts_what_another_refuses(bench: Bench) -> None:
    narrow, wide = Limit("narrow", 1, 3600), Limit("wide", 2, 3600)
    assert await bench.admit("login", [narrow, wide]) == 0.0

    assert 3500 < await bench.admit("login", [narrow, wide]) <= 3600

    # the wide one has room for one more, and its name is counted in its family alone
    assert await bench.admit("login", [wide]) == 0.0
    assert await bench.admit("login", [wide]) > 0
    assert await bench.admit("other", [wide]) == 0.0


async def test_what_was_counted_can_be_taken_back(bench: Bench) -> None:
    limit = Limit("anna", 2, 60)
    for _ in range(5):
        assert await bench.admit("login", [limit]) == 0.0
        assert await bench.admit("login", [limit], back=True) == 0.0

    # taken back more often than counted, it does not admit more than it would anew
    await bench.admit("login", [limit], back=True)
    assert [await bench.admit("login", [limit]) == 0.0 for _ in range(3)] == [True, True, False]


async def test_nothing_is_kept_of_a_limit_that_is_unused(bench: Bench, shared_redis: RedisServer) -> None:
    assert await bench.admit("login", [Limit("anna", 3, 0.01)]) == 0.0
    await asyncio.sleep(0.02)
    await bench.admit("login", [Limit("berta", 3, 60)])

    key = keys.rate("login", "anna")
    if isinstance(bench.broker, MemoryBroker):
        assert key not in bench.broker.rates
    else:
        assert shared_redis.cli("EXISTS", key) == "0"
