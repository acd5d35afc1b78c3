"""The contract of `Broker` and `Link`: what becomes of a desk when its consumer dies, leaves or is replaced."""

from __future__ import annotations

import pytest

from gorgond.redpill.broker import Voided
from gorgond.redpill.errors import Superseded
from gorgond.redpill.message import Message
from tests.contract.bench import Bench, ids, raw, raws
from tests.contract.puppet import Puppet
from tests.waiting import eventually_async


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

    found = await eventually_async(lambda: bench.link().recover("q", 0.5))

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
        return await lively.link.recover("q", 2.0)  # on a busy machine it may come late after its sign of life

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
