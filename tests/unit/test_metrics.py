"""Histograms: exact where it matters, close to the truth everywhere, and sums of them are as good."""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Sequence

import pytest

from gorgond.service.metrics import NAME_MAX, OPERATIONS_MAX, OTHER, Histogram, Metrics, Operation, upper_edge


def of(values: Sequence[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def exact(values: Sequence[int], percent: float) -> int:
    """The smallest value that `percent` of the values do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def bucket_of(value: int) -> int:
    [bucket] = of([value]).buckets
    return bucket


def test_each_value_is_in_one_bucket_and_the_buckets_are_in_order() -> None:
    # given all values up to a point, and those around the powers of two after it
    near = [2**power + offset for power in range(10, 60) for offset in (-1, 0, 1)]
    previous = -1
    for value in sorted({*range(5000), *near}):
        bucket = bucket_of(value)
        # then a bucket follows the one before, and its upper edge is not far
        assert bucket >= previous
        assert value <= upper_edge(bucket) <= max(value, value * 17 / 16)
        assert bucket_of(upper_edge(bucket)) == bucket
        assert bucket_of(upper_edge(bucket) + 1) == bucket + 1
        previous = bucket


def test_small_values_are_exact() -> None:
    assert [upper_edge(bucket_of(value)) for value in range(33)] == [*range(32), 33]


def test_negative_values_count_as_zero() -> None:
    histogram = of([-5, 3])
    assert (histogram.count, histogram.total, histogram.percentile(50)) == (2, 3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_exact_to_a_bucket(seed: int) -> None:
    chance = random.Random(seed)
    values = [int(chance.lognormvariate(8, 2)) for _ in range(2000)]
    histogram = of(values)
    for percent in (0.1, 1, 10, 50, 90, 99, 99.9, 100):
        truth = exact(values, percent)
        assert truth <= histogram.percentile(percent) <= max(truth * 17 / 16, truth)
    assert histogram.percentile(100) == histogram.highest == max(values)
    assert (histogram.count, histogram.total) == (2000, sum(values))


def test_an_empty_one_has_no_percentiles() -> None:
    assert Histogram().percentile(50) == 0


def test_a_sum_is_what_one_would_have_been() -> None:
    chance = random.Random(1)
    values = [chance.randrange(10**6) for _ in range(1000)]
    whole, left, right = of(values), of(values[:300]), of(values[300:])
    left.merge(right)
    assert left.snapshot() == whole.snapshot()


def test_a_snapshot_survives_the_wire() -> None:
    histogram = of([1, 5, 5, 100_000])
    again = Histogram.of(json.loads(json.dumps(histogram.snapshot())))
    assert again.snapshot() == histogram.snapshot()
    assert again.percentile(50) == 5


def test_metrics_count_and_measure_by_name() -> None:
    metrics = Metrics()
    metrics.count("a")
    metrics.count("a", 5)
    metrics.measure("op", 1, 0, 10, 0.001_5)
    metrics.measure("op", 2, 1, 20, 0.000_000_4)
    assert metrics.counters == {"a": 6}
    assert metrics.operations()["op"] == {
        "count": 3, "errors": 1, "bytes": 30, "total": 1500, "highest": 1500, "buckets": {"119": 1, "0": 2},
    }  # fmt: skip


def test_an_operation_survives_the_wire_and_adds_up() -> None:
    metrics = Metrics()
    metrics.measure("op", 2, 1, 30, 0.002)
    one = Operation.of(json.loads(json.dumps(metrics.operations()["op"])))
    one.merge(one)
    assert (one.count, one.errors, one.bytes, one.latency.percentile(50)) == (4, 2, 60, 2000)


def test_what_several_threads_measured_is_told_together() -> None:
    metrics = Metrics()
    parts = [metrics, metrics.part(), metrics.part()]

    def measure(part: Metrics) -> None:
        for number in range(5000):
            part.measure("op", 1, 1, 2, number / 1e6)

    threads = [threading.Thread(target=measure, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.operations()
    told = metrics.operations()["op"]
    assert (told["count"], told["errors"], told["bytes"], sum(told["buckets"].values())) == (15000, 15000, 30000, 15000)


def test_whatever_operations_are_called_there_are_not_too_many() -> None:
    metrics = Metrics()
    for number in range(OPERATIONS_MAX + 50):
        metrics.measure(f"op {number}", 1, 0, 0, 0.0)
    metrics.measure("x" * (NAME_MAX + 1), 1, 0, 0, 0.0)
    operations = metrics.operations()
    assert len(operations) == OPERATIONS_MAX + 1
    assert operations[OTHER]["count"] == 51
