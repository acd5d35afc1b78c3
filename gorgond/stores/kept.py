"""A document as a database keeps it, with all that no caller sees: what goes over when a store is moved."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple

from gorgond.redpill import canonical


class Tombstone(NamedTuple):
    """The rest of a document that was deleted, as `stores.contract.Write` tells; `at`, in seconds since 1970, is when.
    `known`: there was one."""

    ts: int
    known: bool
    at: float
    first: bytes | None
    marks: tuple[int, ...]


class Kept(NamedTuple):
    """All that is kept under an id: the document, if there is one, with its `id` and `ts`, what it was first written
    with and who changed it (`stores.repeats`); and what a delete has left."""

    id: str
    document: dict[str, Any] | None = None
    first: bytes | None = None
    marks: tuple[int, ...] = ()
    tombstone: Tombstone | None = None

    def digest(self) -> int:
        """The document in 128 bits, with what is kept with it; 0 for none. Raises TypeError, ValueError for one that is
        no JSON."""
        if self.document is None:
            return 0
        said = canonical(self.document) + (self.first or b"") + repr(self.marks).encode()
        return int.from_bytes(sha256(said).digest()[:16])
