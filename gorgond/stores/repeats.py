"""How a write that comes again is told from another one: what a document was first written with, and who changed it.

A driver keeps two things with a document, where nobody sees them: the fingerprint of its first content, as long as it
lives, and the marks of the last MARKS_MAX messages that changed it. A message that comes again after more changes than
that is taken for a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from gorgond.errors import StoreRefused
from gorgond.redpill import INT_MAX
from gorgond.stores.contract import Write, canonical_of

MARKS_MAX = 64


def fingerprint(write: Write) -> bytes:
    """Of what the writer said; its id is compared anyway."""
    return _digest(write.content_bytes())


def same_content(write: Write, stored: Mapping[str, Any]) -> bool:
    """Whether an insert says what is stored, where no fingerprint was kept: in a document of an older version."""
    try:
        return fingerprint(write) == _digest(canonical_of(stored, stored.get("ts") if write.dated else None))
    except (TypeError, ValueError):  # somebody else put it there, with what is no JSON
        return False


def _digest(said: bytes) -> bytes:
    return sha256(said).digest()[:16]


def mark(write: Write) -> int | None:
    """The mark by which the write's message is known, in 64 bits; None if it has none. A dated insert needs none: it is
    known by its content, and its `ts` is older than that of a delete."""
    if not write.by or (write.dated and write.kind == "insert"):
        return None
    return int.from_bytes(sha256(write.by.encode()).digest()[:8], signed=True)


def append_marks(marks: Iterable[int], *more: int | None) -> list[int]:
    """The marks with `more` at their end: the last ones."""
    return [*marks, *(each for each in more if each is not None)][-MARKS_MAX:]


def newest(write: Write, ts: int) -> int:
    """The `ts` of a write that comes after one of `ts`. Raises StoreRefused when none is left."""
    if write.dated:
        return write.ts
    if ts >= INT_MAX:
        raise StoreRefused(f"ts: there is none after {INT_MAX}, which is stored; a change with that ts can follow", 409)
    return max(write.ts, ts + 1)
