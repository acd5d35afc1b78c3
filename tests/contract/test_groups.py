"""Durable groups are bounded, in number and in bytes, and can be looked at and deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gorgond.redpill import Message, Producer, Room, connect
from gorgond.redpill.broker import Batch, Stale
from tests.conftest import RedisServer
from tests.contract.bench import Bench, raws

MB = 1_000_000


async def publish(bench: Bench, *events: bytes, room: Room) -> None:
    bench.number += 1
    assert await bench.link().push("producer", room, [Batch("t", bench.number, events, topic=True)]) == [None]


async def test_a_group_keeps_so_many_bytes_and_counts_what_it_lost(bench: Bench) -> None:
    link = bench.link()
    await link.join("t", "mail", 1000)
    room = Room(1000, MB)
    # given more than it may keep
    for number in range(30):
        await publish(bench, b"%d" % number + b"x" * 50_000, b"%d+" % number + b"x" * 50_000, room=room)
    # then it keeps the newest, as much as it may, and knows how many it has lost
    (counts,) = await link.counts(["t/mail"])
    assert 15 <= counts.queued <= 20
    assert (counts.accepted, counts.overflow, counts.difference()) == (60, 60 - counts.queued, 0)
    kept = await bench.all_of("t/mail")
    assert kept[-1].startswith(b"29+")
    assert kept[0].startswith(b"%d" % (30 - (len(kept) + 1) // 2))


async def test_one_event_that_is_too_large_is_kept_as_long_as_it_is_the_newest(bench: Bench) -> None:
    link = bench.link()
    await link.join("t", "mail", 1000)
    room = Room(1000, 100_000)
    await publish(bench, b"small", room=room)
    await publish(bench, b"x" * 200_000, room=room)
    assert await bench.places("t/mail") == (1, 0, 0, 0)
    await publish(bench, b"small", room=room)
    assert await bench.all_of("t/mail") == [b"small"]


async def test_what_was_taken_makes_room(bench: Bench) -> None:
    await bench.link().join("t", "mail", 1000)
    consumer = await bench.consumer(queue="t/mail")
    room = Room(1000, MB)
    # when thrice as much is published as may wait, and all of it is taken in between
    for _ in range(30):
        await publish(bench, b"x" * 100_000, room=room)
        assert len(await consumer.claim(done=consumer.length, want=5)) == 1
    # then nothing is lost
    (counts,) = await bench.link().counts(["t/mail"])
    assert counts.overflow == 0


async def test_a_removed_applications_group_does_not_fill_the_broker(
    redis_factory: Callable[..., RedisServer],
) -> None:
    # given a Redis with little memory, and a group that nobody consumes
    server = redis_factory(maxmemory="24mb", maxmemory_policy="noeviction")
    broker = connect(server.url, durable=False)
    link = broker.link("test")
    await link.join("store_notify", "removed", 1_000_000)
    async with Producer(broker, "p", Room(100_000, 10 * MB)) as producer:
        # when many large events are published
        for number in range(300):
            await producer.publish("store_notify", Message("items.added", {"body": "x" * 100_000}, id=f"{number}"))
            # then pushes go on
            await producer.push("store_put", Message("items.insert", id=f"{number}"))
    (group,) = await link.groups()
    assert group.bytes <= 10 * MB
    assert group.kept < 110
    await link.close()


async def test_groups_are_listed_with_what_they_keep_and_since_when_nobody_consumes_them(bench: Bench) -> None:
    link = bench.link()
    assert await link.groups() == []
    # given one that is consumed, one that never was, and one that was parted from
    for name in ("mail", "never", "parted"):
        await link.join("t", name, 7)
    await publish(bench, *raws("abc"), room=Room())
    consumer = await bench.consumer(queue="t/mail")
    await consumer.claim(want=2)
    await link.part("t", "parted")
    # then it is told
    mail, never, parted = await link.groups()
    assert (mail.name, mail.kept, mail.limit, mail.joined) == ("t/mail", 3, 7, True)
    assert mail.idle is not None
    assert 0 <= mail.idle < 60
    assert (never.name, never.kept, never.idle, never.joined) == ("t/never", 3, None, True)
    assert never.bytes >= sum(map(len, raws("abc")))
    assert (parted.name, parted.kept, parted.joined) == ("t/parted", 3, False)


async def test_a_group_is_deleted_with_all_that_it_keeps_and_the_others_stay(bench: Bench) -> None:
    link = bench.link()
    for name in ("mail", "other"):
        await link.join("t", name, 1000)
    await publish(bench, *raws("abc"), room=Room())
    consumer = await bench.consumer(queue="t/mail")
    await consumer.claim(want=2)
    # when it is deleted
    assert await link.forget("t", "mail")
    assert not await link.forget("t", "mail")
    # then it is not there any more, and gets nothing
    await publish(bench, *raws("d"), room=Room())
    assert [(group.name, group.kept) for group in await link.groups()] == [("t/other", 4)]
    assert await bench.places("t/mail") == (0, 0, 0, 0)
    assert await bench.places("t/other") == (4, 0, 0, 0)
    # until somebody joins it again
    await link.join("t", "mail", 1000)
    await publish(bench, *raws("e"), room=Room())
    assert await bench.all_of("t/mail") == raws("e")


async def test_a_late_copy_of_that_deletes_no_group_that_was_joined_again(bench: Bench) -> None:
    link = bench.link()
    await link.join("t", "mail", 1000)
    assert await link.forget_if("t", "mail", "1")
    await link.join("t", "mail", 1000)
    await publish(bench, *raws("a"), room=Room())
    with pytest.raises(Stale):
        await bench.link().forget_if("t", "mail", "1")
    assert await bench.places("t/mail") == (1, 0, 0, 0)
