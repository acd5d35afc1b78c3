"""The broker's time: what a process makes of what the broker says, and what happens when the broker's clock is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gorgond.redpill import BrokerTime, clock, connect, follow, judged_ms, now_ms
from tests.conftest import RedisServer

S = 1_000_000_000  # ns
NOON = 1_700_000_000 * S  # the broker's clock when the monotonic one is 0
HOUR = 3600 * S
QUICK = 1_000_000  # ns that a round takes


@pytest.fixture
def time() -> BrokerTime:
    """That of a broker that was heard at the second 100 of the monotonic clock."""
    time = BrokerTime()
    says(time, 100)
    return time


@pytest.fixture
def followed() -> Iterator[None]:
    """What is followed in a test is not in the next one."""
    before = clock._followed
    yield
    follow(before)


def says(time: BrokerTime, second: float, set: int = 0, took: int = QUICK) -> None:
    """The broker, whose clock was set forward by so many ns, says what it is at this second of the monotonic clock, in
    the middle of a round."""
    at = int(second * S)
    time.heard(NOON + set + at, at - took // 2, at + took // 2)


def test_half_the_round_trip_is_taken_off(time: BrokerTime) -> None:
    assert time.told == time.base == time.lenient == NOON
    # when an answer was long under way, the broker's word is no less right for that, but not known better
    time.heard(NOON + 200 * S, 196 * S, 201 * S)
    assert (time.told, time.error) == (NOON, QUICK // 2)


def test_a_slow_round_is_mended_by_a_quick_one() -> None:
    time = BrokerTime()
    time.heard(NOON + 14 * S, 10 * S, 14 * S)  # given four seconds, of which the answer took all
    assert (time.told, time.error) == (NOON + 2 * S, 2 * S)
    says(time, 20)
    assert (time.told, time.error, time.base, time.lenient) == (NOON, QUICK // 2, NOON, NOON)


def test_a_clock_that_goes_wrong_slowly_is_followed_at_once(time: BrokerTime) -> None:
    for step in range(1, 20):
        says(time, 100 + step, step * S // 10)
        assert time.base == time.lenient == NOON + step * S // 10


@pytest.mark.parametrize("by", [15 * S, -15 * S, HOUR, -HOUR])
def test_when_the_brokers_clock_is_set_nobody_drops_what_another_one_has_just_written(
    time: BrokerTime, by: int
) -> None:
    """Two processes, of which the other one hears of it two seconds later; at each moment each judges what both write,
    with a deadline of ten seconds that was written up to nine ago."""
    other = BrokerTime()
    says(other, 100)
    written: list[tuple[int, int]] = []  # when, by the monotonic clock; which deadline
    for second in range(101, 300):
        for process, hears in ((time, 110), (other, 112)):
            says(process, second + 0.5, by if second >= hears else 0)
        now = second * S + S // 2
        written += [(now, process.base + now + 10 * S) for process in (time, other) if process.base is not None]
        for at, deadline in written:
            for judge in (time, other):
                if now - at <= 9 * S:
                    assert deadline > judge.lenient + now, f"written {(now - at) / S} s before {second}"
    # and in the end both have the new time, and drop what is late by it
    assert time.base == time.lenient == other.base == other.lenient == NOON + by


def test_a_clock_that_is_set_twice_is_followed_in_the_end(time: BrokerTime) -> None:
    says(time, 101, HOUR)
    says(time, 102, -HOUR)
    assert (time.told, time.base, time.lenient) == (NOON - HOUR, NOON, NOON - HOUR)
    says(time, 106, -HOUR)
    assert (time.base, time.lenient) == (NOON - HOUR, NOON - HOUR)


@pytest.mark.usefixtures("followed")
def test_a_process_takes_the_time_of_the_broker_that_it_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 5 * S)
    monkeypatch.setattr("time.monotonic_ns", lambda: 200 * S)
    time = BrokerTime()
    follow(time)
    assert now_ms() == judged_ms() == 5000  # its own, as long as that is not known
    says(time, 100)
    assert now_ms() == judged_ms() == (NOON + 200 * S) // 1_000_000
    says(time, 101, HOUR)
    says(time, 105, HOUR)
    assert (now_ms(), judged_ms()) == ((NOON + HOUR + 200 * S) // 1_000_000, (NOON + 200 * S) // 1_000_000)


async def test_a_connection_is_enough_to_know_it(redis_server: RedisServer) -> None:
    broker = connect(redis_server.url, durable=False)
    assert broker.time.told is None
    link = broker.link("test")
    await link.ping()
    assert broker.time.told is not None
    assert broker.time.error < S
    await link.close()
