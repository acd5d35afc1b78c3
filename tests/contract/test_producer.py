"""Producer, and a message that is passed on; in memory and on Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from gorgond.redpill import (
    BrokerAway,
    BrokerError,
    Caller,
    CallFailed,
    Consumer,
    Done,
    Hooks,
    LoopEnded,
    Message,
    Outcome,
    OutcomeUnknown,
    Producer,
    QueueFull,
    Room,
    now_ms,
)
from gorgond.redpill import producer as producer_module
from gorgond.redpill.memory import MemoryBroker
from tests.contract.stage import LATER, OUTAGE, Expect, Handler, Spy, Stage, calling, messages, request, running
from tests.waiting import eventually_async

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

    # of the one that was on its way nobody knows
    assert [type(error) for error in told] == [OutcomeUnknown, BrokerError, BrokerError]


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


async def test_a_producer_that_fails_tells_everyone() -> None:
    # given a producer whose broker raises what none does
    spy, failed = Spy(), list[LoopEnded]()
    producer = Producer(spy, "p", hooks=Hooks(failed=failed.append))
    spy.fault = ZeroDivisionError("a fault of ours")
    producer.start()

    # then who waits, who comes later, and the owner learn of it
    for _ in range(2):
        async with asyncio.timeout(60):
            with pytest.raises(BrokerError):
                await producer.push("q", *messages("a"))
    assert [ended.foreign for ended in failed] == [spy.fault]
    await producer.stop()


async def test_what_is_no_name_is_refused_and_the_producer_goes_on(stage: Stage) -> None:
    async with Producer(stage.broker, "p") as producer, Caller(stage.broker, producer, "data", "c") as caller:
        with pytest.raises(ValueError, match="no queue name"):
            await producer.push("{q}", *messages("a"))
        with pytest.raises(ValueError, match="no queue name"):
            await caller.call("", request())
        assert not caller
        await producer.push("q", *messages("b"))


# ---- routing slip


async def test_a_message_is_passed_on_and_answered_by_the_last(stage: Stage) -> None:
    async with Producer(stage.broker, "auth") as producer:

        async def admit(batch: Sequence[Message]) -> Sequence[Outcome]:
            await asyncio.gather(
                *(producer.push(message.next, message.forward(user={"id": 7})) for message in batch if message.next)
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
