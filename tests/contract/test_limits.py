"""How many messages of a queue are under way at the same time, and how many are begun within a time; in memory and on
Redis."""

from __future__ import annotations

import asyncio
import functools

import pytest

from gorgond.redpill import AtOnce, Entry, Within, now_ms
from gorgond.redpill.broker import Failure, Link
from tests.contract.bench import Bench, ids, raw, raws
from tests.waiting import eventually_async

TWO, ONE = AtOnce("all", 2), AtOnce("shop 5", 1)


class Gate:
    """Where messages of queue q ask whether they may be begun."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.number = 0

    @functools.cached_property
    def link(self) -> Link:
        return self._bench.link()

    async def enter(self, id: str, *limits: AtOnce | Within, attempts: int = 0, seconds: float = 60) -> int:
        """0: it may; or when it is to come again."""
        self.number += 1
        return await self.link.enter("q", "asker", self.number, entry(id, *limits, attempts=attempts, seconds=seconds))

    async def exit(self, id: str, *limits: AtOnce | Within, number: int = 0) -> None:
        await self.link.exit("q", "asker", number, entry(id, *limits))


def entry(id: str, *limits: AtOnce | Within, attempts: int = 0, seconds: float = 60) -> Entry:
    at_once = [each for each in limits if isinstance(each, AtOnce)]
    return Entry(id, attempts, seconds, at_once, [each for each in limits if isinstance(each, Within)])


def waiting(index: int, id: str, at: int) -> Failure:
    return Failure(index, 0.0, "it waits", False, id, at)


@pytest.fixture
def gate(bench: Bench) -> Gate:
    return Gate(bench)


async def test_no_more_than_so_many_are_under_way_and_others_pass(gate: Gate) -> None:
    assert [await gate.enter(id, TWO) for id in "ab"] == [0, 0]
    assert await gate.enter("c", TWO) > now_ms() + 50_000
    # then those that are bound otherwise pass, and so do those that have a slot when they ask again
    assert [await gate.enter("d", ONE), await gate.enter("e"), await gate.enter("a", TWO, attempts=1)] == [0, 0, 0]
    assert await gate.enter("f", ONE, TWO) > 0


async def test_who_waits_comes_next_when_a_slot_is_free_in_their_order(bench: Bench, gate: Gate) -> None:
    # given a and b under way, and c, d, e that wait
    await bench.push(*raws("abcde"))
    consumer = await bench.consumer()
    await consumer.claim(want=5)
    due = [await gate.enter(id, TWO) for id in "abcde"]
    assert (due[:2], due == sorted(due)) == ([0, 0], True)
    await consumer.claim(0, 0, later=[2, 3, 4], failures=[waiting(n, "abcde"[n], due[n]) for n in (2, 3, 4)], held=2)
    assert await bench.places() == (0, 2, 3, 0)
    # when both are over, one of them twice
    await gate.exit("a", TWO, number=1)
    await gate.exit("a", TWO, number=1)
    assert await bench.places() == (1, 2, 2, 0)
    await gate.exit("b", TWO, number=2)
    # then c and d come, as they were, and have their slots; who comes anew stands behind
    assert await gate.enter("f", TWO) > 0
    found = await consumer.claim(2, 5)
    assert (sorted(ids(found)), found) == (["c", "d"], [raw("d"), raw("c")])
    assert [await gate.enter(id, TWO) for id in "cd"] == [0, 0]
    assert (await bench.link().counts(["q"]))[0].retried == 0


async def test_one_that_is_called_before_it_is_put_off_comes_at_once(bench: Bench, gate: Gate) -> None:
    await bench.push(*raws("ab"))
    consumer = await bench.consumer()
    await consumer.claim(want=2)
    assert await gate.enter("a", ONE) == 0
    due = await gate.enter("b", ONE)
    # when a is over while b lies on the desk yet
    await gate.exit("a", ONE, number=1)
    # then it has its slot, and is not put off
    assert await consumer.claim(2, 5, failures=[waiting(1, "b", due)]) == [raw("b")]
    assert await gate.enter("b", ONE) == 0


async def test_a_slot_is_its_messages_until_that_is_over(gate: Gate) -> None:
    # given one whose consumer is taken for dead, and that another one began
    assert [await gate.enter("a", ONE), await gate.enter("a", ONE, attempts=2)] == [0, 0]
    # when the first one comes to its end
    await gate.exit("a", ONE, number=1)
    # then it has the slot still
    assert await gate.enter("b", ONE) > 0
    await gate.exit("a", ONE, number=2)
    assert await gate.enter("c", ONE) > 0  # b was called
    # and a call that is answered twice, or comes late, takes none
    await gate.exit("b", ONE)
    assert await gate.link.enter("q", "asker", 1, entry("a", ONE)) > 0
    assert await gate.enter("b", ONE) == 0


async def test_a_slot_of_one_that_is_never_over_is_free_in_time(gate: Gate) -> None:
    assert await gate.enter("a", ONE, seconds=0.02) == 0

    async def free() -> bool:
        return await gate.enter("b", ONE) == 0

    await eventually_async(free)


async def test_two_that_need_two_slots_do_not_wait_for_each_other(gate: Gate) -> None:
    # given a, which has a slot of its shop and one of all, and b, of the same shop, which waits for it
    every = AtOnce("all", 1)
    assert await gate.enter("a", ONE, every) == 0
    assert await gate.enter("b", ONE, every) > 0
    # and c of another shop, which waits for one of all, and keeps that of its shop
    other = AtOnce("shop 6", 1)
    assert await gate.enter("c", other, every) > 0
    assert await gate.enter("d", other) > 0
    # when a is over
    await gate.exit("a", ONE, every, number=1)
    # then both were called: c begins, b has its shop's alone until that is over
    assert await gate.enter("b", ONE, every) > 0
    assert await gate.enter("c", other, every) == 0
    await gate.exit("c", other, every, number=gate.number)
    assert await gate.enter("b", ONE, every) == 0


async def test_no_more_than_so_many_are_begun_within_a_time(gate: Gate) -> None:
    few = Within("all", 3, 0.3)
    begun: dict[str, int] = {}
    first = await gate.link.clock()
    due = dict.fromkeys("abcdefgh", 0)
    for id in due:
        due[id] = await gate.enter(id, few)
    asked = await gate.link.clock()
    # then each that must wait has its time, in their order
    later = [at for at in due.values() if at]
    assert (list(due.values())[:3], later == sorted(later)) == ([0, 0, 0], True)
    assert later[-1] <= asked + 601
    # when each comes at its time, or late
    waits = {id: at for id, at in due.items() if at}
    while waits:
        id = min(waits, key=waits.__getitem__)
        if waits[id] > await gate.link.clock():
            await asyncio.sleep(0.005)
        elif at := await gate.enter(id, few):
            waits[id] = at
        else:
            del waits[id]
            begun[id] = await gate.link.clock()
    # then the seventh was not begun within two such times
    assert sorted(begun) == list("defgh")
    assert sorted(begun.values())[-2] >= first + 600


async def test_each_start_counts_and_a_late_one_does_not_go_beyond(gate: Gate) -> None:
    hourly = Within("all", 2, 3600)
    # given two that were begun, one of them for the second time
    assert [await gate.enter("a", hourly), await gate.enter("a", hourly, attempts=2)] == [0, 0]
    # then no third one is within the hour, also one that asks again and again, and each has its own time
    first = await gate.enter("b", hourly)
    assert first - await gate.link.clock() > 3_590_000
    assert abs(await gate.enter("b", hourly) - first) < 5_000
    third, fourth = await gate.enter("c", hourly), await gate.enter("d", hourly)
    assert fourth - first > 3_500_000
    assert third <= fourth


async def test_who_waits_for_the_time_keeps_no_slot(gate: Gate) -> None:
    hourly = Within("shop 5", 1, 3600)
    assert await gate.enter("a", ONE, hourly) == 0
    await gate.exit("a", ONE, hourly, number=1)
    assert await gate.enter("b", ONE, hourly) > 0
    assert await gate.enter("c", ONE) == 0
