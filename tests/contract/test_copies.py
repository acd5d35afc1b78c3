"""What a late copy of each call does, and a clock that is set back, case by case; in memory and on Redis.

test_interleavings has copies of all calls in any order; here is what its consumers do not do, and what each guard is
for.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
import redis

from gorgond.redpill import DONE, Caller, Consumer, Message, Outcome, Producer, keys, now_ms
from gorgond.redpill.broker import Batch, Failure, Link, Room, Stale, Voided
from gorgond.redpill.limits import Limit
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.redisbroker import RedisBroker
from tests.brokers import BROKERS
from tests.contract.bench import Bench, raw, raws
from tests.contract.puppet import Puppet
from tests.contract.worlds import HOUR_MS, InMemory, InRedis, World
from tests.waiting import eventually_async

OUTAGE = r"is away, waiting for it|is back after|was away [0-9]+ times more"
LATER = 60_000  # milliseconds: a deadline that no test reaches


class Stage:
    """A broker, who uses it, and the network over which late copies come."""

    def __init__(self, world: World, client: redis.Redis | None) -> None:
        self.world = world
        self.client = client
        self._bench = Bench(world.broker)

    @functools.cached_property
    def link(self) -> Link:
        return self._bench.link()

    @functools.cached_property
    def network(self) -> Link:
        return self._bench.link()

    async def push(self, *messages: bytes) -> None:
        assert await self.link.push(f"p{now_ms()}", Room(), [Batch("q", 1, messages)]) == [None]

    async def consumer(self, name: str = "consumer") -> Puppet:
        consumer = Puppet(self.link, "q", name)
        await consumer.take()
        return consumer

    def set_clock_back(self) -> None:
        """By an hour: queue q, the lease "job" and the limit "anna" of logins."""
        self.world.pass_hours(["q"], -1)
        if self.client is not None:
            for field in ("ends", "done"):
                self.client.hincrby(keys.lease("job"), field, HOUR_MS)
            rate = keys.rate("login", "anna")
            self.client.incrby(rate, HOUR_MS)
            self.client.pexpire(rate, HOUR_MS * 2)


@pytest.fixture(params=BROKERS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "memory":
        yield Stage(Real(), None)
        return
    url = request.getfixturevalue("shared_redis").url
    with redis.Redis.from_url(url) as client:
        yield Stage(InRedis(RedisBroker(url, durable=False), client), client)


class Real(InMemory):
    """The broker in memory with a clock that goes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.broker = MemoryBroker(clock=lambda: now_ms() + self.now)


# ---- consumers


async def test_a_late_take_ends_no_healthy_consumer(stage: Stage) -> None:
    # given takes of older processes of that name, and one of now
    older = [(await stage.consumer()).token for _ in range(2)]
    consumer = await stage.consumer()
    # when copies of what the three sent arrive
    for stands in ("", *older):
        with pytest.raises(Stale):
            await stage.network.take_if("q", "consumer", stands)
    # then the consumer works on
    await stage.push(raw("a"))
    assert await consumer.claim() == [raw("a")]


async def test_a_late_leave_takes_nothing_from_the_successor(stage: Stage) -> None:
    old = await stage.consumer()
    await old.leave()
    new = await stage.consumer()
    await stage.push(raw("a"))
    assert await new.claim() == [raw("a")]

    assert await stage.network.leave("q", "consumer", old.token) == 0

    await new.claim(done=1)


async def test_a_late_recover_takes_nothing_from_consumers_that_had_no_time_to_show_themselves(stage: Stage) -> None:
    # given a consumer with something in hand, and consumers that look for silent ones
    await stage.push(*raws("ab"))
    consumer = await stage.consumer()
    assert await consumer.claim(want=2) == raws("ab")
    assert await stage.link.recover("q", 20) == []
    # when the broker was away for an hour, and the first that comes are late copies
    stage.world.pass_hours(["q"])
    for _ in range(3):
        assert await stage.network.recover("q", 20) == []
    # then the consumer works on
    await consumer.claim(done=2)


async def test_a_message_that_a_late_wait_brings_is_found_however_late_and_was_not_started(stage: Stage) -> None:
    # given a consumer that ended long ago
    consumer = await stage.consumer("gone")
    await consumer.leave()
    for _ in range(3):
        stage.world.pass_hours(["q"], 24)
        await stage.link.recover("q", 0)
    # when a wait of it arrives
    await stage.push(raw("a"))
    await stage.network.wait("q", "gone", 1)
    # then the message is found
    assert (await stage.link.counts(["q"]))[0].difference() == 0
    assert await stage.link.recover("q", 0) == [("gone", 1)]
    assert await (await stage.consumer()).claim() == [raw("a")]


async def test_a_consumer_that_is_gone_for_longer_than_a_network_holds_anything_is_forgotten(stage: Stage) -> None:
    # given a consumer that ended, and one that works
    await (await stage.consumer("gone")).leave()
    consumer = await stage.consumer()
    # when a week has passed
    stage.world.pass_hours(["q"], 7 * 24)
    await stage.link.recover("q", 0)
    # then a new one of that name finds none before it
    assert (await stage.link.take_if("q", "gone", ""))[1] == 0
    # and what was only silent begins anew
    with pytest.raises(Voided):
        await consumer.claim()


# ---- what an operator does


async def test_a_late_pause_or_resume_changes_nothing(stage: Stage) -> None:
    async def paused() -> bool:
        return (await stage.link.counts(["q"]))[0].paused

    await stage.push(raw("a"))
    assert await stage.link.pause_if("q", "")
    assert await stage.link.resume_if("q", "1")

    with pytest.raises(Stale):
        await stage.network.pause_if("q", "")
    assert not await paused()

    assert await stage.link.pause("q")
    with pytest.raises(Stale):
        await stage.network.resume_if("q", "1")
    assert await paused()


async def test_a_late_join_or_part_changes_nothing(stage: Stage) -> None:
    async def publish(number: int) -> None:
        batch = Batch("t", number, raws("a"), topic=True)
        assert await stage.link.push("p", Room(), [batch]) == [None]

    async def accepted() -> int:
        return (await stage.link.counts(["t/g"]))[0].accepted

    assert await stage.link.join_if("t", "g", 10, "")
    assert await stage.link.part_if("t", "g", "1")

    # a group that was given up collects nothing
    with pytest.raises(Stale):
        await stage.network.join_if("t", "g", 10, "")
    await publish(1)
    assert await accepted() == 0

    # and one that was joined again loses nothing
    await stage.link.join("t", "g", 10)
    with pytest.raises(Stale):
        await stage.network.part_if("t", "g", "1")
    await publish(2)
    assert await accepted() == 1


async def test_a_late_requeue_or_drop_finds_no_letter(stage: Stage) -> None:
    await stage.push(*raws("ab"))
    consumer = await stage.consumer()
    await consumer.claim(want=2)
    await consumer.claim(done=2, want=0, failures=[Failure(0, None, "no"), Failure(1, None, "no")])
    assert await stage.link.requeue("q", 1)
    assert await stage.link.drop("q", 2)
    assert await consumer.claim() == raws("a")
    await consumer.claim(done=1, failures=[Failure(0, None, "no, again")])

    assert not await stage.network.requeue("q", 1)
    assert not await stage.network.drop("q", 2)

    assert [letter.number for letter in await stage.link.dead("q")] == [3]


# ---- leases and limits


async def test_a_late_call_about_a_lease_changes_nothing(stage: Stage) -> None:
    link, network = stage.link, stage.network
    # given a lease that was taken, kept, given up and taken again
    first = await link.lease("job", "anna", 60)
    kept = await link.lease("job", "anna", 60, stands=first.stands)
    given_up = await link.lease("job", "anna", 0, done=kept.at - 5000, stands=kept.stands)
    again = await link.lease("job", "anna", 60, stands=given_up.stands)
    assert again.token > first.token
    # when copies of all that arrive, and one of another one who asked
    for owner, seconds, done, stands in (
        ("anna", 60.0, None, first.stands),
        ("anna", 0.0, kept.at - 5000, kept.stands),
        ("anna", 60.0, None, given_up.stands),
        ("bob", 60.0, now_ms(), given_up.stands),
    ):
        with pytest.raises(Stale):
            await network.lease_if("job", owner, seconds, done, stands)
    # then she has it still, and it was done when it was
    now = await link.lease("job", "anna", 60, stands=again.stands)
    assert now.token == again.token
    assert now.done is not None
    assert now.done >= 5


async def test_a_late_question_about_a_limit_counts_nothing_and_takes_nothing_back(stage: Stage) -> None:
    link, network, limit = stage.link, stage.network, [Limit("anna", 2, 60)]
    assert await link.admit("login", "asker", 1, limit) == 0.0
    # a copy, and the repeat of one whose answer was lost
    assert await network.admit("login", "asker", 1, limit) == 0.0
    assert await link.admit("login", "asker", 2, limit, back=True) == 0.0
    assert [await link.admit("login", "asker", number, limit) == 0.0 for number in (3, 4, 5)] == [True, True, False]
    # what was taken back is not taken back again, for an attacker to have a further attempt
    await network.admit("login", "asker", 2, limit, back=True)
    assert await link.admit("login", "asker", 6, limit) > 0


# ---- replies


async def test_a_late_fetch_takes_no_reply_that_somebody_waits_for(
    stage: Stage, expected_logs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs(OUTAGE)
    monkeypatch.setattr("gorgond.redpill.call.BLOCK", 0.05)
    broker = stage.world.broker

    async def echo(messages: Sequence[Message]) -> Sequence[Outcome]:
        return [DONE] * len(messages)

    async with Producer(broker, "p") as producer, Caller(broker, producer, "data", "p") as caller:
        # given a call that is under way when the connections break
        answer = caller.call("q", Message("op", deadline=now_ms() + LATER))
        before = caller.reply_to

        async def queued() -> int:
            return (await stage.link.counts(["q"]))[0].queued

        await eventually_async(queued)
        while caller.reply_to == before:  # one in memory that asks for nothing just then does not notice
            _break_connections(stage)
            with suppress(AssertionError):
                await eventually_async(lambda: caller.reply_to != before, 5)
        # when a fetch that got no answer then arrives first, and its caller's next ones come and go
        late = asyncio.create_task(_late(stage.network, before))
        end = time.monotonic() + 0.2
        await eventually_async(lambda: time.monotonic() > end)
        # then the call is answered
        consumer = Consumer(broker, "q", "consumer", echo)
        running = asyncio.create_task(consumer.run())
        assert (await asyncio.wait_for(answer, 60)).error is None
        await late
        consumer.stop()
        await running


async def _late(network: Link, name: str) -> None:
    await network.fetch([name], 5)


def _break_connections(stage: Stage) -> None:
    if stage.client is not None:
        stage.client.execute_command("CLIENT", "KILL", "TYPE", "normal")  # type: ignore[no-untyped-call]
    else:
        assert isinstance(stage.world.broker, MemoryBroker)
        stage.world.broker.kill()
        stage.world.broker.start()


# ---- a clock that is set back by an hour


async def test_a_dead_consumers_desk_is_found_although_the_clock_was_set_back(stage: Stage) -> None:
    await stage.push(raw("a"))
    assert await (await stage.consumer("dead")).claim() == [raw("a")]
    await stage.link.recover("q", 20)

    stage.set_clock_back()

    found = await eventually_async(lambda: stage.link.recover("q", 0.1))
    assert found == [("dead", 1)]


async def test_what_is_delayed_is_due_after_its_delay_although_the_clock_was_set_back(stage: Stage) -> None:
    await stage.push(raw("a"))
    consumer = await stage.consumer()
    await consumer.claim()
    await consumer.claim(done=1, failures=[Failure(0, 0.05, "busy")])
    await stage.link.recover("q", 20)

    stage.set_clock_back()
    await stage.link.recover("q", 20)

    assert await eventually_async(consumer.claim) == [raw("a", 2)]


async def test_a_lease_ends_although_the_clock_was_set_back(stage: Stage) -> None:
    first = await stage.link.lease("job", "anna", 0.05)
    await stage.link.lease("job", "anna", 0.05, done=first.at, stands=first.stands)

    stage.set_clock_back()

    async def bobs() -> int:
        return (await stage.link.lease("job", "bob", 60)).token

    assert await eventually_async(bobs) > first.token
    done = (await stage.link.lease("job", "bob", 60)).done
    assert done is not None
    assert done >= 0


async def test_a_limit_is_no_narrower_than_when_all_is_used_up_although_the_clock_was_set_back(stage: Stage) -> None:
    limit = [Limit("anna", 3, 0.05)]
    for number in range(1, 4):
        assert await stage.link.admit("login", "asker", number, limit) == 0.0

    stage.set_clock_back()

    wait = await stage.link.admit("login", "asker", 4, limit)
    assert wait <= 0.05
    await asyncio.sleep(wait + 0.005)
    assert await stage.link.admit("login", "asker", 5, limit) == 0.0


async def test_consumers_are_not_taken_for_dead_because_the_clock_was_set_forward(stage: Stage) -> None:
    await stage.push(raw("a"))
    consumer = await stage.consumer()
    await consumer.claim()
    await stage.link.recover("q", 20)

    stage.world.pass_hours(["q"])

    assert await stage.link.recover("q", 20) == []
    await consumer.claim(done=1)
