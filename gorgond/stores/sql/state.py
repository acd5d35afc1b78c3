"""What a write makes of what is stored under its id: one function without a database, the same for all of SQL's.

A driver reads the state of an id and locks it, asks `after`, and stores what that says. So the rules of
`contract.Write` stand here once, and a dialect cannot have its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gorgond.errors import StoreRefused
from gorgond.redpill import dumps, loads
from gorgond.stores.contract import Write, Written
from gorgond.stores.filters import DOCUMENT_BYTES
from gorgond.stores.ownership import barred
from gorgond.stores.repeats import append_marks, fingerprint, mark, newest, same_content


class Stored:
    """A document as it is stored: its JSON, its `ts`, and what `stores.repeats` keeps with it. To be treated as a
    value."""

    __slots__ = ("_document", "first", "json", "marks", "ts")

    def __init__(
        self,
        ts: int,
        json: bytes,
        first: bytes | None,
        marks: Sequence[int],
        document: Mapping[str, Any] | None = None,
    ) -> None:
        self.ts = ts
        self.json = json
        self.first = first
        self.marks = marks
        self._document = document

    @property
    def document(self) -> Mapping[str, Any]:
        """The document itself, with its id and `ts`."""
        if self._document is None:
            self._document = loads(self.json)
        return self._document


class Tombstone(NamedTuple):
    """The rest of a document that was deleted; of one that was never there, too, if somebody deleted it. It outlives
    that a document is made again."""

    ts: int = -1
    known: bool = False  # whether there was a document
    first: bytes | None = None
    marks: Sequence[int] = ()


class State(NamedTuple):
    """All there is under an id."""

    stored: Stored | None = None
    tombstone: Tombstone = Tombstone()


NOTHING = State()


def after(state: State, write: Write) -> tuple[State, Written]:
    """What a checked write leaves, and its outcome; `state` itself where it changes nothing. Raises StoreRefused."""
    if write.kind == "insert":
        return _insert(state, write)
    if state.stored is not None and write.asker is not None and (met := barred(state.stored.document, write)):
        return state, met
    if write.kind == "delete":
        return _delete(state, write)
    return _change(state, write)


def _insert(state: State, write: Write) -> tuple[State, Written]:
    stored, tombstone = state
    first, own = fingerprint(write), mark(write)
    if write.dated and tombstone.ts > write.ts:
        return state, Written("deleted" if first == tombstone.first else "stale", tombstone.ts)
    if stored is None:
        if own in tombstone.marks:
            return state, Written("deleted", tombstone.ts)
        return _made(state, write, write.document)
    if write.asker is not None and (met := barred(stored.document, write)):
        return state, met
    if stored.first == first if stored.first is not None else same_content(write, stored.document):
        if own is not None and own not in stored.marks:
            marks = append_marks(stored.marks, own)
            state = state._replace(stored=Stored(stored.ts, stored.json, stored.first, marks, stored.document))
        return state, Written("exists", stored.ts, again=True)
    return state, Written("deleted" if own in tombstone.marks else "conflict", stored.ts)


def _change(state: State, write: Write) -> tuple[State, Written]:
    """Replace or patch."""
    stored, tombstone = state
    own = mark(write)
    if stored is not None and own in stored.marks:
        return state, Written("stored", stored.ts, again=True)
    if own in tombstone.marks:
        return state, Written("deleted", tombstone.ts)
    if write.dated and tombstone.ts > write.ts:
        return state, Written("stale", tombstone.ts)
    if stored is None:
        if write.kind == "patch":
            return state, Written("missing", write.ts)
        return _made(state, write, write.document)
    if (write.dated and stored.ts > write.ts) or write.unchanged not in (None, stored.ts):
        return state, Written("stale", stored.ts)
    document, first = write.document, stored.first
    if write.kind == "patch":
        removed = {key for key, value in document.items() if value is None}
        document = {key: value for key, value in {**stored.document, **document}.items() if key not in removed}
    elif first is None:
        first = fingerprint(write)
    made = _stored(write, newest(write, stored.ts), document, first, append_marks(stored.marks, own))
    return state._replace(stored=made), Written("stored", made.ts)


def _delete(state: State, write: Write) -> tuple[State, Written]:
    stored, tombstone = state
    own = mark(write)
    if own in tombstone.marks and (stored is None or own in stored.marks):
        return state, Written("deleted" if tombstone.known else "missing", tombstone.ts)
    if stored is not None and write.dated and stored.ts > write.ts:
        return state, Written("stale", stored.ts)
    ts = newest(write, tombstone.ts - 1 if stored is None else stored.ts)
    known = stored is not None or tombstone.known
    first = (stored.first if stored is not None else None) or tombstone.first
    marks = append_marks((stored or tombstone).marks, own)
    buried = Tombstone(max(ts, tombstone.ts), known, first, marks)
    return State(None, buried), Written("deleted" if known else "missing", ts)


def _made(state: State, write: Write, document: Mapping[str, Any]) -> tuple[State, Written]:
    """A new document. One of its id that was deleted before leaves it its marks."""
    ts = newest(write, state.tombstone.ts)
    made = _stored(write, ts, document, fingerprint(write), append_marks(state.tombstone.marks, mark(write)))
    return state._replace(stored=made), Written("stored", ts)


def _stored(write: Write, ts: int, document: Mapping[str, Any], first: bytes | None, marks: Sequence[int]) -> Stored:
    document = {**document, "id": write.id, "ts": ts}
    try:
        json = dumps(document)
    except (TypeError, ValueError) as error:
        raise StoreRefused(f"document: {error}") from error
    if len(json) > DOCUMENT_BYTES:
        raise StoreRefused(f"document: {len(json)} bytes, allowed are {DOCUMENT_BYTES}")
    return Stored(ts, json, first, marks, document)
