"""The contract of `Broker` and `Link`: outages, and what only one of the two brokers does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gorgond.redpill import script
from gorgond.redpill.broker import Batch, Failure, Room
from gorgond.redpill.errors import BrokerAway, BrokerError, QueueFull
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message
from gorgond.redpill.raw import attempts_of
from gorgond.redpill.redisbroker import RedisBroker
from tests.conftest import RedisServer
from tests.contract.bench import LIMIT, Bench, raw, raws
from tests.waiting import eventually_async

# ---- outages


async def test_an_outage_is_told_and_nothing_is_lost(frail: tuple[Bench, MemoryBroker | RedisServer]) -> None:
    bench, server = frail
    link, consumer, ear = bench.link(), await bench.consumer(), bench.link()
    await ear.listen(["t"], 0.01)
    await bench.push(*raws("abc"))
    await consumer.claim(want=2)
    batch = Batch("q", 100, raws("d"))
    await link.push("p", Room(LIMIT), [batch])
    blocked = [
        asyncio.create_task(bench.link().wait("empty", "consumer", 10)),
        asyncio.create_task(bench.link().fetch(["r"], 10)),
        asyncio.create_task(ear.listen(["t"], 10)),
    ]
    await bench.push(raw("x"), queue="other")

    server.kill()

    for task in blocked:
        with pytest.raises(BrokerAway):
            await task
    operations: list[Callable[[], object]] = [
        link.ping,
        consumer.repeat,
        consumer.take,
        consumer.wait,
        consumer.leave,
        lambda: link.push("p", Room(LIMIT), [batch]),
        lambda: link.recover("q", 0),
        lambda: link.counts(["q"]),
        lambda: link.dead("q"),
        lambda: ear.listen(["t"], 1),
    ]
    for operation in operations:
        with pytest.raises(BrokerAway):
            await operation()  # type: ignore[misc]
    server.start()

    await link.ping()
    assert (link.connects, consumer.link.connects) == (2, 1)
    assert await link.push("p", Room(LIMIT), [batch]) == [None]
    assert await consumer.claim(done=2, want=5) == raws("cd")
    assert await bench.places() == (0, 2, 0, 0)


async def test_persist_waits_for_the_broker(
    frail: tuple[Bench, MemoryBroker | RedisServer], expected_logs: Callable[[str], None]
) -> None:
    expected_logs("is away, waiting for it")
    expected_logs("is back after")
    bench, server = frail
    link = bench.link()
    await link.ping()
    server.kill()
    beats: list[None] = []

    waiting = asyncio.create_task(link.persist(lambda: link.take("q", "consumer"), lambda: beats.append(None)))
    await eventually_async(lambda: len(beats) > 2)
    assert bench.broker.outage.length > 0
    server.start()

    assert (await waiting)[1] == 0
    assert bench.broker.outage.length == 0.0


# ---- the broker in memory alone


async def test_one_broker_in_memory_for_each_name() -> None:
    assert MemoryBroker.at("memory://one") is MemoryBroker.at("memory://one")
    assert MemoryBroker.at("memory://one") is not MemoryBroker.at("memory://two")


async def test_the_clock_of_the_broker_in_memory_can_be_moved() -> None:
    now = 0
    bench = Bench(MemoryBroker(clock=lambda: now))
    await bench.push(*raws("a"))
    consumer = await bench.consumer()
    await consumer.claim()
    await consumer.claim(done=1, failures=[Failure(0, 30, "busy")])
    await consumer.link.reply("r", [b"1"])

    now = 29_999
    assert await consumer.claim() == []
    now = 30_000
    assert attempts_of((await consumer.claim())[0]) == 2
    now = 60_000
    assert await consumer.link.fetch(["r"], 0.01) == []
    for now in (60_000, 74_999, 89_998):  # noqa: B007 - it is the clock
        assert await consumer.link.recover("q", 30) == []
    now = 90_000
    assert await consumer.link.recover("q", 30) == [("consumer", 1)]


# ---- Redis alone


async def test_a_redis_out_of_memory_takes_nothing_and_can_be_drained(
    redis_factory: Callable[..., RedisServer],
) -> None:
    bench = Bench(RedisBroker(redis_factory(maxmemory="4mb").url, durable=False))
    link, consumer = bench.link(), await bench.consumer()
    await link.join("t", "g", LIMIT)
    accepted = 0
    refused: BrokerError | None = None
    while refused is None:
        accepted += 1
        message = Message("op", {"pad": "x" * 50_000}, sent=0).encode()
        refused = (await link.push("p", Room(10_000), [Batch("q", accepted, [message])]))[0]
    accepted -= 1

    assert isinstance(refused, QueueFull)
    assert refused.queue == "q"
    handed = await consumer.claim(want=5)
    handed = await consumer.claim(done=len(handed), want=5, failures=[Failure(0, 0.0, "busy"), Failure(1, None, "no")])
    while handed:
        handed = await consumer.claim(done=len(handed), want=5, replies={"r": [b"1"]})

    counts = (await link.counts(["q"]))[0]
    assert (counts.accepted, counts.done, counts.dead, counts.difference()) == (accepted, accepted - 1, 1, 0)
    assert await link.push("p", Room(10_000), [Batch("q", accepted + 2, raws("a"))]) == [None]


async def test_a_redis_out_of_memory_says_what_became_of_a_batch(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory(maxmemory="4mb")
    bench = Bench(RedisBroker(server.url, durable=False))
    link, room = bench.link(), Room(10_000)
    # given a batch that was accepted, its answer lost, and a Redis that is full by now
    first = Batch("q", 1, raws("a"))
    assert await link.push("p", room, [first]) == [None]
    server.cli("CONFIG", "SET", "maxmemory", "1")
    # when it is sent again, then it was accepted
    assert await link.push("p", room, [first]) == [None]
    # when another one is refused, then it is, although a copy of it comes when there is room
    second = Batch("q", 2, raws("b"))
    assert isinstance((await link.push("p", room, [second]))[0], QueueFull)
    server.cli("CONFIG", "SET", "maxmemory", "0")
    assert isinstance((await bench.link().push("p", room, [second]))[0], QueueFull)
    assert await bench.all_of() == raws("a")


async def test_a_redis_that_cannot_write_its_disk_says_what_became_of_a_batch(
    redis_factory: Callable[..., RedisServer],
) -> None:
    server = redis_factory()
    bench = Bench(RedisBroker(server.url, durable=False))
    link, room = bench.link(), Room(10_000)
    # given a batch that was accepted, its answer lost, and a Redis that has found that it cannot write
    first, event = Batch("q", 1, raws("a")), Batch("topic", 2, raws("e"), topic=True)
    assert await link.push("p", room, [first, event]) == [None, None]
    (server.data / "dump.rdb").mkdir()
    server.cli("CONFIG", "SET", "save", "3600 1")
    server.cli("BGSAVE")
    await eventually_async(lambda: "rdb_last_bgsave_status:err" in server.cli("INFO", "persistence"))
    # when it is sent again, then it was accepted; another one is refused
    assert await link.push("p", room, [first, event]) == [None, None]
    more = [Batch("q", 3, raws("b")), Batch("topic", 4, raws("f"), topic=True)]
    assert [type(answer) for answer in await link.push("p", room, more)] == [QueueFull, QueueFull]


async def test_scripts_that_redis_forgot_are_loaded_again(shared_redis: RedisServer) -> None:
    bench = Bench(RedisBroker(shared_redis.url, durable=False))
    await bench.push(*raws("ab"))
    consumer = await bench.consumer()
    assert await consumer.claim() == raws("a")
    shared_redis.cli("SCRIPT", "FLUSH")

    with pytest.raises(BrokerAway):
        await consumer.claim(done=1)

    assert await consumer.repeat() == raws("b")


async def test_scripts_are_loaded_once_however_many_connections_meet_a_new_redis(
    redis_server: RedisServer,
) -> None:
    # given a Redis that knows no script
    broker = RedisBroker(redis_server.url, durable=False)
    bench = Bench(broker)
    # when a process connects with all that it has
    await asyncio.gather(*(bench.link().ping() for _ in range(20)))
    # then one connection has loaded each
    loads = [line for line in redis_server.cli("INFO", "commandstats").splitlines() if "script|load" in line]
    assert [line.partition("calls=")[2].partition(",")[0] for line in loads] == [str(len(script.ALL))]


async def test_an_outage_is_told_once_however_many_connections_it_cost(
    frail: tuple[Bench, MemoryBroker | RedisServer],
    expected_logs: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # given two connections, and an outage that the first has come through
    expected_logs("is away, waiting for it|is back after")
    bench, server = frail
    first, second = bench.link(), bench.link()
    for link in (first, second):
        await link.ping()
    server.kill()
    waiting = asyncio.create_task(first.persist(first.ping))
    await eventually_async(lambda: bench.broker.outage.length)
    server.start()
    await waiting
    # when the second comes to know that it has lost its own
    await second.persist(second.ping)
    # then that is no further outage; the next one is
    assert sum("is away" in record.getMessage() for record in caplog.records) == 1
    server.kill()
    waiting = asyncio.create_task(second.persist(second.ping))
    await eventually_async(lambda: bench.broker.outage.length)
    server.start()
    await waiting
