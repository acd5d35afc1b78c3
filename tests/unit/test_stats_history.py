"""History: nothing is lost or counted twice on the way from seconds to years, in bounded memory, through restarts."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Sequence

import pytest

from gorgond.service.metrics import OTHER, Operation
from gorgond.stats.heat import EDGES, heat
from gorgond.stats.history import LATE, SERIES_MAX, History
from gorgond.stats.packed import pack, unpack
from gorgond.stats.picture import row, spans_of, sum_rows
from gorgond.stats.spans import SPANS, columns

BEGIN = 1_700_000_000 // 86400 * 86400  # a midnight


def of(values: Sequence[int], errors: int = 0) -> Operation:
    operation = Operation()
    for value in values:
        operation.latency.record(value)
    operation.errors, operation.bytes = errors, 10 * len(values)
    return operation


def filled(seconds: Iterable[int], values: Sequence[int] = (1000,), series: str = "web") -> History:
    """A history that listened from the first of these seconds on to a while after the last, with the values in each."""
    seconds = list(seconds)
    history = History(seconds[0])
    for at in seconds:
        history.advance(at)
        history.add(series, at, of(values))
    history.advance(seconds[-1] + LATE + 1)
    return history


def total(history: History, index: int, count: int, now: int, series: str = "web") -> Operation:
    sum = Operation()
    for _, _, operation in history.rows(series, index, count, now):
        sum.merge(operation)
    return sum


def wire(documents: object) -> list[dict[str, object]]:
    """Documents as they come back from a store."""
    found: list[dict[str, object]] = json.loads(json.dumps(documents))
    return found


def test_what_is_packed_comes_out_as_it_was() -> None:
    operation = of([0, 5, 5, 123_456, 2**40], errors=2)
    assert unpack(pack(operation)).snapshot() == operation.snapshot()
    assert unpack(pack(Operation())).snapshot() == Operation().snapshot()


def test_24_hours_second_by_second() -> None:
    # given a clock that runs through a day, with requests every five seconds, one of them slow in each hour
    history = History(BEGIN)
    fast, slow = of([900, 1000, 1100]), of([2_000_000])
    for at in range(BEGIN, BEGIN + 86400):
        history.advance(at)
        if at % 5 == 0:
            history.add("web", at, fast)
        if at % 3600 == 1800:
            history.add("web", at, slow)
    now = BEGIN + 86400
    history.advance(now + LATE)
    # then the last hour is there by the second, the day by the minute, all of it by the hour and the day
    assert [len(tier.periods) for tier in history.tiers] == [3600, 1440, 24, 1]
    assert all(period.covered == tier.step for tier in history.tiers for period in tier.periods.values())
    day = total(history, 3, 2, now + LATE)
    assert day.count == 3 * 86400 // 5 + 24 == total(history, 2, 25, now + LATE).count
    assert day.bytes == 10 * day.count
    # and its percentiles are those of all requests, not of percentiles
    assert day.latency.percentile(50) == pytest.approx(1000, rel=0.07)
    assert day.latency.percentile(99.9) == pytest.approx(1100, rel=0.07)
    assert day.latency.highest == 2_000_000
    # and each hour's outlier is seen in the heat map of the day
    columns = heat(history, "web", "day", now)["columns"]
    step = next(index for index, edge in enumerate(EDGES) if edge >= 2_000_000)
    assert sum(column["counts"][step] for column in columns) == 24
    # (whose first quarter of an hour has made room for the one that begins)
    assert sum(sum(column["counts"]) for column in columns) == day.count - 3 * 900 // 5


def test_percentiles_of_a_longer_time_come_from_all_its_values() -> None:
    # given seconds of which each has other latencies
    chance = random.Random(1)
    history, everything = History(BEGIN), Operation()
    for at in range(BEGIN, BEGIN + 60):
        values = [int(chance.lognormvariate(8, 2)) for _ in range(chance.randrange(50))]
        history.add("web", at, of(values))
        everything.merge(of(values))
        history.advance(at)
    # then the minute is what one histogram of all would be, while it goes on and when it is over
    for now in (BEGIN + 60, BEGIN + 60 + LATE):
        history.advance(now)
        minute = spans_of(history, now)["hour"]
        assert {key: minute[key] for key in ("count", "p50", "p95", "p99", "max")} == {
            "count": everything.count,
            "p50": everything.latency.percentile(50),
            "p95": everything.latency.percentile(95),
            "p99": everything.latency.percentile(99),
            "max": everything.latency.highest,
        }


def test_the_last_seconds_are_told_before_they_are_closed() -> None:
    history = History(BEGIN)
    for at in range(BEGIN, BEGIN + 7):
        history.advance(at)
        history.add("web", at, of([at - BEGIN]))
    spans = spans_of(history, BEGIN + 7)
    assert [(second["at"], second["max"]) for second in spans["second"]] == [
        ((BEGIN + number) * 1000, number) for number in range(2, 7)
    ]
    assert spans["minute"]["count"] == spans["hour"]["count"] == spans["day"]["count"] == 7
    # what comes late is counted in its second as long as that is open
    history.add("web", BEGIN + 4, of([50]))
    assert next(s for s in spans_of(history, BEGIN + 7)["second"] if s["at"] == (BEGIN + 4) * 1000)["count"] == 2
    # and later in the first that is
    history.add("web", BEGIN - 1000, of([60]))
    assert spans_of(history, BEGIN + 7)["minute"]["count"] == 9


def test_a_restart_loses_nothing_that_was_saved() -> None:
    # given a history of two hours and some minutes, saved each minute
    seconds = range(BEGIN, BEGIN + 2 * 3600 + 150)
    history, saved = History(BEGIN), dict[str, dict[str, object]]()
    for at in seconds:
        history.advance(at)
        history.add("web", at, of([1000]))
        if at % 60 == 7:
            saved |= {str(each["id"]): each for each in wire(history.unsaved())}
    now = seconds[-1] + 1
    # when another process takes over from what was saved
    successor = History(now)
    successor.restore(saved.values(), now)
    # then it lacks less than a minute
    assert total(history, 2, 4, now).count == len(seconds)
    assert 0 <= len(seconds) - total(successor, 2, 4, now).count < 60
    assert total(successor, 0, 3600, now).count >= 3600 - 60
    # and what it closes later counts each second once
    for at in range(now, now + 3600):
        successor.advance(at)
        successor.add("web", at, of([1000]))
    assert 0 <= len(seconds) + 3600 - total(successor, 2, 5, now + 3600).count < 60


def test_an_end_in_good_order_loses_nothing() -> None:
    history = filled(range(BEGIN, BEGIN + 100))
    history.add("web", BEGIN + 104, of([1000]))
    history.finish()
    successor = History(BEGIN + 110)
    successor.restore(wire(history.unsaved()), BEGIN + 110)
    assert total(successor, 1, 5, BEGIN + 110).count == 101
    assert total(successor, 0, 120, BEGIN + 110).count == 101


def test_several_servers_agree() -> None:
    # given two that hear the same, one of them later
    first, second = History(BEGIN), History(BEGIN + 30)
    for at in range(BEGIN, BEGIN + 200):
        for history in (first, second) if at >= BEGIN + 30 else (first,):
            history.advance(at)
            history.add("web", at, of([at % 7]))
    one, other = ({str(d["id"]): d for d in history.unsaved()} for history in (first, second))
    # then they give the same documents the same names and contents
    assert set(one) == set(other)
    minute = BEGIN // 60 % 1440
    same = [id for id in one if one[id] == other[id]]
    assert f"minute-{minute + 1}" in same
    assert f"minute-{minute}" not in same
    # and the one that knows more of the first minute is the newer, so that the store keeps it
    assert one[f"minute-{minute}"]["ts"] > other[f"minute-{minute}"]["ts"]
    # and who knows less takes it over, who knows more does not
    second.restore(wire(list(one.values())), BEGIN + 200)
    first.restore(wire(list(other.values())), BEGIN + 200)
    rows = [[row(*each) for each in history.rows("web", 1, 5, BEGIN + 200)] for history in (first, second)]
    assert rows[0] == rows[1]


def test_the_documents_of_a_year_have_no_more_names_than_that() -> None:
    ids = set(History(BEGIN).ids())
    assert len(ids) == 60 + 1440 + 744 + 366
    history = filled(range(BEGIN, BEGIN + 3700))
    assert {document["id"] for document in history.unsaved()} <= ids


def test_what_is_no_document_is_left_out(expected_logs: object) -> None:
    assert callable(expected_logs)
    expected_logs("what was saved as second-1 of stats is not understood")
    history = History(BEGIN)
    history.restore([{"id": "second-1", "tier": "second", "ts": 1, "data": "?"}], BEGIN)
    assert history.series == []


def test_a_clock_that_is_set_begins_anew() -> None:
    for jump in (-5 * 86400, 5 * 86400):
        history = filled(range(BEGIN, BEGIN + 100))
        now = BEGIN + jump
        history.advance(now)
        history.add("web", now, of([1]))
        history.advance(now + LATE + 1)
        assert spans_of(history, now + LATE + 1)["minute"]["count"] == 1


def test_a_clock_that_is_set_back_does_not_stop_the_history() -> None:
    # given a clock that was half an hour ahead, and is set right
    history = filled(range(BEGIN + 1800, BEGIN + 1900))
    for at in range(BEGIN, BEGIN + 130):
        history.add("web", at, of([1]))
        history.advance(at + 1)
    # then what happens counts when it happens, and not half an hour later
    assert total(history, 1, 2, BEGIN + 130).count == 70
    assert [each.count for _, _, each in history.rows("web", 0, 3, BEGIN + 130)] == [1, 1, 1]


def test_a_clock_that_is_a_little_off_loses_nothing() -> None:
    history = filled(range(BEGIN, BEGIN + 100))
    for at in range(BEGIN + 90, BEGIN + 120):
        history.advance(at)
        history.add("web", at, of([1]))
    assert total(history, 1, 3, BEGIN + 120).count == 130


def test_time_without_anything_has_columns_too() -> None:
    history = filled([BEGIN])
    history.advance(BEGIN + 7200)
    for span, (_, count, each) in SPANS.items():
        found = list(columns(history, "web", span, BEGIN + 7200))
        assert len(found) == count // each
        assert found == sorted(found, key=lambda column: column[0])
    assert sum_rows(history.rows("web", 2, 24, BEGIN + 7200))["count"] == 1


def test_whatever_the_series_are_called_the_memory_is_bounded() -> None:
    # given more series than are told apart, each with latencies all over the place in each second
    chance = random.Random(2)
    histograms = [of([int(chance.lognormvariate(8, 1.5)) for _ in range(200)]) for _ in range(20)]
    history = History(BEGIN)
    for number in range(SERIES_MAX + 20):
        history.add(f"role operation {number}", BEGIN, chance.choice(histograms))
    history.advance(BEGIN + LATE + 1)
    assert len(history.series) == SERIES_MAX + 1
    assert OTHER in history.series
    # then all seconds, minutes, hours and days that are kept take less than this
    period = history.tiers[0].periods[BEGIN].series
    used = sys.getsizeof(period) + sum(sys.getsizeof(packed) for packed in period.values())
    assert used * sum(tier.kept for tier in history.tiers) < 200e6


def test_the_last_second_of_a_predecessor_may_be_the_first_of_its_successor() -> None:
    # given a stats server that ends in the second in which another one begins
    history = History(BEGIN)
    history.add("web", BEGIN + 5, of([1000] * 7))
    history.finish()
    successor = History(BEGIN + 5)
    successor.add("store", BEGIN + 5, of([10]))
    # when the successor takes its history over
    successor.restore(wire(history.unsaved()), BEGIN + 5)
    # then nothing of that second is lost, neither while it is open nor when it is closed
    for now in (BEGIN + 6, BEGIN + 60):
        successor.advance(now)
        assert [total(successor, 1, 2, now, name).count for name in ("web", "store")] == [7, 1]
