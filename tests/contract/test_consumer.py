"""Consumer: what becomes of the messages that it is handed; in memory and on Redis."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence

import pytest

from gorgond.redpill import (
    DONE,
    Caller,
    CallFailed,
    Consumer,
    Dead,
    Done,
    Hooks,
    Link,
    Message,
    Outcome,
    Producer,
    Retry,
    Unavailable,
    handling,
    now_ms,
)
from gorgond.redpill import call as call_module
from gorgond.redpill import consumer as consumer_module
from gorgond.redpill import outcome as outcome_module
from gorgond.redpill import session as session_module
from gorgond.redpill.broker import BATCH_MAX
from tests.contract.stage import LATER, SOON, Expect, Handler, Stage, calling, messages, request, running
from tests.waiting import eventually_async


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


async def test_where_several_come_at_a_time_none_is_handled_by_itself(stage: Stage) -> None:
    handler = Handler()
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        # given a consumer that waits at its queue, and what came last came one by one
        await stage.push(*messages("a"))
        await stage.done(1)
        # when several come at once, it handles the first when it has it
        await stage.push(*messages("bcd"))
        await stage.done(4)
        # and, since several came, the next ones together
        await stage.push(*messages("efg"))
        await stage.done(7)
        # one by one again: the first is claimed, the next one handled when it is there
        for id in "hi":
            await stage.push(*messages(id))
            await stage.done(" abcdefghi".index(id))
    assert handler.batches == [["a"], ["b"], ["c", "d"], ["e", "f", "g"], ["h"], ["i"]]


async def test_when_the_handler_raises_the_messages_come_again_and_in_the_end_alone(
    stage: Stage, expected_logs: Expect
) -> None:
    expected_logs("handling op failed|gives up 1 message of q: RuntimeError: not this one")

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
    expected_logs("gives up 1 message of q: refused: 404: no a")
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
    expected_logs("gives up 1 message of q: (never|not yet)")
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
    monkeypatch.setattr(session_module, "SILENCE", 0.8)
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
    async with running(Consumer(stage.broker, "q", "consumer", handler)):
        for within in SOON:
            await stage.push(Message("op", deadline=now_ms() + within))
            await stage.settled()
            if handler.batches:
                break
    assert handler.batches
    counts = await stage.counts()
    assert counts.expired == counts.accepted


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
    def half(_: Message) -> Outcome:
        if now_ms() < late + 200:
            raise Unavailable("half of it is done")
        return DONE

    for within in SOON:
        queue, late = f"q{within}", now_ms() + within
        handler = Handler(half)
        old = [Message("op", id="old", deadline=1, attempts=1), Message("op", id="late", deadline=1)]
        await stage.push(Message("op", id="new", deadline=late), *old, queue=queue)
        async with running(Consumer(stage.broker, queue, "consumer", handler, finishes=True)):
            await stage.settled(queue)
        if "new" in handler.ids:
            break

    # then both are, and what was never started is not
    assert set(handler.ids) == {"new", "old"}
    counts = await stage.counts(queue)
    assert (counts.done, counts.expired) == (2, 1)


async def test_large_answers_go_out_in_rounds_and_too_large_ones_not_at_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CLAIM_BYTES", 1000)
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
    expected_logs("gives up 1 message of q: undecodable: ")
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


async def test_a_handler_with_wild_attempts_in_the_message(stage: Stage, expected_logs: Expect) -> None:
    expected_logs("gives up 1 message of q: no")  # it comes again soon
    async with Producer(stage.broker, "p") as producer:
        await producer.push_encoded("q", [b'{"id":"x","op":"op","attempts":1000000}'])
    async with running(Consumer(stage.broker, "q", "consumer", Handler(lambda _: Retry("no")))):

        async def tried_again() -> bool:
            return (await stage.counts()).retried > 0

        await eventually_async(tried_again)
