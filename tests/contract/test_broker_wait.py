"""The contract of `Broker` and `Link`: waiting, replies, topics; in memory and on Redis."""

from __future__ import annotations

import asyncio

import pytest

from gorgond.redpill.broker import Batch, Failure, Room
from tests.contract.bench import LIMIT, Bench, ids, raw, raws
from tests.waiting import eventually_async

# ---- waiting


async def test_wait_puts_the_message_on_the_desk(bench: Bench) -> None:
    consumer = await bench.consumer()
    waiting = asyncio.create_task(consumer.wait())
    await bench.push(*raws("ab"))

    assert await waiting == raw("a")
    assert await bench.places() == (1, 1, 0, 0)
    assert await consumer.claim(done=1) == raws("b")


async def test_wait_gives_up_in_time(bench: Bench) -> None:
    consumer = await bench.consumer()
    assert await consumer.wait(0.01) is None
    assert await consumer.wait(0.0) is None
    await bench.push(raw("a"))
    assert await consumer.wait(0.0) == raw("a")


async def test_waiters_are_served_one_each_first_come_first_served(bench: Bench) -> None:
    consumers = [await bench.consumer(str(number)) for number in range(4)]
    waiting = []
    for consumer in consumers:
        waiting.append(asyncio.create_task(consumer.wait(10)))
        await asyncio.sleep(0)
        await bench.push(raw("x"), queue="other")  # a way to the broker and back: the wait is there too by now

    await bench.push(*raws("ab"))
    await bench.push(raw("c"))
    served = [await task for task in waiting[:3]]

    assert served == raws("abc")
    assert not waiting[3].done()
    assert await bench.places() == (0, 3, 0, 0)
    await bench.push(raw("d"))
    assert await waiting[3] == raw("d")


@pytest.mark.parametrize("how", ["leave", "recover", "requeue", "due"])
async def test_what_comes_back_wakes_a_waiter(bench: Bench, how: str) -> None:
    await bench.push(raw("a"))
    consumer, waiter = await bench.consumer("consumer"), await bench.consumer("waiter")
    assert await consumer.claim() == raws("a")
    if how == "requeue":
        await consumer.claim(done=1, failures=[Failure(0, None, "no")])
    waiting = asyncio.create_task(waiter.wait(10))
    await bench.push(raw("x"), queue="other")

    if how == "due":  # another consumer's claim brings it back and has no room itself
        await consumer.claim(done=1, want=0, failures=[Failure(0, 0.0, "busy")])
        await bench.push(raw("b"))
        assert await waiting == raw("b")
        assert await consumer.claim(want=1) == [raw("a", 2)]
        return

    await consumer.give_back(how)
    assert ids([await waiting or b""]) == "a"


async def test_cancelling_a_wait_loses_nothing(bench: Bench) -> None:
    consumer = await bench.consumer()
    waiting = asyncio.create_task(consumer.wait(10))
    await bench.push(raw("x"), queue="other")
    waiting.cancel()
    await bench.push(raw("a"))
    await asyncio.wait({waiting})

    found = await consumer.take()
    if not found:  # the broker noticed in time
        assert await bench.places() == (1, 0, 0, 0)
    assert ids(await consumer.claim()) == "a"


# ---- replies


async def test_replies_are_fetched_once_in_order(bench: Bench) -> None:
    link = bench.link()
    await link.reply("r", [b"1", b"\n\x00\xff"])
    await link.reply("r", [b"3"])

    assert await link.fetch(["r"], 1) == [b"1", b"\n\x00\xff", b"3"]
    assert await link.fetch(["r"], 0.01) == []
    assert await link.fetch(["r"], 0.0) == []


async def test_fetch_waits_for_a_reply(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.link().fetch(["r"], 10))
    await bench.push(raw("x"), queue="other")

    await bench.link().reply("r", [b"1"])

    assert await waiting == [b"1"]


async def test_replies_expire(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorgond.redpill.memory.REPLY_TTL", 0.02)
    monkeypatch.setattr("gorgond.redpill.redisbroker._REPLY_TTL_MS", 20)
    link = bench.link()
    pause = 0.005

    async def too_late() -> bool:
        nonlocal pause
        pause *= 2
        await link.reply("r", [b"1"])
        await asyncio.sleep(pause)
        return not await link.fetch(["r"], 0.01)

    await eventually_async(too_late)


# ---- topics


async def test_each_durable_group_gets_each_event_once(bench: Bench) -> None:
    link = bench.link()
    await link.join("t", "g", LIMIT)
    await link.join("t", "h", LIMIT)
    batch = Batch("t", 1, raws("ab"), topic=True)

    assert await link.push("p", Room(LIMIT), [batch]) == [None]
    assert await bench.link().push("p", Room(LIMIT), [batch]) == [None]

    assert await bench.all_of("t/g") == raws("ab")
    assert await bench.all_of("t/h") == raws("ab")


async def test_a_group_gets_events_from_join_to_part(bench: Bench) -> None:
    link = bench.link()
    await bench.publish(raw("a"))
    await link.join("t", "g", LIMIT)
    await bench.publish(raw("b"))
    await link.join("t", "g", LIMIT)
    await link.part("t", "g")
    await bench.publish(raw("c"))

    assert await bench.all_of("t/g") == raws("b")
    await link.join("t", "g", LIMIT)
    await bench.publish(raw("d"))
    assert await bench.places("t/g") == (1, 1, 0, 0)


async def test_a_group_keeps_the_newest_and_counts_what_it_lost(bench: Bench) -> None:
    await bench.link().join("t", "g", 3)
    await bench.publish(*raws("ab"))
    await bench.publish(*raws("cdefg"))
    await bench.publish(raw("h"))

    assert await bench.places("t/g") == (3, 0, 0, 0)
    assert (await bench.link().counts(["t/g"]))[0].overflow == 5
    assert await bench.all_of("t/g") == raws("fgh")


async def test_an_event_wakes_a_waiting_group_consumer(bench: Bench) -> None:
    consumer = await bench.consumer(queue="t/g")
    await consumer.link.join("t", "g", LIMIT)
    waiting = asyncio.create_task(consumer.wait(10))
    await bench.publish(raw("a"))
    assert await waiting == raw("a")


async def test_listeners_hear_live_events_in_order(bench: Bench) -> None:
    ears = [bench.link(), bench.link()]
    for ear in ears:
        assert await ear.listen(["t", "u"], 0.01) is None

    await bench.publish(*raws("ab"), topic="t")
    await bench.publish(raw("c"), topic="u")
    await bench.publish(raw("d"), topic="other")

    for ear in ears:
        heard = [await ear.listen(["t", "u"], 10) for _ in "abc"]
        assert heard == [("t", raw("a")), ("t", raw("b")), ("u", raw("c"))]
        assert await ear.listen(["t", "u"], 0.01) is None


async def test_listen_wakes_when_something_happens(bench: Bench) -> None:
    ear = bench.link()
    await ear.listen(["t"], 0.01)
    listening = asyncio.create_task(ear.listen(["t"], 10))
    await bench.publish(raw("a"))
    assert await listening == ("t", raw("a"))


async def test_many_short_listens_miss_nothing(bench: Bench) -> None:
    ear = bench.link()
    await ear.listen(["t"], 0.01)
    heard: list[bytes] = []

    async def hear() -> None:
        while len(heard) < 100:
            found = await ear.listen(["t"], 0.001)
            heard.extend([found[1]] if found else [])

    hearing = asyncio.create_task(hear())
    events = [raw(str(number)) for number in range(100)]
    for event in events:
        await bench.publish(event)
    await hearing
    assert heard == events


async def test_a_closed_listener_hears_again_from_when_it_listens(bench: Bench) -> None:
    ear = bench.link()
    await ear.listen(["t"], 0.01)
    await ear.close()
    await bench.publish(raw("a"))
    assert await ear.listen(["t"], 0.01) is None
    await bench.publish(raw("b"))
    assert await ear.listen(["t"], 10) == ("t", raw("b"))
    assert ear.connects == 2
