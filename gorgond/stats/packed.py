"""An operation's figures of a period that is over, in as few bytes as are useful: history keeps a hundred thousand.

A head, then for each bucket its distance from the one before, then for each its count, in bytes where that is enough.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

from gorgond.service.metrics import Operation

_HEAD = struct.Struct("<QQQQQHcc")  # count, errors, bytes, total, highest, number of buckets, the kinds of what follows
_KINDS = ((2**8, "B"), (2**16, "H"), (2**32, "I"))


def pack(operation: Operation) -> bytes:
    """The operation as bytes."""
    latency = operation.latency
    buckets = sorted(latency.buckets)
    gaps = [after - before for before, after in pairwise((0, *buckets))]
    counts = [latency.buckets[bucket] for bucket in buckets]
    gap, count = _kind(gaps), _kind(counts)
    head = _HEAD.pack(
        latency.count, operation.errors, operation.bytes, latency.total, latency.highest,
        len(buckets), gap.encode(), count.encode(),
    )  # fmt: skip
    return head + struct.pack(f"<{len(buckets)}{gap}{len(buckets)}{count}", *gaps, *counts)


def _kind(numbers: Sequence[int]) -> str:
    most = max(numbers, default=0)
    return next((kind for limit, kind in _KINDS if most < limit), "Q")


def add(operation: Operation, packed: bytes) -> None:
    """Add what was packed to an operation. Raises struct.error or ValueError for what was not made by `pack`."""
    count, errors, size, total, highest, number, gap, times = _HEAD.unpack_from(packed)
    values = struct.unpack_from(f"<{number}{gap.decode()}{number}{times.decode()}", packed, _HEAD.size)
    latency = operation.latency
    buckets = latency.buckets
    for bucket, more in zip(accumulate(values[:number]), values[number:], strict=True):
        buckets[bucket] = buckets.get(bucket, 0) + more
    latency.count += count
    latency.total += total
    if highest > latency.highest:
        latency.highest = highest
    operation.errors += errors
    operation.bytes += size


def unpack(packed: bytes) -> Operation:
    """The operation that was packed. Raises struct.error or ValueError for what was not made by `pack`."""
    operation = Operation()
    add(operation, packed)
    return operation
