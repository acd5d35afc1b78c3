"""Caller; in memory and on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gorgond.redpill import (
    BrokerError,
    BrokerRefused,
    Caller,
    CallFailed,
    Consumer,
    DeadlineExceeded,
    Done,
    GorgonError,
    Hooks,
    Message,
    Outcome,
    Producer,
    QueueFull,
    Reply,
    connect,
)
from gorgond.redpill.memory import MemoryBroker
from tests.conftest import RedisServer
from tests.contract.stage import LATER, OUTAGE, Expect, Handler, Stage, answers, calling, echo, request, running, taken
from tests.waiting import eventually_async


async def test_concurrent_calls_get_each_its_own_answer(stage: Stage) -> None:
    async with calling(stage) as caller:
        requests = [request() for _ in range(500)]
        replies = await asyncio.gather(*(caller.call("q", each) for each in requests))
        assert not caller
    assert all(answers(each.id, reply) for each, reply in zip(requests, replies, strict=True))


async def test_a_caller_that_nobody_waits_for_asks_seldom(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a caller that asks for ever when a call waits, and soon again when none does
    monkeypatch.setattr("gorgond.redpill.call.BLOCK", 600.0)
    turns: list[None] = []
    async with Producer(stage.broker, "p") as producer:
        caller = Caller(stage.broker, producer, "data", "c", hooks=Hooks(beat=lambda: turns.append(None)))
        async with caller:
            # then it turns while none does
            await eventually_async(lambda: len(turns) > 3)


async def test_large_answers_after_small_ones_are_taken_few_at_a_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a caller that has had small answers for a while, and a look at how much it takes at once
    async with calling(stage) as caller:
        for _ in range(20):
            await caller.call("q", request())
        taken: list[list[bytes]] = []
        fetch = caller._link.fetch

        async def noted(*args: Any) -> list[bytes]:
            taken.append(await fetch(*args))
            return taken[-1]

        monkeypatch.setattr(caller._link, "fetch", noted)
        # when many large ones lie there at once
        large = [Reply("nobody", b"x" * 1_000_000).encode()] * 40
        async with stage.link() as link:
            await link.reply(caller.reply_to, large)
        # then it never has more than some of them, and in the end all
        await eventually_async(lambda: caller.unasked == 40)
    assert max(map(len, taken)) <= 5, [len(each) for each in taken]


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


async def test_who_is_told_that_it_is_too_late_and_calls_at_once_is_told_again(stage: Stage) -> None:
    async with calling(stage, None) as caller:
        told: list[Reply | GorgonError] = []

        def again(outcome: Reply | GorgonError) -> None:
            told.append(outcome)
            caller.ask("q", request("second", within=100), told.append)

        # given nobody else who calls
        caller.ask("q", request("first", within=100), again)
        # then the second call ends at its deadline, too
        await eventually_async(lambda: len(told) == 2)
        assert {type(each) for each in told} == {DeadlineExceeded}
        assert not caller


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


async def test_a_flood_of_what_is_no_reply_is_told_once(
    stage: Stage, expected_logs: Expect, caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("a reply on data:c:.* is dropped: not a reply: .*by now")
    async with calling(stage) as caller, stage.link() as link:
        # when a peer sends rubbish again and again
        for _ in range(10):
            await link.reply(caller.reply_to, [b"\xff"] * 100)
        call = request()
        assert answers(call.id, await caller.call("q", call))
        # then calls are answered, and the log has a line of it, not a thousand
        told = [each for each in caplog.messages if "is dropped" in each]
        assert len(told) == 1


async def test_a_cancelled_call_is_forgotten(stage: Stage) -> None:
    async with calling(stage, None) as caller:
        call = caller.call("q", request("a"))
        await taken(caller)
        call.cancel()
        await eventually_async(lambda: not caller)
        async with running(Consumer(stage.broker, "q", "consumer", echo)):
            await eventually_async(lambda: caller.unasked == 1)


async def test_who_is_called_with_a_reply_and_raises_is_alone_with_that(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("somebody could not be told an answer")
    async with calling(stage, None) as caller:
        told: list[Reply | GorgonError] = []

        def fail(_: Reply | GorgonError) -> None:
            raise ZeroDivisionError

        # given one who fails, one who wants it no more, and one who is told
        caller.ask("q", request("same"), fail)
        caller.ask("q", request("same"), fail).forget()
        caller.ask("q", request("same"), told.append)
        caller.ask("q", request("late", within=100), told.append)
        async with stage.link() as link:
            await link.reply(caller.reply_to, [Reply("same", b"1").encode()] * 2)
        # then each is told once, how it ended
        await eventually_async(lambda: len(told) == 2 and caller.unasked == 1)
        assert {type(each) for each in told} == {Reply, DeadlineExceeded}
        assert not caller


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
            call = request(within=5000)
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
