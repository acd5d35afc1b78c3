"""The loops on top of a broker: Producer, Consumer, Caller, Subscription, Listener; in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import random
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from gorgond.redpill import (
    DONE,
    Broker,
    BrokerAway,
    BrokerError,
    BrokerRefused,
    Caller,
    CallFailed,
    Consumer,
    Counts,
    Dead,
    DeadLetter,
    DeadlineExceeded,
    Done,
    Hooks,
    Link,
    Listener,
    Message,
    Outcome,
    Producer,
    QueueFull,
    Reply,
    Retry,
    Room,
    Subscription,
    Superseded,
    Unavailable,
    connect,
    handling,
    now_ms,
)
from gorgond.redpill import call as call_module
from gorgond.redpill import consumer as consumer_module
from gorgond.redpill import outcome as outcome_module
from gorgond.redpill import producer as producer_module
from gorgond.redpill.broker import BATCH_MAX, Batch, Claim
from gorgond.redpill.memory import MemoryBroker, MemoryLink
from tests.conftest import RedisServer
from tests.waiting import eventually_async

Expect = Callable[[str], None]
OUTAGE = r"is away, waiting for it|is back after"
LATER = 20_000  # milliseconds: a deadline that no test reaches


# ---- the stage


class Stage:
    """What a test looks at a broker with."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    @contextlib.asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        link = self.broker.link("test")
        try:
            yield link
        finally:
            await link.close()

    async def counts(self, queue: str = "q") -> Counts:
        async with self.link() as link:
            counts = (await link.counts([queue]))[0]
        assert counts.difference() == 0, counts
        return counts

    async def dead(self, queue: str = "q") -> list[DeadLetter]:
        async with self.link() as link:
            return await link.dead(queue)

    async def push(self, *messages: Message, queue: str = "q") -> None:
        async with Producer(self.broker, "test") as producer:
            await producer.push(queue, *messages)

    async def done(self, number: int, queue: str = "q") -> None:
        async def all_done() -> bool:
            return (await self.counts(queue)).done == number

        await eventually_async(all_done)


@pytest.fixture(params=["memory", "redis"])
def stage(request: pytest.FixtureRequest) -> Stage:
    if request.param == "memory":
        return Stage(MemoryBroker())
    return Stage(connect(request.getfixturevalue("shared_redis").url, durable=False))


@pytest.fixture
def redis_stage(shared_redis: RedisServer) -> Stage:
    return Stage(connect(shared_redis.url, durable=False))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a second in earnest takes less here."""
    for name in ("consumer", "call", "topic"):
        monkeypatch.setattr(f"gorgond.redpill.{name}.BLOCK", 0.05)
    monkeypatch.setattr(outcome_module, "RETRY_FIRST", 0.01)


@contextlib.asynccontextmanager
async def running(*consumers: Consumer | Listener) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run these; stop them in the end, when they must end well."""
    tasks = [asyncio.create_task(each.run()) for each in consumers]
    try:
        yield tasks
        for each in consumers:
            each.stop()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Handler:
    """A consumer's handler that notes its batches, and answers with what `answer` says."""

    def __init__(self, answer: Callable[[Message], Outcome] = lambda _: DONE) -> None:
        self.batches: list[list[str]] = []
        self.attempts: list[int] = []
        self.answer = answer

    @property
    def ids(self) -> list[str]:
        return [id for batch in self.batches for id in batch]

    async def __call__(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        self.batches.append([message.id for message in batch])
        self.attempts += [message.attempts for message in batch]
        return [self.answer(message) for message in batch]


async def echo(batch: Sequence[Message]) -> Sequence[Outcome]:
    """Answers a call with its own id."""
    return [Done(json.dumps(message.id).encode()) for message in batch]


def messages(ids: str) -> list[Message]:
    return [Message("op", id=id) for id in ids]


async def taken(caller: Caller) -> None:
    """Wait until the broker has all that the caller asked."""
    await eventually_async(lambda: all(pending.taken for pending in caller._all()))


def request(id: str = "", within: int = LATER) -> Message:
    made = Message("op", deadline=now_ms() + within)
    return Message("op", id=id or made.id, deadline=made.deadline)


class Spy(MemoryBroker):
    """A broker in memory that shows the batches pushed, and can keep its answers for a while or lose them."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[list[int]] = []  # of each push the sizes of its batches
        self.in_flight = 0
        self.most_in_flight = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.losses = 0
        self.fault: Exception | None = None

    def link(self, name: str) -> MemoryLink:
        return _SpyLink(self, name)


class _SpyLink(MemoryLink):
    broker: Spy

    async def push(self, producer: str, room: Room, batches: Sequence[Batch]) -> list[BrokerError | None]:
        spy = self.broker
        spy.rounds.append([len(batch.messages) for batch in batches])
        spy.in_flight += 1
        spy.most_in_flight = max(spy.most_in_flight, spy.in_flight)
        try:
            await spy.gate.wait()
            if spy.fault is not None:
                raise spy.fault
            answer = await super().push(producer, room, batches)
        finally:
            spy.in_flight -= 1
        if spy.losses:
            spy.losses -= 1
            raise BrokerAway("the answer is lost")
        return answer


# ---- Producer


async def test_messages_of_one_claim_travel_as_one_batch() -> None:
    spy = Spy()
    async with Producer(spy, "p") as producer:
        await asyncio.gather(*(producer.push("q", message) for message in messages("abc")))

    assert spy.rounds == [[3]]


async def test_one_round_is_in_flight_and_what_comes_meanwhile_is_the_next() -> None:
    # given a round whose answer is to come
    spy = Spy()
    spy.gate.clear()
    async with Producer(spy, "p") as producer:
        first = asyncio.create_task(producer.push("q", *messages("a")))
        await eventually_async(lambda: spy.in_flight == 1)
        # when more is pushed, in several claims and to two queues
        more = []
        for id in "bcd":
            more.append(asyncio.create_task(producer.push("q", *messages(id))))
            await asyncio.sleep(0)
        more.append(asyncio.create_task(producer.push("other", *messages("e"))))
        await asyncio.sleep(0)
        spy.gate.set()
        await asyncio.gather(first, *more)

    # then it travelled together after it
    assert spy.rounds == [[1], [3, 1]]
    assert spy.most_in_flight == 1


async def test_a_full_queue_is_told_to_each(stage: Stage) -> None:
    async with Producer(stage.broker, "p", Room(3)) as producer:
        await producer.push("q", *messages("ab"))
        refused = await asyncio.gather(*(producer.push("q", m) for m in messages("cd")), return_exceptions=True)

    assert [type(error) for error in refused] == [QueueFull, QueueFull]
    assert (await stage.counts()).accepted == 2


async def test_a_push_whose_answer_is_lost_makes_no_second_message(expected_logs: Expect) -> None:
    expected_logs(OUTAGE)
    spy = Spy()
    spy.losses = 2
    async with Producer(spy, "p") as producer:
        await producer.push("q", *messages("ab"))

    assert spy.rounds == [[2], [2], [2]]
    assert (await Stage(spy).counts()).queued == 2


async def test_stop_sends_what_waits(stage: Stage) -> None:
    told: list[object] = []
    producer = Producer(stage.broker, "p")
    producer.start()
    for message in messages("abc"):
        producer.submit("q", [message.encode()], told.append)
    await producer.stop()

    assert told == [None] * 3
    assert (await stage.counts()).queued == 3


async def test_stop_while_the_broker_is_away_tells_everyone_and_ends(expected_logs: Expect) -> None:
    expected_logs(OUTAGE)
    broker = MemoryBroker()
    broker.kill()
    told: list[object] = []
    producer = Producer(broker, "p")
    producer.start()
    producer.submit("q", [b"{}"], told.append)
    await eventually_async(lambda: broker.outage.length)
    producer.submit("q", [b"{}"], told.append)

    await producer.stop(timeout=0.05)
    producer.submit("q", [b"{}"], told.append)

    assert [type(error) for error in told] == [BrokerError] * 3


async def test_who_gives_up_during_an_outage_leaves_nothing_behind(expected_logs: Expect) -> None:
    expected_logs(OUTAGE)
    # given a broker that is away, and pushes that wait for it
    broker = MemoryBroker()
    broker.kill()
    async with Producer(broker, "p") as producer, Caller(broker, producer, "data", "c") as caller:
        on_its_way = asyncio.create_task(producer.push("q", *messages("a")))
        await eventually_async(lambda: broker.outage.length and producer._number == 1)
        pushes = [asyncio.create_task(producer.push("q", Message("op"))) for _ in range(200)]
        calls = [caller.call("q", request(within=30)) for _ in range(200)]
        calls += [caller.call("q", request()) for _ in range(200)]
        # when they are cancelled, or their deadline passes
        await asyncio.sleep(0)
        for push in pushes:
            push.cancel()
        for call in calls[200:]:
            call.cancel()
        ends = await asyncio.gather(*pushes, *calls, return_exceptions=True)
        # then the broker never hears of them
        assert not caller
        assert not any(producer._waiting.values())
        broker.start()
        await on_its_way
        await producer.push("q", *messages("z"))
    assert [type(end) for end in ends[200:400]] == [BrokerAway] * 200
    assert (await Stage(broker).counts()).accepted == 2


async def test_who_submits_at_every_claim_is_not_waited_for_without_end() -> None:
    told: list[object] = []
    async with Producer(MemoryBroker(), "p") as producer:
        for number in range(1000):
            producer.submit("q", [Message("op", id=f"{number}").encode()], told.append)
            await asyncio.sleep(0)
        assert len(told) > 500


async def test_batches_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "BATCH_MAX", 100)
    many = [Message("op", id=str(number)) for number in range(1050)]
    async with Producer(stage.broker, "p") as producer:
        await producer.push("q", *many)

    handler = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        await stage.done(1050)
    assert handler.ids == [message.id for message in many]


async def test_batches_are_bounded_in_bytes_and_by_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "CLAIM_BYTES", 1000)
    spy = Spy()
    async with Producer(spy, "p", Room(10)) as producer:
        large = [Message("op", {"text": "x" * size}) for size in (2000, 300, 300, 300, 2000)]
        await producer.push("q", *large)
        assert [size for sizes in spy.rounds for size in sizes] == [1, 2, 1, 1]
        # more at once than the queue holds: as much as there is room for is accepted
        with pytest.raises(QueueFull):
            await producer.push("other", *(Message("op") for _ in range(12)))
    assert (await Stage(spy).counts("other")).accepted == 10


async def test_who_cannot_be_told_hurts_nobody_else(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("somebody could not be told")
    told: list[object] = []

    def fails(_: object) -> None:
        raise RuntimeError("a caller's fault")

    async with Producer(stage.broker, "p") as producer:
        for outcome in (fails, told.append):
            producer.submit("q", [b'{"id":"x","op":"op"}'], outcome)
        await eventually_async(lambda: told)
        await producer.push("q", *messages("b"))
    assert told == [None]


async def test_a_producer_that_fails_tells_everyone(expected_logs: Expect) -> None:
    # given a producer whose broker raises what none does
    expected_logs("pushing has failed")
    spy, failed = Spy(), list[BaseException]()
    producer = Producer(spy, "p", hooks=Hooks(failed=failed.append))
    spy.fault = ZeroDivisionError("a fault of ours")
    producer.start()

    # then who waits, who comes later, and the owner learn of it
    for _ in range(2):
        async with asyncio.timeout(60):
            with pytest.raises(BrokerError):
                await producer.push("q", *messages("a"))
    assert failed == [spy.fault]
    await producer.stop()


async def test_what_is_no_name_is_refused_and_the_producer_goes_on(stage: Stage) -> None:
    async with Producer(stage.broker, "p") as producer, Caller(stage.broker, producer, "data", "c") as caller:
        with pytest.raises(ValueError, match="no queue name"):
            await producer.push("{q}", *messages("a"))
        with pytest.raises(ValueError, match="no queue name"):
            await caller.call("", request())
        assert not caller
        await producer.push("q", *messages("b"))


# ---- Consumer


async def test_a_consumer_handles_settles_and_waits_for_more(stage: Stage) -> None:
    handler = Handler()
    consumer = Consumer(stage.broker, "q", "consumer", handler, batch=2)
    await stage.push(*messages("abc"))
    async with running(consumer):
        await stage.done(3)
        await stage.push(*messages("d"))
        await stage.done(4)

    assert handler.batches[:2] == [["a", "b"], ["c"]]
    assert handler.ids == list("abcd")
    assert handler.attempts == [0] * 4
    assert consumer.tally.handled == 4
    assert consumer.tally.failed == 0
    assert (await stage.counts()).in_flight == 0


async def test_a_consumer_takes_as_much_at_a_time_as_redis_can_pass_on(stage: Stage) -> None:
    await stage.push(*(Message("op") for _ in range(BATCH_MAX + 1)))
    handler = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", handler, batch=BATCH_MAX)):
        await stage.done(BATCH_MAX + 1)
    assert max(map(len, handler.batches)) == BATCH_MAX
    for batch in (0, BATCH_MAX + 1):
        with pytest.raises(ValueError, match="1 to 1000 messages"):
            Consumer(stage.broker, "q", "consumer", handler, batch=batch)


async def test_when_the_handler_raises_the_messages_come_again_and_in_the_end_alone(
    stage: Stage, expected_logs: Expect
) -> None:
    expected_logs("handling op failed|1 messages of q are dead letters now: RuntimeError: not this one")

    def fussy(message: Message) -> Outcome:
        if message.id == "b":
            raise RuntimeError("not this one")
        return DONE

    handler = Handler(fussy)
    await stage.push(*messages("abc"))
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        await stage.done(2)
        await eventually_async(stage.dead)

    # all, then as they are due, in the end b alone
    assert handler.batches[0] == ["a", "b", "c"]
    assert [batch for batch in handler.batches if "b" in batch][2:] == [["b"]]
    (letter,) = await stage.dead()
    assert (letter.reason, letter.attempts) == ("RuntimeError: not this one", 3)


async def test_a_line_of_the_log_is_about_the_messages_in_hand(
    stage: Stage, caplog: pytest.LogCaptureFixture, expected_logs: Expect
) -> None:
    expected_logs("1 messages of q are dead letters now: refused: 404: no a")
    # given a handler that refuses one of three
    in_hand: list[list[str]] = []

    async def noting(batch: Sequence[Message]) -> Sequence[Outcome]:
        in_hand.append(list(handling.get()))
        return [Done(error=CallFailed(404, "no a")) if message.id == "a" else DONE for message in batch]

    await stage.push(*messages("abc"))
    caplog.set_level("DEBUG", "gorgond.redpill")
    between: list[Sequence[str]] = []
    hooks = Hooks(beat=lambda: between.append(handling.get()))
    consumer = Consumer(stage.broker, "q", "consumer", noting, batch=2, hooks=hooks)
    async with running(consumer):
        await stage.done(2)
        await eventually_async(lambda: between[-1] == ())
    # then whatever is logged while it works is about its batch, and afterwards there is a line for each
    assert in_hand == [["a", "b"], ["c"]]
    lines = [record for record in caplog.records if record.levelname == "DEBUG" and hasattr(record, "requests")]
    told = {record.requests[0]: record.getMessage() for record in lines}
    assert sorted(told) == ["a", "b", "c"]
    assert told["a"].startswith("q op: done, 404: no a in ")
    assert told["c"].startswith("q op: done in ")


async def test_a_handler_that_answers_too_few_has_failed(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("1 outcomes for 2 messages|handling op")

    async def careless(batch: Sequence[Message]) -> Sequence[Outcome]:
        return [DONE for _ in batch[:1]]

    await stage.push(*messages("ab"))
    async with running(Consumer(stage.broker, "q", "consumer", careless)):
        await stage.done(2)


async def test_dead_and_retry(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("1 messages of q are dead letters now: (never|not yet)")
    outcomes: dict[str, Outcome] = {"a": DONE, "b": Dead("never"), "c": Retry("not yet", 0)}
    handler = Handler(lambda message: outcomes[message.id])
    async with Producer(stage.broker, "p") as producer, Caller(stage.broker, producer, "data", "c") as caller:
        calls = [caller.call("q", request(id)) for id in "abc"]
        async with running(Consumer(stage.broker, "q", "consumer", handler)):
            replies = await asyncio.gather(*calls)

    # c was tried three times; whoever waits for a dead letter is told
    assert [handler.ids.count(id) for id in "abc"] == [1, 1, 3]
    assert [reply.error.code if reply.error else 0 for reply in replies] == [0, 500, 500]
    assert sorted((letter.reason, letter.attempts) for letter in await stage.dead()) == [("never", 1), ("not yet", 3)]


async def test_unavailable_keeps_the_batch_and_counts_no_attempt(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # given consumers that take each other for dead soon, one with a batch that it cannot handle
    monkeypatch.setattr(consumer_module, "SILENCE", 0.8)
    monkeypatch.setattr(consumer_module, "BACKOFF", (0.01, 0.02))
    away = True

    def unable(_: Message) -> Outcome:
        if away:
            raise Unavailable("the database is away")
        return DONE

    first, other = Handler(unable), Handler()
    await stage.push(*messages("ab"))
    async with running(Consumer(stage.broker, "q", "first", first)):
        await eventually_async(lambda: first.batches)
        async with running(Consumer(stage.broker, "q", "other", other)):
            # when that lasts much longer than the silence
            end = time.monotonic() + 2.0
            await eventually_async(lambda: time.monotonic() > end)
            away = False
            await stage.done(2)

    # then the batch stayed where it was
    assert other.batches == []
    assert set(map(tuple, first.batches)) == {("a", "b")}
    assert set(first.attempts) == {0}


async def test_unavailable_drops_what_expires_meanwhile(stage: Stage) -> None:
    def unable(_: Message) -> Outcome:
        raise Unavailable("the database is away")

    handler = Handler(unable)
    await stage.push(Message("op", deadline=now_ms() + 1500))
    async with running(Consumer(stage.broker, "q", "consumer", handler)):

        async def expired() -> bool:
            return (await stage.counts()).expired == 1

        await eventually_async(expired)
    assert handler.batches


async def test_stopping_while_unavailable_gives_the_batch_back(stage: Stage) -> None:
    def unable(_: Message) -> Outcome:
        raise Unavailable("the database is away")

    handler = Handler(unable)
    await stage.push(*messages("ab"))
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        await eventually_async(lambda: handler.batches)
    assert (await stage.counts()).queued == 2

    successor = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", successor)):
        await stage.done(2)
    assert successor.batches == [["a", "b"]]
    assert successor.attempts == [0, 0]


async def test_stopping_while_unavailable_is_no_attempt(stage: Stage) -> None:
    # given a message that was started once, and consumers that are stopped while they are unable
    def unable(_: Message) -> Outcome:
        raise Unavailable("the database is away")

    async with Producer(stage.broker, "p") as producer:
        await producer.push_encoded("q", [Message("op", id="a", attempts=1).encode()])
    for _ in range(3):
        handler = Handler(unable)
        async with running(Consumer(stage.broker, "q", "consumer", handler)):
            await eventually_async(functools.partial(getattr, handler, "batches"))

    # then one that is able handles it
    able = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", able)):
        await stage.done(1)
    assert able.attempts == [2]


async def test_what_may_be_half_done_is_finished_past_its_deadline(stage: Stage) -> None:
    # given a consumer that finishes, a message that was started before, and one whose handling it has begun itself
    late = now_ms() + 300

    def half(_: Message) -> Outcome:
        if now_ms() < late + 200:
            raise Unavailable("half of it is done")
        return DONE

    handler = Handler(half)
    await stage.push(Message("op", id="new", deadline=late), Message("op", id="old", deadline=late - 1000, attempts=1))
    await stage.push(Message("op", id="late", deadline=late - 1000))
    async with running(Consumer(stage.broker, "q", "consumer", handler, finishes=True)):
        await stage.done(2)

    # then both are, and what was never started is not
    assert set(handler.ids) == {"new", "old"}
    assert (await stage.counts()).expired == 1


async def test_large_answers_go_out_in_rounds_and_too_large_ones_not_at_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "CLAIM_BYTES", 1000)
    monkeypatch.setattr(outcome_module, "REPLY_BYTES", 900)
    rounds: list[int] = []
    reply = type(stage.broker.link("x")).reply

    async def spied(self: Link, name: str, replies: Sequence[bytes]) -> None:
        rounds.append(sum(map(len, replies)))
        await reply(self, name, replies)

    monkeypatch.setattr(type(stage.broker.link("x")), "reply", spied)

    sizes = [400, 400, 400, 900, 901]
    handler = Handler(lambda message: Done(b"x" * sizes[int(message.id)]))
    async with calling(stage, handler) as caller:
        replies = await asyncio.gather(*(caller.call("q", request(str(number))) for number in range(5)))

    assert [len(reply.body) for reply in replies] == [400, 400, 400, 900, 0]
    assert replies[4].error is not None
    assert replies[4].error.code == 422
    assert rounds
    assert max(rounds) <= 1000


async def test_large_answers_are_taken_few_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "CLAIM_BYTES", 1000)
    gate, rounds = asyncio.Event(), list[int]()
    fetch = type(stage.broker.link("x")).fetch

    async def spied(self: Link, names: Sequence[str], timeout: float, most: int) -> list[bytes]:
        await gate.wait()
        raws = await fetch(self, names, timeout, most)
        rounds.append(sum(map(len, raws)))
        return raws

    monkeypatch.setattr(type(stage.broker.link("x")), "fetch", spied)
    async with calling(stage, Handler(lambda _: Done(b"x" * 400))) as caller:
        # given a caller that has seen how large answers are
        gate.set()
        await caller.call("q", request())
        gate.clear()
        # when many of them are there at once
        waiting = [caller.call("q", request()) for _ in range(40)]
        await stage.done(41)
        gate.set()
        replies = await asyncio.gather(*waiting)
    # then it takes what fits into a round
    assert [len(reply.body) for reply in replies] == [400] * 40
    assert max(rounds) <= 1000


async def test_work_past_its_deadline_is_dropped(stage: Stage) -> None:
    handler = Handler()
    now = now_ms()
    await stage.push(Message("op", id="late", deadline=now - 1), Message("op", id="good", deadline=now + LATER))
    consumer = Consumer(stage.broker, "q", "consumer", handler)
    async with running(consumer):
        await stage.done(1)

    assert handler.ids == ["good"]
    assert (await stage.counts()).expired == consumer.tally.expired == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\xff no message",
        b'{"op":"op"}',
        b'{"id":"x","op":"op","reply":"not{a}list"}',
        b'{"id":"x","op":"op","args":' + b"[" * 100_000,
    ],
)
async def test_what_cannot_be_read_or_answered_is_a_dead_letter(
    stage: Stage, raw: bytes, expected_logs: Expect
) -> None:
    expected_logs("1 messages of q are dead letters now: undecodable: ")
    handler = Handler()
    async with Producer(stage.broker, "p") as producer:
        await producer.push_encoded("q", [messages("a")[0].encode(), raw, messages("b")[0].encode()])
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        await stage.done(2)

    (letter,) = await stage.dead()
    assert letter.reason.startswith("undecodable: ")
    assert letter.raw.endswith(raw[1:])  # but for the attempts at its beginning
    assert handler.ids == ["a", "b"]


async def test_an_answer_that_cannot_be_sent_is_an_error_reply(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("the answer cannot be sent")
    handler = Handler(lambda _: Done("a text"))  # type: ignore[arg-type]
    async with calling(stage, handler) as caller:
        reply = await caller.call("q", request("a"))
    assert reply.error is not None
    assert reply.error.code == 500


async def test_a_handler_with_wild_attempts_in_the_message(stage: Stage) -> None:
    async with Producer(stage.broker, "p") as producer:
        await producer.push_encoded("q", [b'{"id":"x","op":"op","attempts":1000000}'])
    async with running(Consumer(stage.broker, "q", "consumer", Handler(lambda _: Retry("no")))):

        async def delayed() -> bool:
            return (await stage.counts()).delayed == 1

        await eventually_async(delayed)


async def test_stop_finishes_the_batch_and_gives_back_the_rest(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("consumer found 3 unfinished on its desk of q")
    # given a consumer that found three messages on its desk, handles them two at a time, and is at the first two
    await stage.push(*messages("abc"))
    async with stage.link() as dead:
        token, _ = await dead.take("q", "consumer")
        await dead.claim("q", "consumer", token, Claim(1, want=3))
    started, finish = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def slow(batch: Sequence[Message]) -> Sequence[Outcome]:
        started.set()
        await finish.wait()
        handled.extend(message.id for message in batch)
        return [DONE] * len(batch)

    consumer = Consumer(stage.broker, "q", "consumer", slow, batch=4)
    async with running(consumer):
        await started.wait()
        # when it is stopped
        consumer.stop()
        finish.set()

    # then they are done, and the third is back with no further attempt counted
    assert handled == ["a", "b"]
    counts = await stage.counts()
    assert (counts.done, counts.queued, counts.in_flight) == (2, 1, 0)
    successor = Handler()
    async with running(Consumer(stage.broker, "q", "other", successor)):
        await stage.done(3)
    assert (successor.batches, successor.attempts) == ([["c"]], [2])


async def test_an_idle_consumer_stops_though_the_broker_is_away(expected_logs: Expect) -> None:
    expected_logs(OUTAGE)
    expected_logs("could not give up its desk")
    broker = MemoryBroker()
    consumer = Consumer(broker, "q", "consumer", Handler())
    async with running(consumer):
        await eventually_async(lambda: consumer._token)
        broker.kill()
        await eventually_async(lambda: broker.outage.length)


async def test_the_newer_of_two_consumers_of_a_name_wins(stage: Stage) -> None:
    older = Consumer(stage.broker, "q", "consumer", Handler())
    task = asyncio.create_task(older.run())
    await eventually_async(lambda: older._token)
    newer = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", newer)):
        with pytest.raises(Superseded):
            await asyncio.wait_for(task, 60)
        await stage.push(*messages("a"))
        await stage.done(1)
    assert newer.ids == ["a"]


async def test_a_consumer_whose_desk_was_given_to_others_goes_on(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("consumer has lost its desk of q")
    # given a consumer in the middle of a batch
    started, finish = asyncio.Event(), asyncio.Event()
    first: list[str] = []

    async def slow(batch: Sequence[Message]) -> Sequence[Outcome]:
        first.extend(message.id for message in batch)
        started.set()
        await finish.wait()
        return [DONE] * len(batch)

    await stage.push(*messages("ab"))
    async with running(Consumer(stage.broker, "q", "consumer", slow)):
        await started.wait()
        # when its desk is returned to the queue and another one does the work
        async with stage.link() as link:
            assert await link.recover("q", 0) == [("consumer", 2)]
        other = Handler()
        async with running(Consumer(stage.broker, "q", "other", other)):
            await stage.done(2)
        finish.set()
        # then its own settlement is void, and it goes on
        await stage.push(*messages("c"))
        await stage.done(3)
    assert (first, other.ids) == (["a", "b", "c"], ["a", "b"])


async def test_a_long_handler_is_not_taken_for_dead(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "SILENCE", 0.8)
    other = Handler()

    async def long(batch: Sequence[Message]) -> Sequence[Outcome]:
        end = time.monotonic() + 2.0
        await eventually_async(lambda: time.monotonic() > end)
        return [DONE] * len(batch)

    await stage.push(*messages("a"))
    consumer = Consumer(stage.broker, "q", "long", long)
    async with running(consumer):
        await eventually_async(lambda: consumer._length)
        async with running(Consumer(stage.broker, "q", "other", other)):
            await stage.done(1)
    assert other.ids == []


async def test_a_dead_consumer_is_found_by_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, expected_logs: Expect
) -> None:
    expected_logs("long gone is silent: its 2 messages of q go back")
    monkeypatch.setattr(consumer_module, "SILENCE", 0.8)
    await stage.push(*messages("ab"))
    async with stage.link() as link:
        token, _ = await link.take("q", "long gone")
        await link.claim("q", "long gone", token, Claim(1, want=2))
    handler = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        await stage.done(2)
    assert (handler.batches, handler.attempts) == ([["a", "b"]], [2, 2])


async def test_a_dead_consumer_is_found_by_another_whose_handler_takes_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, expected_logs: Expect
) -> None:
    expected_logs("long gone is silent: its 2 messages of q go back")
    monkeypatch.setattr(consumer_module, "SILENCE", 2.0)
    monkeypatch.setattr("random.uniform", lambda low, high: high)  # the least often that it looks
    # given a consumer that went away, and no other than one that does not come to its end before that is found
    await stage.push(*messages("ab"))
    async with stage.link() as link:
        token, _ = await link.take("q", "long gone")
        await link.claim("q", "long gone", token, Claim(1, want=2))
        handled: list[str] = []

        async def recovered() -> bool:
            return (await link.counts(["q"]))[0].recovered == 2

        async def long(batch: Sequence[Message]) -> Sequence[Outcome]:
            handled.extend(message.id for message in batch)
            await eventually_async(recovered)
            return [DONE] * len(batch)

        # when that one handles its batch, then it finds it meanwhile
        await stage.push(*messages("c"))
        async with running(Consumer(stage.broker, "q", "consumer", long)):
            await stage.done(3)
    assert handled == ["c", "a", "b"]


async def test_every_claim_beats_and_a_hanging_handler_does_not(stage: Stage) -> None:
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    started, finish = asyncio.Event(), asyncio.Event()

    async def hanging(batch: Sequence[Message]) -> Sequence[Outcome]:
        started.set()
        await finish.wait()
        return [DONE] * len(batch)

    consumer = Consumer(stage.broker, "q", "consumer", hanging, hooks=Hooks(beat=beat))
    async with running(consumer):
        await eventually_async(lambda: beats > 5)  # it waits for work
        await stage.push(*messages("a"))
        await started.wait()
        at_start, end = beats, time.monotonic() + 0.2
        await eventually_async(lambda: time.monotonic() > end)
        assert beats == at_start
        finish.set()
        await stage.done(1)
        assert beats > at_start


async def test_consumers_on_a_redis_without_memory_are_calm_and_drain_it(
    redis_factory: Callable[..., RedisServer],
) -> None:
    # given a full Redis
    server = redis_factory(maxmemory="4mb")
    stage = Stage(connect(server.url, durable=False))
    async with Producer(stage.broker, "p") as producer:
        pushed = 0
        with contextlib.suppress(QueueFull):
            while True:
                await producer.push("full", *(Message("op", {"text": "x" * 1000}) for _ in range(50)))
                pushed += 50
    # when a consumer waits at an empty queue, it neither spins nor complains (a warning would fail this test)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    idle = Consumer(stage.broker, "idle", "consumer", Handler(), hooks=Hooks(beat=beat))
    async with running(idle):
        end = time.monotonic() + 0.5
        await eventually_async(lambda: time.monotonic() > end)
        assert 2 < beats < 40
        # and the full queue is emptied by another, which also announces what it does
        async with Producer(stage.broker, "events") as events, stage.link() as link:
            await link.join("topic", "group", 1000)

            async def announce(batch: Sequence[Message]) -> Sequence[Outcome]:
                await events.publish("topic", *(Message("event", message.args) for message in batch))
                return [DONE] * len(batch)

            async with running(Consumer(stage.broker, "full", "consumer", announce)):
                await stage.done(pushed, "full")
    assert (await stage.counts("topic/group")).accepted == pushed


# ---- Caller


@contextlib.asynccontextmanager
async def calling(
    stage: Stage,
    handler: Callable[[Sequence[Message]], Awaitable[Sequence[Outcome]]] | None = echo,
    limit: int = 100_000,
) -> AsyncIterator[Caller]:
    """A caller, and a consumer that answers it on queue q."""
    async with contextlib.AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer(stage.broker, "p", Room(limit)))
        caller = await stack.enter_async_context(Caller(stage.broker, producer, "data", "c"))
        if handler is not None:
            await stack.enter_async_context(running(Consumer(stage.broker, "q", "consumer", handler)))
        yield caller


def answers(id: str, reply: Reply) -> bool:
    return reply.id == id and json.loads(reply.body) == id


async def test_concurrent_calls_get_each_its_own_answer(stage: Stage) -> None:
    async with calling(stage) as caller:
        requests = [request() for _ in range(500)]
        replies = await asyncio.gather(*(caller.call("q", each) for each in requests))
        assert not caller
    assert all(answers(each.id, reply) for each, reply in zip(requests, replies, strict=True))


async def test_a_call_nobody_answers_ends_at_its_deadline(stage: Stage) -> None:
    async with calling(stage, None) as caller:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="no answer from q"):
            await caller.call("q", request(within=150))
        assert 0.1 < time.monotonic() - started < LATER / 2000
        assert not caller


@pytest.mark.parametrize("way", ["answered", "late", "cancelled"])
async def test_an_answer_is_kept_no_longer_than_its_caller_keeps_it(stage: Stage, way: str) -> None:
    # given nobody who looks for cycles: that is rare, and 1,000 answers have 20 MB
    gc.disable()
    try:
        async with calling(stage, echo if way == "answered" else None) as caller:
            call = caller.call("q", request(within=50 if way == "late" else LATER))
            kept = weakref.ref(call)
            # when a call is over
            if way == "cancelled":
                call.cancel()
            with contextlib.suppress(DeadlineExceeded, asyncio.CancelledError):
                await call
            # then nothing of it is left
            del call
            await eventually_async(lambda: kept() is None)
    finally:
        gc.enable()


async def test_stopping_ends_the_calls_that_wait(stage: Stage) -> None:
    async with calling(stage, None) as caller:
        call = caller.call("q", request())
    with pytest.raises(DeadlineExceeded):
        await call


async def test_the_answering_sides_no_is_in_the_reply(stage: Stage) -> None:
    async with calling(stage, Handler(lambda _: Done(error=CallFailed(404, "no such thing")))) as caller:
        reply = await caller.call("q", request())
    assert str(reply.error) == "404: no such thing"


async def test_a_call_to_a_full_queue_fails_at_once(stage: Stage) -> None:
    async with calling(stage, None, limit=1) as caller:
        waiting = caller.call("q", request())
        await taken(caller)
        with pytest.raises(QueueFull):
            await asyncio.wait_for(caller.call("q", request()), 60)
        waiting.cancel()


async def test_replies_to_nobody_and_what_is_none_are_dropped(
    stage: Stage, expected_logs: Expect, caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("a reply on data:c:.* is dropped: not a reply")
    async with calling(stage) as caller, stage.link() as link:
        await link.reply(caller.reply_to, [b""])
        await eventually_async(lambda: caplog.messages)  # by itself: replies without a size
        await link.reply(caller.reply_to, [Reply("unknown").encode(), b"\xff", b"[]\n", b'{"id":"x","error":7}\n'])
        call = request()
        assert answers(call.id, await caller.call("q", call))
        await eventually_async(lambda: caller.unasked == 1)


async def test_a_cancelled_call_is_forgotten(stage: Stage) -> None:
    async with calling(stage, None) as caller:
        call = caller.call("q", request("a"))
        await taken(caller)
        call.cancel()
        await eventually_async(lambda: not caller)
        async with running(Consumer(stage.broker, "q", "consumer", echo)):
            await eventually_async(lambda: caller.unasked == 1)


async def test_one_reply_answers_all_calls_of_its_id(stage: Stage) -> None:
    # given three calls of one id, the first with a short deadline
    async with calling(stage, None) as caller:
        first = caller.call("q", request("same", within=100))
        others = [caller.call("q", request("same")) for _ in range(2)]
        with pytest.raises(DeadlineExceeded):
            await first
        # then the others wait on, and an answer is for both
        async with stage.link() as link:
            await link.reply(caller.reply_to, [Reply("same", b'"same"').encode()])
            replies = await asyncio.wait_for(asyncio.gather(*others), 60)
        assert all(answers("same", reply) for reply in replies)
        assert not caller


async def test_calls_survive_a_redis_that_forgets_everything(
    redis_factory: Callable[..., RedisServer], expected_logs: Expect
) -> None:
    expected_logs(OUTAGE + "|unfinished on its desk|has lost its desk of q")
    server = redis_factory()
    stage = Stage(connect(server.url, durable=False))
    entered, finish = asyncio.Event(), asyncio.Event()

    async def slow(batch: Sequence[Message]) -> Sequence[Outcome]:
        entered.set()
        await finish.wait()
        return await echo(batch)

    # given calls in the queue and on a desk
    async with calling(stage, slow) as caller:
        requests = [request() for _ in range(200)]
        calls = [caller.call("q", each) for each in requests]
        await entered.wait()
        # when Redis dies with all it had, also while calls are made
        server.kill()
        requests += [request() for _ in range(200)]
        calls += [caller.call("q", each) for each in requests[200:]]
        finish.set()
        await eventually_async(lambda: stage.broker.outage.length)
        await asyncio.to_thread(server.start)
        # then all are answered
        replies = await asyncio.wait_for(asyncio.gather(*calls), 60)
    assert all(answers(each.id, reply) for each, reply in zip(requests, replies, strict=True))


async def test_a_call_that_was_taken_does_not_fail_because_its_repeat_is_refused(expected_logs: Expect) -> None:
    expected_logs(OUTAGE)
    # given a call that fills the queue
    broker = MemoryBroker()
    stage = Stage(broker)
    async with calling(stage, None, limit=1) as caller:
        call = request()
        answer = caller.call("q", call)
        await taken(caller)
        # when it is pushed again after an outage, which has no room
        broker.kill()
        await eventually_async(lambda: broker.outage.length)
        broker.start()
        await eventually_async(lambda: not broker.outage.length)
        await asyncio.wait((answer,), timeout=0.1)
        # then it is answered all the same
        async with running(Consumer(broker, "q", "consumer", echo)):
            assert answers(call.id, await asyncio.wait_for(answer, 60))


async def test_a_broker_that_refuses_fails_the_calls_and_is_tried_again(
    redis_factory: Callable[..., RedisServer], expected_logs: Expect
) -> None:
    expected_logs(OUTAGE)
    # given a Redis that lets us push but not fetch
    server = redis_factory()
    server.cli("ACL", "SETUSER", "default", "-blmpop")
    stage = Stage(connect(server.url, durable=False))
    async with calling(stage) as caller:
        with pytest.raises(BrokerRefused, match="permissions"):
            await asyncio.wait_for(caller.call("q", request()), 60)
        # when an operator has mended it
        server.cli("ACL", "SETUSER", "default", "+blmpop")
        # then calls work again

        async def answered() -> bool:
            call = request(within=500)
            with contextlib.suppress(BrokerError, DeadlineExceeded):
                return answers(call.id, await caller.call("q", call))
            return False

        await eventually_async(answered)


async def test_cancelled_calls_never_give_their_answer_to_others(redis_stage: Stage) -> None:
    chance = random.Random(1)
    async with calling(redis_stage) as caller:
        answered = 0
        for _ in range(15):
            calls = {each.id: caller.call("q", each) for each in (request() for _ in range(60))}
            doomed = chance.sample(sorted(calls), 30)
            for id in doomed:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.02), calls[id].cancel)
            ends = await asyncio.gather(*calls.values(), return_exceptions=True)
            for id, end in zip(calls, ends, strict=True):
                if isinstance(end, Reply):
                    answered += 1
                    assert answers(id, end)
                else:
                    assert isinstance(end, asyncio.CancelledError)
                    assert id in doomed
        assert answered >= 15 * 30
        assert not caller


async def test_a_cancelled_round_takes_no_answer_of_the_next(redis_stage: Stage) -> None:
    """Each list has its own reply; whichever fetch is cut short, the next one must not read its answer."""
    chance = random.Random(2)
    async with redis_stage.link() as link, redis_stage.link() as writer:
        for number in range(100):
            one, other = f"one:{number}", f"other:{number}"
            fetch = asyncio.create_task(link.fetch([one], 1))
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.002), fetch.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await fetch
            await writer.reply(one, [one.encode()])
            await writer.reply(other, [other.encode()])
            assert await link.fetch([other], 1) == [other.encode()]


# ---- topics


async def test_each_group_gets_each_event_once(stage: Stage) -> None:
    left, right, alone = Handler(), Handler(), Handler()
    consumers = [
        Subscription(stage.broker, "topic", "pair", "left", left, batch=1),
        Subscription(stage.broker, "topic", "pair", "right", right, batch=1),
        Subscription(stage.broker, "topic", "single", "alone", alone),
    ]
    ids = [f"{number:03}" for number in range(40)]
    async with running(*consumers), Producer(stage.broker, "p") as producer:
        await asyncio.gather(*(consumer.joined.wait() for consumer in consumers))
        for id in ids:
            await producer.publish("topic", Message("event", id=id))
        await stage.done(40, "topic/pair")
        await stage.done(40, "topic/single")

    assert sorted(left.ids + right.ids) == ids
    assert alone.ids == ids


async def test_a_group_keeps_events_for_consumers_that_are_away(stage: Stage) -> None:
    async def subscribed() -> Handler:
        handler = Handler()
        consumer = Subscription(stage.broker, "topic", "group", "consumer", handler, kept=3)
        async with running(consumer):
            await consumer.joined.wait()
            await eventually_async(lambda: handler.ids or first)
        return handler

    first = True
    await subscribed()
    first = False
    async with Producer(stage.broker, "p") as producer:
        await producer.publish("topic", *messages("abcde"))

    assert (await subscribed()).ids == ["c", "d", "e"]
    assert (await stage.counts("topic/group")).overflow == 2


async def test_a_subscription_joins_again_when_the_broker_has_forgotten_it(
    redis_stage: Stage, shared_redis: RedisServer, expected_logs: Expect
) -> None:
    expected_logs("has lost its desk of topic/group")
    handler = Handler()
    consumer = Subscription(redis_stage.broker, "topic", "group", "consumer", handler)
    async with running(consumer), Producer(redis_stage.broker, "p") as producer:
        await consumer.joined.wait()
        shared_redis.cli("FLUSHALL")
        await eventually_async(lambda: "group" in shared_redis.cli("SMEMBERS", "gorgon:{topic}:groups"))
        await producer.publish("topic", *messages("a"))
        await eventually_async(lambda: handler.ids == ["a"])


async def test_listeners_hear_what_happens_now(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("an event of two is dropped: ")
    heard: list[tuple[str, str]] = []
    listener = Listener(stage.broker, ["one", "two"], "ear", lambda topic, event: heard.append((topic, event.id)))
    async with running(listener), Producer(stage.broker, "p") as producer:

        async def hears() -> bool:
            await producer.publish("one", Message("event", id="first"))
            return bool(heard)

        await eventually_async(hears)
        told: list[object] = []
        producer.submit("two", [b"garbage"], told.append, topic=True)
        await producer.publish("two", *messages("ab"))
        await producer.publish("three", *messages("c"))
        await eventually_async(lambda: ("two", "b") in heard)
    assert set(heard) == {("one", "first"), ("two", "a"), ("two", "b")}


async def test_a_listener_hears_again_after_an_outage(
    redis_factory: Callable[..., RedisServer], expected_logs: Expect
) -> None:
    expected_logs(OUTAGE)
    server = redis_factory()
    stage = Stage(connect(server.url, durable=False))
    heard: set[str] = set()
    listener = Listener(stage.broker, ["topic"], "ear", lambda _, event: heard.add(event.id))
    async with running(listener), Producer(stage.broker, "p") as producer:
        for id in "ab":

            async def hears(id: str = id) -> bool:
                await producer.publish("topic", Message("event", id=id))
                return id in heard

            await eventually_async(hears)
            if id == "a":
                server.kill()
                await eventually_async(lambda: stage.broker.outage.length)
                await asyncio.to_thread(server.start)


# ---- routing slip


async def test_a_message_is_passed_on_and_answered_by_the_last(stage: Stage) -> None:
    async with Producer(stage.broker, "auth") as producer:

        async def admit(batch: Sequence[Message]) -> Sequence[Outcome]:
            await asyncio.gather(
                *(producer.push(message.next, message.forwarded(user={"id": 7})) for message in batch if message.next)
            )
            return [Done(None) if message.next else Done(error=CallFailed(401, "who?")) for message in batch]

        async def serve(batch: Sequence[Message]) -> Sequence[Outcome]:
            return [Done(json.dumps([message.id, message.user, message.next]).encode()) for message in batch]

        async with (
            calling(stage, None) as caller,
            running(Consumer(stage.broker, "auth_get", "auth", admit), Consumer(stage.broker, "web_get", "app", serve)),
        ):
            call = Message("op", id="a", next="web_get", deadline=now_ms() + LATER)
            reply = await caller.call("auth_get", call)
            await stage.done(1, "auth_get")
            refused = await caller.call("auth_get", request())
            assert caller.unasked == 0
    assert json.loads(reply.body) == ["a", {"id": 7}, ""]
    assert refused.error is not None
    assert refused.error.code == 401
