"""Messages for later: kept like any other, due when they were asked for, and no burden to those that are not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from gorgond.redpill import DONE, Consumer, Message, Outcome, Producer, Room, now_ms
from gorgond.redpill.broker import Batch, Claim, Failure, Later
from gorgond.redpill.errors import QueueFull
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import decode
from tests.conftest import RedisServer
from tests.contract.bench import GARBAGE, Bench, ids, raw, raws
from tests.contract.stage import Stage
from tests.waiting import eventually_async

HOUR = 3_600_000
LATE = 0.2  # seconds: the promise


def later(name: str, ms: int, at: bool = False) -> Later:
    return Later(raw(name), ms, at)


async def test_it_is_accepted_and_delayed_until_it_is_due_and_then_the_next(bench: Bench) -> None:
    # given one that is due soon, one that is not, and others in the same batch
    assert await bench.push(*raws("ab"), later=[later("x", 1500), later("y", HOUR)]) is None
    assert sum(await bench.places()) == 4
    consumer = await bench.consumer()
    assert ids(await consumer.claim(want=2)) == "ab"
    assert await bench.places() == (0, 2, 2, 0)

    async def due() -> bool:
        return ids(await consumer.claim(want=3, held=2)) == "x"

    # then it comes when it is due, as it was pushed
    await eventually_async(due)
    assert (await consumer.claim(done=3, want=3)) == []
    assert consumer.due is not None
    assert 3500 < consumer.due < 3600
    assert await bench.places() == (0, 0, 1, 0)


@pytest.mark.parametrize("when", [Later(raw("x"), 0), Later(raw("x"), 5, at=True)])
async def test_what_was_due_before_it_came_is_pushed_like_the_others(bench: Bench, when: Later) -> None:
    assert await bench.push(raw("b"), later=[when]) is None
    assert ids(await bench.all_of()) == "xb"


async def test_a_time_is_that_of_the_brokers_clock(bench: Bench) -> None:
    link = bench.link()
    assert await bench.push(later=[later("x", await link.clock() + HOUR, at=True)]) is None
    consumer = await bench.consumer()
    assert await consumer.claim() == []
    assert consumer.due is not None
    assert 3500 < consumer.due <= 3600


async def test_those_of_one_moment_keep_their_order(bench: Bench) -> None:
    at = await bench.link().clock() + 40
    assert await bench.push(*[], later=[later(name, at, at=True) for name in "abc"]) is None
    assert await bench.push(*[], later=[later(name, at, at=True) for name in "de"]) is None
    consumer = await bench.consumer()

    async def all_due() -> bool:
        return ids(await consumer.claim(done=consumer.length, want=9)) == "abcde"

    await asyncio.sleep(0.1)  # the times that were asked for
    await eventually_async(all_due)


async def test_a_batch_that_is_sent_again_delays_nothing_twice(bench: Bench) -> None:
    batch = Batch("q", 1, raws("a"), later=[later("x", HOUR), later("x", HOUR)])
    assert await bench.link().push("p", Room(), [batch]) == [None]
    assert await bench.link().push("p", Room(), [batch]) == [None]
    assert await bench.places() == (1, 0, 2, 0)  # two with the same bytes are two


async def test_what_is_delayed_counts_for_the_limits(bench: Bench) -> None:
    assert await bench.push(later=[later(name, HOUR) for name in "abc"], limit=3) is None
    assert isinstance(await bench.push(raw("d"), limit=3), QueueFull)
    assert isinstance(await bench.push(later=[later("d", HOUR)], limit=3), QueueFull)
    assert await bench.push(raw("d"), limit=4) is None

    async def heavy(number: int) -> bool:
        batch = Batch("heavy", number, [], later=[Later(b"x" * 10_000, HOUR) for _ in range(20)])
        return (await bench.link().push("p", Room(10_000, 1_000_000), [batch])) == [None]

    accepted = [await heavy(number) for number in range(1, 12)]
    assert accepted[:4] == [True] * 4  # 800 kB
    assert accepted[6:] == [False] * 5  # 1.2 MB


async def test_a_paused_queue_gives_none_of_it(bench: Bench) -> None:
    link = bench.link()
    await link.pause("q")
    assert await bench.push(later=[later("x", 20)]) is None
    consumer = await bench.consumer()
    await asyncio.sleep(0.05)
    assert await consumer.claim() == []
    assert consumer.due is None  # nobody looks for it before the queue is resumed
    await link.resume("q")
    assert ids(await consumer.claim()) == "x"


async def test_bytes_that_are_no_message_can_be_for_later(bench: Bench) -> None:
    assert await bench.push(later=[Later(GARBAGE, 20), Later(b"{}", 20)]) is None
    await asyncio.sleep(0.05)
    assert await bench.all_of() == [GARBAGE, b"{}"]


# ---- the one that lies in an empty queue, so that who waits there hears of it


async def test_a_consumer_that_waits_gets_it_and_puts_it_off(bench: Bench) -> None:
    # given a consumer that waits
    consumer = await bench.consumer()
    await consumer.claim()
    waiting = asyncio.create_task(consumer.wait(10))
    await asyncio.sleep(0.02)
    # when two are pushed that are due soon
    assert await bench.push(later=[later("x", 400), later("y", 400)]) is None
    # then it gets one, and may not handle it
    found = await waiting
    assert found is not None
    assert found.startswith(b'{"attempts":')
    assert sum(await bench.places()) == 2
    # and its claim puts that off, tells when it is due, and gives it as it was pushed
    assert await consumer.claim() == []
    assert await bench.places() == (0, 0, 2, 0)
    assert consumer.due is not None
    assert 0 < consumer.due <= 0.4

    async def due() -> bool:
        return await consumer.claim(done=consumer.length, want=5) == raws("xy")

    await eventually_async(due)


async def test_it_is_put_off_from_behind_what_is_in_hand(bench: Bench) -> None:
    consumer = await bench.consumer()
    assert await bench.push(raw("a")) is None
    assert ids(await consumer.claim(want=5)) == "a"
    waiting = asyncio.create_task(consumer.wait(10))
    await asyncio.sleep(0.02)
    assert await bench.push(later=[later("x", 30_000_000)]) is None  # nobody hears of this one
    assert await bench.push(later=[later("y", 900)]) is None
    assert await bench.push(raw("b")) is None
    assert await waiting is not None
    # then others are taken past it
    assert ids(await consumer.claim(want=6, held=1)) == "b"
    assert await bench.places() == (0, 2, 2, 0)


async def test_it_is_put_off_from_between_others_of_the_queue(bench: Bench) -> None:
    assert await bench.push(*raws("abc"), later=[later("x", 900)]) is None
    silent = await bench.consumer("silent")
    assert ids(await silent.claim(want=2)) == "ab"  # past the one at the head
    await silent.leave()
    assert await bench.places() == (3, 0, 1, 0)


async def test_one_that_is_found_on_a_dead_consumers_desk_is_as_it_was_pushed(bench: Bench) -> None:
    consumer = await bench.consumer()
    await consumer.claim()
    assert await bench.push(later=[later("x", 50)]) is None
    assert await consumer.wait() is not None
    # when its consumer dies, and another one of its name takes its desk
    successor = await bench.consumer()
    await asyncio.sleep(0.1)
    # then it was not started
    assert await successor.claim() == raws("x")


async def test_a_failure_of_one_is_tried_again_like_any(bench: Bench) -> None:
    assert await bench.push(later=[later("x", 1)]) is None
    await asyncio.sleep(0.02)
    consumer = await bench.consumer()
    assert await consumer.claim() == raws("x")
    assert await consumer.claim(done=1, failures=[Failure(0, 0.0, "no")]) == [raw("x", 2)]


# ---- with real loops


class Noted:
    """A handler that notes when it got what."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def __call__(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        self.at |= dict.fromkeys((message.id for message in messages), time.time())
        return [DONE] * len(messages)


async def test_it_is_handled_soon_after_it_is_due_by_consumers_that_wait(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gorgond.redpill.session.IDLE", 600.0)  # they look at nothing by themselves
    handler = Noted()
    consumers = [Consumer(stage.broker, "q", f"consumer{number}", handler) for number in range(2)]
    running = [asyncio.create_task(consumer.run()) for consumer in consumers]
    wanted: dict[str, float] = {}
    async with Producer(stage.broker, "p") as producer:
        # given consumers that have done something and wait for more, and messages for different moments
        await producer.push("q", Message("op", id="before"))
        await stage.done(1)
        handler.at.clear()
        for number, delay in enumerate((0.25, 0.5, 0.7, 0.3, 0.9)):
            message = Message("op", id=f"{number}")
            wanted[message.id] = time.time() + delay
            if number % 2:
                await producer.push("q", message, delay=delay)
            else:
                await producer.push("q", message, at=int(wanted[message.id] * 1000))
            await asyncio.sleep(0.15)

        async def all_handled() -> bool:
            return len(handler.at) == len(wanted)

        await eventually_async(all_handled)
    for consumer in consumers:
        consumer.stop()
    await asyncio.gather(*running)
    # then none came before its time, and one at least by what is promised, as far as the machine was free for it
    late = sorted(handler.at[name] - wanted[name] for name in wanted)
    assert -0.01 < late[0] < LATE + machine(), late


def machine() -> float:
    """Seconds by which this machine is late at the moment."""
    began = time.monotonic()
    time.sleep(0.01)
    return 20 * (time.monotonic() - began - 0.01)


async def test_a_time_that_is_none_is_refused(stage: Stage) -> None:
    async with Producer(stage.broker, "p") as producer:
        for at, delay in ((now_ms(), 1.0), (-1, None), (None, -0.1), (None, float("inf")), (10**18, None)):
            with pytest.raises((ValueError, OverflowError)):
                await producer.push("q", Message("op"), at=at, delay=delay)
        await producer.push("q", Message("op"), delay=0)


async def test_it_survives_the_broker(frail: tuple[Bench, MemoryBroker | RedisServer]) -> None:
    bench, server = frail
    assert await bench.push(later=[later("x", 300), later("y", HOUR)]) is None
    server.kill()
    server.start()
    link = bench.link()
    token, _ = await link.persist(lambda: link.take("q", "consumer"))
    got: list[bytes] = []
    number = length = 0
    while not got:
        number += 1
        length, got, *_ = await link.claim("q", "consumer", token, Claim(number, length))
        await asyncio.sleep(0.01)
    assert got == raws("x")
    assert await bench.places() == (0, 1, 1, 0)


async def test_all_that_is_due_at_once_comes(bench: Bench) -> None:
    at = await bench.link().clock() + 50
    names = [f"m{number:03}" for number in range(350)]
    assert await bench.push(later=[later(name, at, at=True) for name in names]) is None
    await asyncio.sleep(0.1)
    consumer = await bench.consumer()
    got: list[str] = []
    while len(got) < len(names):
        messages = await consumer.claim(done=consumer.length, want=60)
        got += [decode(message).id for message in messages]
    assert sorted(got) == names
    assert await consumer.claim(done=consumer.length) == []


def test_a_million_delayed_cost_what_a_thousand_do(redis_factory: Callable[..., RedisServer]) -> None:
    """In short: `tools/later.py` has a million."""
    from tools.later import costs

    server = redis_factory()
    few, many = costs(server.url, 1000), costs(server.url, 50_000)
    for name, cost in many.items():
        assert cost < 3 * few[name] + 20, (name, few, many)
