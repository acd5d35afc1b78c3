"""The contract of `Broker` and `Link`, promise by promise, on the broker in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable

import pytest

from gorgond.redpill import keys
from gorgond.redpill.broker import TOUCH, Batch, Broker, Claim, Failure, Limit, Link, Room, Voided
from gorgond.redpill.errors import BrokerAway, BrokerError, QueueFull, Superseded
from gorgond.redpill.memory import MemoryBroker
from gorgond.redpill.message import Message, decode, now_ms
from gorgond.redpill.raw import attempts_of
from gorgond.redpill.redisbroker import RedisBroker
from tests.conftest import RedisServer
from tests.contract.puppet import Puppet
from tests.waiting import eventually_async

LIMIT = 1000
GARBAGE = b"\x00\xff not a message"


class Bench:
    """A broker with as many links as a test asks for; they are closed when it ends."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.number = 0
        self.links: list[Link] = []
        self.closer: asyncio.Task[None] | None = None

    def link(self) -> Link:
        if self.closer is None:
            self.closer = asyncio.get_running_loop().create_task(self._close_links_when_cancelled())
        self.links.append(self.broker.link(f"test {len(self.links)}"))
        return self.links[-1]

    async def _close_links_when_cancelled(self) -> None:
        """The event loop cancels what still runs when the test is over."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for link in self.links:
                await link.close()

    async def push(self, *messages: bytes, queue: str = "q", limit: int = LIMIT) -> BrokerError | None:
        self.number += 1
        return (await self.link().push("producer", Room(limit), [Batch(queue, self.number, messages)]))[0]

    async def publish(self, *events: bytes, topic: str = "t") -> BrokerError | None:
        self.number += 1
        return (await self.link().push("producer", Room(LIMIT), [Batch(topic, self.number, events, topic=True)]))[0]

    async def admit(self, family: str, limits: list[Limit], back: bool = False) -> float:
        self.number += 1
        return await self.link().admit(family, "asker", self.number, limits, back)

    async def consumer(self, name: str = "consumer", queue: str = "q") -> Puppet:
        """A consumer that has taken its desk."""
        consumer = Puppet(self.link(), queue, name)
        await consumer.take()
        return consumer

    async def places(self, queue: str = "q") -> tuple[int, int, int, int]:
        """How many are queued, in flight, delayed, dead; every message accepted is somewhere."""
        counts = (await self.link().counts([queue]))[0]
        assert counts.difference() == 0, counts
        return counts.queued, counts.in_flight, counts.delayed, counts.dead

    async def all_of(self, queue: str = "q") -> list[bytes]:
        """What waits in the queue, taken by a consumer of its own."""
        return await (await self.consumer("reader", queue)).claim(want=LIMIT)


@pytest.fixture(params=["memory", "redis"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return Bench(MemoryBroker())
    return Bench(RedisBroker(request.getfixturevalue("shared_redis").url, durable=False))


@pytest.fixture(params=["memory", "redis"])
def frail(request: pytest.FixtureRequest) -> tuple[Bench, MemoryBroker | RedisServer]:
    """A bench, and what can be killed and started under it."""
    if request.param == "memory":
        broker = MemoryBroker()
        return Bench(broker), broker
    server = request.getfixturevalue("redis_factory")(appendonly="yes", appendfsync="always")
    return Bench(RedisBroker(server.url, durable=True)), server


@functools.cache
def raw(name: str, attempts: int = 0) -> bytes:
    """A message as it travels."""
    return Message("op", id=name, sent=0, attempts=attempts).encode()


def raws(names: str) -> list[bytes]:
    return [raw(name) for name in names]


def ids(messages: list[bytes]) -> str:
    return "".join(decode(message).id for message in messages)


async def test_the_clock_is_the_brokers(bench: Bench) -> None:
    before = now_ms()
    assert before <= await bench.link().clock() <= now_ms()  # here it is that of the same host
    if isinstance(bench.broker, MemoryBroker):
        bench.broker.clock = lambda: 5
        assert await bench.link().clock() == 5


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


# ---- a consumer's claim


async def test_a_claim_settles_and_tops_up(bench: Bench) -> None:
    await bench.push(*raws("abcdef"))
    consumer = await bench.consumer()
    assert await consumer.claim(want=3) == raws("abc")
    assert await bench.places() == (3, 3, 0, 0)

    assert await consumer.claim(done=2, want=3) == raws("cde")

    assert consumer.length == 3
    assert await bench.places() == (1, 3, 0, 0)
    assert await consumer.claim(done=3, want=3) == raws("f")
    assert await consumer.claim(done=1, want=3) == []
    counts = (await consumer.link.counts(["q"]))[0]
    assert (counts.accepted, counts.done, counts.expired) == (6, 6, 0)


async def test_a_repeated_claim_has_no_second_effect_and_the_same_answer(bench: Bench) -> None:
    await bench.push(*raws("abcdef"))
    consumer = await bench.consumer()
    await consumer.claim(want=3)

    failures = [Failure(1, 60, "busy")]
    first = await consumer.claim(done=3, want=2, failures=failures, expired=1)
    before = (await consumer.link.counts(["q"]))[0]
    again = await consumer.repeat()

    assert first == again == raws("de")
    assert consumer.length == 2
    counts = (await consumer.link.counts(["q"]))[0]
    assert counts == before
    assert (counts.done, counts.expired, counts.delayed, counts.retried) == (1, 1, 1, 1)
    assert await bench.places() == (1, 2, 1, 0)


async def test_a_claim_that_wants_nothing_settles_only(bench: Bench) -> None:
    await bench.push(*raws("abc"))
    consumer = await bench.consumer()
    await consumer.claim(want=2)

    assert await consumer.claim(done=1, want=0) == []

    assert consumer.length == 1
    assert await bench.places() == (1, 1, 0, 0)


async def test_a_claim_of_the_future_is_refused_since_one_must_be_lost(bench: Bench) -> None:
    await bench.push(*raws("abc"))
    consumer = await bench.consumer()
    await consumer.claim(want=2)

    consumer.claimed.number += 1
    with pytest.raises(Voided):
        await consumer.claim(done=2)

    assert await bench.places() == (1, 2, 0, 0)


async def test_a_late_copy_of_a_claim_changes_nothing(bench: Bench) -> None:
    await bench.push(*raws("abcd"))
    consumer = await bench.consumer()
    assert await consumer.claim(want=2) == raws("ab")
    late = consumer.claimed
    assert await consumer.claim(done=2, want=2) == raws("cd")

    with pytest.raises(Voided):
        await consumer.link.claim("q", "consumer", consumer.token, late)

    # so that the claim that followed is still a repeat, and settles nothing
    assert await consumer.repeat() == raws("cd")
    assert await bench.places() == (0, 2, 0, 0)


async def test_a_sign_of_life_is_never_taken_for_the_claim_that_the_broker_lost(bench: Bench) -> None:
    await bench.push(raw("a"))
    consumer = await bench.consumer()
    assert await consumer.claim() == [raw("a")]

    # the consumer fails a, which the broker has lost, and shows then that it lives
    with pytest.raises(Voided):
        await consumer.link.claim("q", "consumer", consumer.token, Claim(2, consumer.length, want=TOUCH))

    # so that what follows is not taken for the end of a
    with pytest.raises(Voided):
        await consumer.link.claim("q", "consumer", consumer.token, Claim(3, consumer.length, done=1))
    assert await bench.places() == (0, 1, 0, 0)


async def test_replies_go_out_with_the_turn(bench: Bench) -> None:
    await bench.push(*raws("ab"))
    consumer = await bench.consumer()
    await consumer.claim(want=2)

    await consumer.claim(done=2, replies={"r1": [b"1", b"2"], "r2": [b"3"]})

    assert await consumer.link.fetch(["r1"], 0.01) == [b"1", b"2"]
    assert await consumer.link.fetch(["r2"], 0.01) == [b"3"]


# ---- failures


async def test_a_failure_comes_again_alone_with_its_attempts_counted(bench: Bench) -> None:
    await bench.push(*raws("abc"))
    consumer = await bench.consumer()
    await consumer.claim(want=3)

    # b fails and is due at once; a new one waits already
    await bench.push(raw("d"))
    again = await consumer.claim(done=3, want=3, failures=[Failure(1, 0.0, "busy")])

    assert again == [raw("b", 2)]
    assert await consumer.claim(done=1, want=3) == raws("d")
    counts = (await consumer.link.counts(["q"]))[0]
    assert (counts.done, counts.retried, counts.difference()) == (3, 1, 0)


async def test_a_failure_waits_its_delay(bench: Bench) -> None:
    await bench.push(raw("a"))
    consumer = await bench.consumer()
    await consumer.claim()
    began = now_ms()

    assert await consumer.claim(done=1, failures=[Failure(0, 0.08, "busy")]) == []
    assert await bench.places() == (0, 0, 1, 0)
    again = await eventually_async(consumer.claim)

    assert now_ms() - began >= 80
    assert again == [raw("a", 2)]
    assert await bench.places() == (0, 1, 0, 0)


async def test_failures_due_at_one_time_keep_their_order(bench: Bench) -> None:
    names = "abcdefghijkl"  # enough for numbers of two digits
    await bench.push(*raws(names))
    consumer = await bench.consumer()
    await consumer.claim(want=20)

    again = await consumer.claim(done=12, failures=[Failure(i, 0.0, "busy") for i in range(12)])

    for name in names:
        assert ids(again) == name
        again = await consumer.claim(done=1)
    assert again == []


async def test_a_failure_without_delay_is_dead_with_its_reason_and_bytes(bench: Bench) -> None:
    await bench.push(raw("a"), GARBAGE)
    consumer = await bench.consumer()
    assert await consumer.claim(want=2) == [raw("a"), GARBAGE]
    began = now_ms()

    await consumer.claim(
        done=2, failures=[Failure(0, None, 'no "such"\nänger'), Failure(1, None, "undecodable: \udc80")]
    )

    first, second = await consumer.link.dead("q")
    assert (first.number, first.reason, first.attempts, first.raw) == (1, 'no "such"\nänger', 1, raw("a", 1))
    assert (second.number, second.attempts, second.raw) == (2, 0, GARBAGE)
    assert began - 1000 < first.at < now_ms() + 1000
    assert await bench.places() == (0, 0, 0, 2)


async def test_a_message_is_dead_after_its_last_attempt(bench: Bench) -> None:
    await bench.push(raw("a"))
    consumer = await bench.consumer()
    consumer.attempts = 2
    assert await consumer.claim() == [raw("a")]
    assert await consumer.claim(done=1, failures=[Failure(0, 0.0, "first")]) == [raw("a", 2)]

    assert await consumer.claim(done=1, failures=[Failure(0, 0.0, "second")]) == []

    letter = (await consumer.link.dead("q"))[0]
    assert (letter.reason, letter.attempts, letter.raw) == ("second", 2, raw("a", 2))


async def test_bytes_that_are_no_message_stay_as_they_are(bench: Bench) -> None:
    odd = [GARBAGE, b"", b"{}", b"[1]", b' {"id":"x"}', b'\n{"']
    await bench.push(*odd)
    consumer = await bench.consumer()
    assert await consumer.claim(want=9) == odd

    # whatever happens to them: a crash, a failure, a return
    consumer = await bench.consumer()
    assert await consumer.claim(want=9) == odd
    assert await consumer.claim(done=6, want=9, failures=[Failure(i, 0.0, "odd") for i in range(6)]) == odd
    assert await consumer.leave() == 6
    assert await bench.all_of() == odd


@pytest.mark.parametrize(
    ("pushed", "suspected"),
    [
        (b'{"id":"a"}', b'{"attempts":1,"id":"a"}'),
        (b'{"attempts":0,"id":"a"}', b'{"attempts":1,"id":"a"}'),
        (b'{"attempts":2,"id":"a"}', b'{"attempts":2,"id":"a"}'),
        (b'{"attempts":-1,"id":"a"}', b'{"attempts":1,"attempts":-1,"id":"a"}'),
        (b'{"attempts":1.5}', b'{"attempts":1,"attempts":1.5}'),
        (b'{"attempts":', b'{"attempts":1,"attempts":'),
        (b'{"attempts":0', b'{"attempts":1,"attempts":0'),
        (b'{"', b'{"attempts":1,"'),
        (b'{"a\x00', b'{"attempts":1,"a\x00'),
    ],
)
async def test_attempts_are_written_into_the_bytes_alike(bench: Bench, pushed: bytes, suspected: bytes) -> None:
    await bench.push(pushed)
    consumer = await bench.consumer()
    await consumer.wait()

    await consumer.link.recover("q", 0)

    assert await consumer.wait() == suspected


async def test_an_absurd_number_of_attempts_is_a_dead_letter(bench: Bench) -> None:
    huge = b'{"attempts":%s,"id":"a","op":"op"}' % (b"9" * 400)
    await bench.push(huge, raw("b"))
    consumer = await bench.consumer()

    assert await consumer.claim(want=2) == raws("b")

    letter = (await consumer.link.dead("q"))[0]
    assert (letter.raw, letter.attempts) == (huge, 1_000_000)
    assert await consumer.link.requeue("q", letter.number)
    assert await consumer.claim(done=1) == [b'{"id":"a","op":"op"}']


# ---- crashes


async def test_a_poison_is_started_three_times_and_takes_nobody_along(bench: Bench) -> None:
    await bench.push(*raws("abPcd"))
    starts: list[str] = []

    while True:  # each consumer is a process that P kills
        consumer = await bench.consumer()
        messages = await consumer.claim(want=5)
        while messages and "P" not in ids(messages):
            starts.append(ids(messages))
            messages = await consumer.claim(done=len(messages), want=5)
        if not messages:
            break
        starts.append(ids(messages))

    # the second time in a group of the square root of five, the third time alone
    assert starts == ["abPcd", "abP", "a", "b", "P", "cd"]
    letter = (await bench.link().dead("q"))[0]
    assert (letter.reason, letter.attempts, letter.raw) == ("its consumer died each time", 3, raw("P", 3))
    counts = (await bench.link().counts(["q"]))[0]
    assert (counts.done, counts.dead, counts.difference()) == (4, 1, 0)


async def test_take_finds_what_a_predecessor_left(bench: Bench) -> None:
    await bench.push(*raws("abc"))
    await (await bench.consumer()).claim(want=2)

    consumer = Puppet(bench.link())

    assert await consumer.take() == 2
    assert await consumer.claim(want=5) == [raw("a", 2), raw("b", 2)]
    assert await consumer.claim(done=2, want=5) == raws("c")


async def test_a_desk_full_of_what_was_started_before_is_done_in_the_square_root_of_it(bench: Bench) -> None:
    everything = [raw(str(number)) for number in range(101)]
    await bench.push(*everything)
    assert await (await bench.consumer()).claim(want=100) == everything[:100]

    # when a successor handles what it finds
    consumer = await bench.consumer()
    claims = [await consumer.claim(want=100)]
    while len(claims[-1]) > 1:
        claims.append(await consumer.claim(done=len(claims[-1]), want=100))

    # then it does so by ten, and with nothing new among them
    assert [len(claim) for claim in claims] == [10] * 10 + [1]
    assert [raw for claim in claims for raw in claim] == [raw(str(number), 2) for number in range(100)] + everything[
        100:
    ]


@pytest.mark.parametrize("where", ["desk", "queue"])
async def test_a_repeated_claim_gives_the_group_that_it_gave(bench: Bench, where: str) -> None:
    # given messages that were started before: two once, the third twice
    await bench.push(raw("a", 1), raw("b", 1), raw("c", 2))
    if where == "desk":
        dead = await bench.consumer()
        for _ in range(3):
            await dead.wait()
    consumer = await bench.consumer()

    # when the answer is lost, then the same two come again, no further start is counted, and the third waits
    for _ in range(2):
        group = await (consumer.claim(want=9) if consumer.claimed.number == 0 else consumer.repeat())
        assert group == [raw("a", 2), raw("b", 2)]
    assert await consumer.claim(done=2, want=9) == [raw("c", 3)]
    assert await consumer.repeat() == [raw("c", 3)]


async def test_a_group_in_hand_is_alone_until_all_of_it_is_done(bench: Bench) -> None:
    await bench.push(raw("a", 1), raw("b", 1), raw("c", 1), raw("d"))
    consumer = await bench.consumer()
    assert ids(await consumer.claim(want=4)) == "ab"

    assert await consumer.claim(want=4, later=[1], held=1) == []
    assert ids(await consumer.claim(done=1, want=4)) == "c"
    assert ids(await consumer.claim(done=1, want=4)) == "d"


async def test_a_group_is_of_bounded_size(bench: Bench) -> None:
    large = [Message("op", {"text": "x" * (3 << 20)}, id=id, sent=0, attempts=1).encode() for id in "ab"]
    await bench.push(*large)
    consumer = await bench.consumer()

    assert [len(await consumer.claim(done=done, want=9)) for done in (0, 1, 1)] == [1, 1, 0]


async def test_take_refuses_the_predecessor(bench: Bench) -> None:
    await bench.push(*raws("abc"))
    old = await bench.consumer()
    await old.claim(want=2)

    new = await bench.consumer()

    with pytest.raises(Superseded, match="another process has taken over as consumer on q"):
        await old.claim(done=2)
    with pytest.raises(Superseded):
        await old.repeat()
    assert await old.leave() == 0
    assert await bench.places() == (1, 2, 0, 0)
    assert await new.claim() == [raw("a", 2)]


async def test_recover_returns_what_a_silent_consumer_had_and_voids_it(bench: Bench) -> None:
    await bench.push(*raws("abcd"))
    silent = await bench.consumer("silent")
    await silent.claim(want=2)

    found = await eventually_async(lambda: bench.link().recover("q", 0.05))

    assert found == [("silent", 2)]
    assert await bench.places() == (4, 0, 0, 0)
    with pytest.raises(Voided, match="the desk of silent on q was given to others"):
        await silent.claim(done=2)
    assert await bench.places() == (4, 0, 0, 0)
    other = await bench.consumer("other")
    assert await other.claim(want=4) == [raw("a", 2), raw("b", 2)]
    assert await other.claim(done=2, want=4) == raws("cd")
    assert (await other.link.counts(["q"]))[0].recovered == 2


async def test_a_voided_consumer_settles_nothing_although_its_desk_looks_the_same(bench: Bench) -> None:
    await bench.push(*raws("ab"))
    consumer = await bench.consumer("silent")
    await consumer.claim()
    await consumer.link.recover("q", 0)
    await (await bench.consumer("other")).claim()
    await bench.link().wait("q", "silent", 1)  # its last connection brings b where a was

    with pytest.raises(Voided):
        await consumer.claim(done=1)

    assert await bench.places() == (0, 2, 0, 0)


async def test_recover_leaves_consumers_that_live(bench: Bench) -> None:
    await bench.push(*raws("ab"))
    silent, lively = await bench.consumer("silent"), await bench.consumer("lively")
    await silent.claim()
    await lively.claim()

    async def found() -> list[tuple[str, int]]:
        await lively.repeat()
        return await lively.link.recover("q", 0.1)

    assert await eventually_async(found) == [("silent", 1)]
    assert await lively.claim(done=1) == [raw("a", 2)]


async def test_a_message_that_reaches_a_desk_after_its_recovery_is_not_lost(bench: Bench) -> None:
    await bench.push(*raws("ab"))
    consumer = await bench.consumer("silent")
    await consumer.claim()
    assert await consumer.link.recover("q", 0) == [("silent", 1)]

    # the last blocking wait of the dead consumer is served by the broker all the same
    late = await consumer.wait()
    assert await bench.places() == (1, 1, 0, 0)

    assert late == raw("a", 1)
    assert await consumer.link.recover("q", 0) == [("silent", 1)]
    assert await bench.places() == (2, 0, 0, 0)


async def test_a_message_that_reaches_a_desk_after_it_was_given_up_is_not_lost(bench: Bench) -> None:
    consumer = await bench.consumer("gone")
    await consumer.leave()
    await bench.push(raw("a"))

    assert await consumer.wait() == raw("a")

    assert await bench.places() == (0, 1, 0, 0)
    assert await consumer.link.recover("q", 0) == [("gone", 1)]
    assert await bench.all_of() == [raw("a")]  # nobody has started it


async def test_a_message_on_the_desk_that_the_consumer_does_not_know_of_is_not_settled(bench: Bench) -> None:
    await bench.push(*raws("abc"))
    consumer = await bench.consumer()
    await consumer.claim()
    await bench.link().wait("q", "consumer", 1)  # of its last connection

    with pytest.raises(Voided):
        await consumer.claim(done=1)

    assert await consumer.take() == 2
    assert await consumer.claim() == [raw("a", 2)]
    assert await consumer.claim(done=1) == [raw("b", 2)]


async def test_leave_returns_messages_unchanged_to_the_head_in_order(bench: Bench) -> None:
    await bench.push(*raws("abcd"))
    consumer = await bench.consumer()
    await consumer.claim(want=3)

    assert await consumer.leave() == 3

    assert await bench.places() == (4, 0, 0, 0)
    assert await consumer.leave() == 0
    with pytest.raises(Voided):
        await consumer.claim(done=3)
    assert await bench.all_of() == raws("abcd")


async def test_leave_takes_back_the_start_of_what_was_not_handled(bench: Bench) -> None:
    # given messages that were started before, on the desk of a consumer that is stopped again and again before it can
    await bench.push(raw("a", 1), raw("b", 1), raw("c", 1))
    for name in "xyz":
        consumer = await bench.consumer(name)
        assert await consumer.claim(want=4) == [raw("a", 2), raw("b", 2)]
        assert await consumer.leave(unhandled=True) == 2

    # then that was no attempt; where they were handled, or died, it was one
    consumer = await bench.consumer()
    assert await consumer.claim(want=4) == [raw("a", 2), raw("b", 2)]
    await consumer.leave()
    assert await bench.all_of() == [raw("a", 3)]


async def test_a_claim_brings_a_bounded_size(bench: Bench) -> None:
    large = [Message("op", {"text": "x" * size}, id=str(size), sent=0).encode() for size in (5 << 20, 3 << 20, 1 << 19)]
    await bench.push(*large, *large[1:], raw("a"))
    consumer = await bench.consumer()

    claims = [await consumer.claim(want=9)]
    while claims[-1]:
        claims.append(await consumer.claim(done=len(claims[-1]), want=9))

    assert claims == [large[:1], [large[1], large[2]], [large[1], large[2], raw("a")], []]


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

    if how == "leave":
        await consumer.leave()
    elif how == "recover":
        await consumer.link.recover("q", 0)
    elif how == "requeue":
        await consumer.link.requeue("q", 1)
    else:  # another consumer's claim brings it back and has no room itself
        await consumer.claim(done=1, want=0, failures=[Failure(0, 0.0, "busy")])
        await bench.push(raw("b"))
        assert await waiting == raw("b")
        assert await consumer.claim(want=1) == [raw("a", 2)]
        return

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


# ---- counts, dead letters


async def test_counts_of_several_queues(bench: Bench) -> None:
    await bench.push(Message("op", sent=now_ms() - 5000).encode())
    await bench.push(GARBAGE, queue="r")

    some, garbage, none = await bench.link().counts(["q", "r", "never"])

    assert (some.queued, some.accepted) == (1, 1)
    assert 5 <= some.oldest < 10
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

    if how == "leave":
        await consumer.leave()
    elif how == "recover":
        await consumer.link.recover("q", 0)
    elif how == "requeue":
        await consumer.link.requeue("q", 1)

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
    first = Batch("q", 1, raws("a"))
    assert await link.push("p", room, [first]) == [None]
    (server.data / "dump.rdb").mkdir()
    server.cli("CONFIG", "SET", "save", "3600 1")
    server.cli("BGSAVE")
    await eventually_async(lambda: "rdb_last_bgsave_status:err" in server.cli("INFO", "persistence"))
    # when it is sent again, then it was accepted; another one is refused
    assert await link.push("p", room, [first]) == [None]
    assert isinstance((await link.push("p", room, [Batch("q", 2, raws("b"))]))[0], QueueFull)


async def test_scripts_that_redis_forgot_are_loaded_again(shared_redis: RedisServer) -> None:
    bench = Bench(RedisBroker(shared_redis.url, durable=False))
    await bench.push(*raws("ab"))
    consumer = await bench.consumer()
    assert await consumer.claim() == raws("a")
    shared_redis.cli("SCRIPT", "FLUSH")

    with pytest.raises(BrokerAway):
        await consumer.claim(done=1)

    assert await consumer.repeat() == raws("b")


# ---- limits on how often


async def test_so_many_at_once_and_then_one_after_each_interval(bench: Bench) -> None:
    limit = Limit("anna", 3, 1)
    assert [await bench.admit("login", [limit]) for _ in range(3)] == [0.0] * 3

    # the next one has to wait, at most an interval; it is told how long, and that counts nothing
    wait = await bench.admit("login", [limit])
    assert 0 < wait <= 1
    assert await bench.admit("login", [limit]) <= wait

    # after that one more goes, and no two
    await asyncio.sleep(wait + 0.002)
    assert await bench.admit("login", [limit]) == 0.0
    assert await bench.admit("login", [limit]) > 0


async def test_limits_are_asked_together_and_none_counts_what_another_refuses(bench: Bench) -> None:
    narrow, wide = Limit("narrow", 1, 60), Limit("wide", 2, 60)
    assert await bench.admit("login", [narrow, wide]) == 0.0

    assert 59 < await bench.admit("login", [narrow, wide]) <= 60

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
