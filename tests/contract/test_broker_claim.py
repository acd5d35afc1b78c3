"""The contract of `Broker` and `Link`: claims and failures; in memory and on Redis."""

from __future__ import annotations

import pytest

from gorgond.redpill.broker import TOUCH, Claim, Failure, Voided
from gorgond.redpill.clock import now_ms
from tests.contract.bench import GARBAGE, Bench, ids, raw, raws
from tests.waiting import eventually_async

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


async def test_an_empty_message_is_one(bench: Bench) -> None:
    # given a queue in which nothing but it lies
    consumer = await bench.consumer()
    await bench.push(b"")
    # then it is handed out as any other
    assert await consumer.claim(want=5) == [b""]


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
