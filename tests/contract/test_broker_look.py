"""The contract of `Broker` and `Link`: counts, dead letters, search, pause; in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gorgond.redpill.broker import Failure
from gorgond.redpill.clock import now_ms
from gorgond.redpill.errors import BrokerAway, QueueFull
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from gorgond.redpill.redisbroker import RedisBroker
from tests.conftest import RedisServer
from tests.contract.bench import GARBAGE, Bench, ids, raw, raws


async def test_the_clock_is_the_brokers(bench: Bench) -> None:
    before = now_ms()
    assert before <= await bench.link().clock() <= now_ms()  # here it is that of the same host
    if isinstance(bench.broker, MemoryBroker):
        bench.broker.clock = lambda: 5
        assert await bench.link().clock() == 5


# ---- counts, dead letters


async def test_counts_of_several_queues(bench: Bench) -> None:
    await bench.push(Message("op", sent=now_ms() - 5000).encode())
    await bench.push(GARBAGE, queue="r")

    some, garbage, none = await bench.link().counts(["q", "r", "never"])

    assert (some.queued, some.accepted) == (1, 1)
    assert 5 <= some.oldest < 65
    assert (garbage.queued, garbage.oldest) == (1, 0.0)
    assert (none.queued, none.accepted, none.oldest) == (0, 0, 0.0)
    assert await bench.link().counts([]) == []


async def test_dead_letters_are_listed_requeued_and_dropped(bench: Bench) -> None:
    await bench.push(*raws("abcd"), GARBAGE)
    consumer = await bench.consumer()
    await consumer.claim(want=5)
    await consumer.claim(done=5, failures=[Failure(i, None, f"no {i}") for i in range(5)])
    link = consumer.link

    assert [letter.reason for letter in await link.dead("q")] == ["no 0", "no 1", "no 2", "no 3", "no 4"]
    assert [letter.number for letter in await link.dead("q", after=1, limit=2)] == [2, 3]

    assert await link.requeue("q", 2)
    assert not await link.requeue("q", 2)
    assert await link.requeue("q", 5)
    assert await link.drop("q", 3)
    assert not await link.drop("q", 3)
    assert not await link.drop("q", 99)

    assert [letter.number for letter in await link.dead("q")] == [1, 4]
    assert await bench.places() == (2, 0, 0, 2)
    counts = (await link.counts(["q"]))[0]
    assert (counts.requeued, counts.dropped) == (2, 1)
    assert await consumer.claim(want=5) == [raw("b"), GARBAGE]

    # a number is not given twice
    await consumer.claim(done=2, failures=[Failure(0, None, "again")])
    assert [letter.number for letter in await link.dead("q", after=4)] == [6]


# ---- search


async def test_every_place_is_searched(bench: Bench) -> None:
    # given messages in every place, and some of which nobody speaks
    await bench.push(*raws("abcdef"))
    await bench.push(raw("x"), queue="r")
    consumer = await bench.consumer()
    await consumer.claim(want=3)
    await consumer.claim(done=2, want=3, failures=[Failure(0, None, "no"), Failure(1, 60, "busy")])
    await consumer.link.reply("caller", [b'{"id":"e"}\nbody', b'{"id":"y"}\nbody'])
    await consumer.link.pause("r")

    async def where(id: str) -> list[tuple[str, str, str]]:
        return [(each.queue, each.place, each.detail) for each in await consumer.link.find(b'"id":"%s"' % id.encode())]

    assert await where("a") == [("q", "dead", "1")]
    [(queue, place, due)] = await where("b")
    assert (queue, place) == ("q", "delayed")
    assert now_ms() < int(due) < now_ms() + 61_000
    assert await where("c") == [("q", "desk", "consumer")]
    assert await where("e") == [("q", "desk", "consumer"), ("caller", "reply", "")]
    assert await where("f") == [("q", "queued", "0")]
    assert await where("x") == [("r", "queued", "0")]
    assert await where("z") == []
    [found] = await consumer.link.find(b'"id":"a"')
    assert found.raw == raw("a", 1)


async def test_queues_are_those_that_were_used(bench: Bench) -> None:
    link = bench.link()
    await link.join("t", "g", 10)
    await bench.publish(raw("a"))
    await bench.push(raw("a"))
    await bench.consumer(queue="consumed")
    await link.reply("caller", [b"x"])
    assert await link.queues() == ["consumed", "q", "t/g"]


# ---- pause


async def test_nothing_is_taken_from_a_paused_queue_until_it_is_resumed(bench: Bench) -> None:
    # given a consumer that has begun some of a queue, and one that waits
    await bench.push(*raws("abc"))
    consumer, waiter = await bench.consumer("consumer"), await bench.consumer("waiter", "r")
    assert await consumer.claim(want=2) == raws("ab")
    waiting = asyncio.create_task(waiter.wait(10))
    # when the queues are paused
    assert await consumer.link.pause("q")
    assert await consumer.link.pause("r")
    assert not await consumer.link.pause("r")
    # then pushes go on
    await bench.push(raw("d"))
    await bench.push(raw("x"), queue="r")
    # and what is begun may be finished, but nothing more is taken
    assert await consumer.claim(done=1, want=5) == [raw("b")]
    assert await consumer.claim(done=1, want=5) == []
    assert await consumer.wait(0.05) is None
    counts = await consumer.link.counts(["q", "r"])
    assert [(each.paused, each.queued, each.done) for each in counts] == [(True, 2, 2), (True, 1, 0)]
    assert await bench.places() == (2, 0, 0, 0)
    assert not waiting.done()
    # until it is resumed
    assert await consumer.link.resume("r")
    assert await waiting == raw("x")
    assert await consumer.link.resume("q")
    assert not await consumer.link.resume("q")
    assert await consumer.claim(want=5) == raws("cd")
    assert not (await consumer.link.counts(["q"]))[0].paused


@pytest.mark.parametrize("how", ["leave", "recover", "requeue", "due"])
async def test_what_comes_back_to_a_paused_queue_waits_in_its_place(bench: Bench, how: str) -> None:
    await bench.push(*raws("ab"))
    consumer, other = await bench.consumer(), await bench.consumer("other")
    assert await consumer.claim() == raws("a")
    if how == "requeue":
        await consumer.claim(done=1, want=0, failures=[Failure(0, None, "no")])
    elif how == "due":
        await consumer.claim(done=1, want=0, failures=[Failure(0, 0.0, "busy")])
    await consumer.link.pause("q")

    if how != "due":
        await consumer.give_back(how)

    assert await other.claim(want=5) == []
    await consumer.link.resume("q")
    found = await other.claim() + await other.claim(done=1)
    assert ids(found) == ("ba" if how == "requeue" else "ab")


async def test_a_paused_queue_has_its_limit(bench: Bench) -> None:
    link = bench.link()
    await link.pause("q")
    assert await bench.push(*raws("ab"), limit=3) is None
    assert isinstance(await bench.push(*raws("cd"), limit=3), QueueFull)


async def test_a_paused_group_keeps_the_newest(bench: Bench) -> None:
    link = bench.link()
    await link.join("t", "g", 2)
    await link.pause("t/g")
    await bench.publish(*raws("abc"))
    assert await bench.all_of("t/g") == []
    await link.resume("t/g")
    assert await bench.all_of("t/g") == raws("bc")


async def test_a_pause_outlives_the_broker(frail: tuple[Bench, MemoryBroker | RedisServer]) -> None:
    bench, server = frail
    link = bench.link()
    await link.pause("q")
    await bench.push(*raws("ab"))

    server.kill()
    server.start()
    with contextlib.suppress(BrokerAway):
        await link.ping()

    assert (await link.counts(["q"]))[0].paused
    assert await (await bench.consumer()).claim(want=5) == []
    await link.resume("q")
    assert await bench.all_of() == raws("ab")


async def test_what_was_put_there_by_hand_meanwhile_is_not_lost(shared_redis: RedisServer) -> None:
    bench = Bench(RedisBroker(shared_redis.url, durable=False))
    link = bench.link()
    await bench.push(*raws("ab"))
    await link.pause("q")
    shared_redis.cli("RPUSH", "gorgon:{q}", raw("c").decode())
    await link.resume("q")
    assert await bench.all_of() == raws("abc")
