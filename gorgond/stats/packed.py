"""An operation's figures of a period that is over, in as few bytes as are useful: history keeps a hundred thousand."""

from __future__ import annotations

import struct

from gorgond.service.metrics import Operation

_HEAD = struct.Struct("<QQQQQH")  # count, errors, bytes, total, highest, number of buckets
_MOST = 2**32 - 1  # in one bucket


def pack(operation: Operation) -> bytes:
    """The operation as bytes."""
    latency = operation.latency
    buckets = sorted(latency.buckets.items())
    head = _HEAD.pack(
        latency.count, operation.errors, operation.bytes, latency.total, latency.highest, len(buckets)
    )  # fmt: skip
    counts = [min(count, _MOST) for _, count in buckets]
    return head + struct.pack(f"<{len(buckets)}H{len(buckets)}I", *[bucket for bucket, _ in buckets], *counts)


def add(operation: Operation, packed: bytes) -> None:
    """Add what was packed to an operation. Raises struct.error for what was not made by `pack`."""
    count, errors, size, total, highest, number = _HEAD.unpack_from(packed)
    values = struct.unpack_from(f"<{number}H{number}I", packed, _HEAD.size)
    latency = operation.latency
    buckets = latency.buckets
    for bucket, times in zip(values[:number], values[number:], strict=True):
        buckets[bucket] = buckets.get(bucket, 0) + times
    latency.count += count
    latency.total += total
    if highest > latency.highest:
        latency.highest = highest
    operation.errors += errors
    operation.bytes += size


def unpack(packed: bytes) -> Operation:
    """The operation that was packed. Raises struct.error for what was not made by `pack`."""
    operation = Operation()
    add(operation, packed)
    return operation
