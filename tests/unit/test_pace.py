"""Pace, with a clock that the test moves."""

from __future__ import annotations

from gorgond.providers.pace import Pace


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_does_not_drift() -> None:
    # given a rate that does not fit the steps in which it is asked
    clock = Clock()
    pace = Pace(333, clock)
    # when ten seconds pass
    done = 0
    for _ in range(1000):
        clock.now += 0.01
        done += pace.due(100)
    # then nothing was rounded away
    assert done in (3329, 3330)


def test_what_was_not_taken_is_due_later() -> None:
    clock = Clock()
    pace = Pace(100, clock)
    clock.now += 0.5
    assert [pace.due(20), pace.due(20), pace.due(20)] == [20, 20, 10]


def test_a_long_standstill_is_not_made_up_for() -> None:
    # given a pace that stood still for an hour
    clock = Clock()
    pace = Pace(100, clock)
    clock.now += 3600
    # then a second's worth is due, and the rate from then on
    assert pace.due(10**9) == 100
    assert pace.due(10**9) == 0
    clock.now += 1
    assert pace.due(10**9) == 100


def test_a_slow_rate_is_not_lost() -> None:
    # given one in ten minutes; when that time has passed, it is due
    clock = Clock()
    pace = Pace(1 / 600, clock)
    clock.now += 599
    assert (pace.due(5), round(pace.wait(), 3)) == (0, 1)
    clock.now += 1.001
    assert (pace.due(5), pace.due(5)) == (1, 0)
