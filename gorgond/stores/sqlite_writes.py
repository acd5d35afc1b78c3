"""How SQLite is written: one transaction a batch, each write in its turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from gorgond.errors import GorgonError, StoreRefused
from gorgond.redpill import dumps, loads, now_ms
from gorgond.stores.contract import Once, Write, Written
from gorgond.stores.filters import DOCUMENT_BYTES, check_write
from gorgond.stores.kept import Kept
from gorgond.stores.ownership import barred
from gorgond.stores.repeats import append_marks, fingerprint, mark, newest, same_content
from gorgond.stores.schema import TOMBSTONE_SECONDS
from gorgond.stores.sqlite_tables import Collection, Key, make_requests, make_tombstones

BURY = (
    "INSERT INTO tombstones (collection, id, ts, at, known, first, marks) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET ts = max(ts, excluded.ts), at = excluded.at, known = max(known, excluded.known),"
    " first = coalesce(excluded.first, first), marks = excluded.marks"
)


class _Row(NamedTuple):
    """A document as it is stored."""

    n: int
    ts: int
    doc: str
    first: bytes | None
    marks: str | None


class _Tombstone(NamedTuple):
    """The rest of a document that was deleted; of one that was never there, too, if somebody deleted it."""

    ts: int
    known: int
    first: bytes | None
    marks: str | None


class _Barred(GorgonError):
    """The stored item is hidden from the writer; the `outcome` is that of a write that meets nothing."""

    def __init__(self, outcome: Written) -> None:
        super().__init__(outcome.effect)
        self.outcome = outcome


NEVER = _Tombstone(-1, 0, None, None)


def write_all(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Written | StoreRefused]:
    """Do the writes within a transaction that the caller began and will commit."""
    make_tombstones(connection)
    collections: dict[str, Writer] = {}
    done: list[Written | StoreRefused] = []
    for write in writes:
        try:
            check_write(write)
            if write.collection not in collections:
                collections[write.collection] = Writer(connection, Collection(write.collection))
            done.append(collections[write.collection].do(write))
        except StoreRefused as error:
            done.append(error)
        except _Barred as barred_by:
            done.append(barred_by.outcome)
    for writer in collections.values():
        writer.flush()
    if any(write.kind == "delete" for write in writes):
        connection.execute("DELETE FROM tombstones WHERE at < ?", (now_ms() / 1000 - TOMBSTONE_SECONDS,))
    return done


def claim_all(connection: sqlite3.Connection, requests: Sequence[Once]) -> list[bool]:
    """Note for what the keys of these are used, in such a transaction, too; whether each is the one of its key."""
    make_requests(connection)
    now = now_ms() / 1000
    connection.execute('DELETE FROM "gorgon.requests" WHERE at < ?', (now - TOMBSTONE_SECONDS,))
    done = []
    for each in requests:
        row = each.key, each.said, now
        connection.execute('INSERT INTO "gorgon.requests" (key, said, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING', row)
        [said] = connection.execute('SELECT said FROM "gorgon.requests" WHERE key = ?', (each.key,)).fetchone()
        done.append(said == each.said)
    return done


class Writer:
    """Writes documents of one collection and keeps its indexes in step."""

    def __init__(self, connection: sqlite3.Connection, collection: Collection) -> None:
        self._connection = connection
        self._collection = collection
        self._name = collection.name
        collection.make(connection)
        self._text = collection.has_text(connection)
        gap = collection.text_gap(connection)
        self._gap = (gap.upto, gap.last) if gap else (0, 0)
        self._new_keys: list[Key] = []
        self._new_text: list[int] = []
        # Deletes are rare: mostly there is nothing to look up for every write.
        self._tombstones = connection.execute("SELECT 1 FROM tombstones LIMIT 1").fetchone() is not None

    def do(self, write: Write) -> Written:
        tombstone = NEVER
        if self._tombstones:
            found = self._connection.execute(
                "SELECT ts, known, first, marks FROM tombstones WHERE collection = ? AND id = ?",
                (write.collection, write.id),
            ).fetchone()
            tombstone = _Tombstone(*found) if found else NEVER
        if write.kind == "delete":
            return self._delete(write, tombstone)
        if write.kind == "insert":
            return self._insert(write, tombstone)
        return self._change(write, tombstone)

    def _insert(self, write: Write, tombstone: _Tombstone) -> Written:
        first, own = fingerprint(write), mark(write)
        if write.dated and tombstone.ts > write.ts:
            return Written("deleted" if first == tombstone.first else "stale", tombstone.ts)
        if own in _marks(tombstone) and self._row(write) is None:
            return Written("deleted", tombstone.ts)
        ts = newest(write, tombstone.ts)
        if self._make(write, ts, self._encode(write, ts, write.document), first, tombstone):
            return Written("stored", ts)
        row = cast("_Row", self._row(write))  # which was in the way
        if row.first == first if row.first is not None else same_content(write, loads(row.doc)):
            if own is not None and own not in _marks(row):
                marks = _json(append_marks(_marks(row), own))
                self._connection.execute(self._collection.update, (row.ts, row.doc, row.first, marks, row.n))
            return Written("exists", row.ts, again=True)
        return Written("deleted" if own in _marks(tombstone) else "conflict", row.ts)

    def _change(self, write: Write, tombstone: _Tombstone) -> Written:
        """Replace or patch."""
        row, own = self._row(write), mark(write)
        if row is not None and own in _marks(row):
            return Written("stored", row.ts, again=True)
        if own in _marks(tombstone):
            return Written("deleted", tombstone.ts)
        if write.dated and tombstone.ts > write.ts:
            return Written("stale", tombstone.ts)
        if row is None and write.kind == "patch":
            return Written("missing", write.ts)
        if row is not None and ((write.dated and row.ts > write.ts) or write.unchanged not in (None, row.ts)):
            return Written("stale", row.ts)
        ts = newest(write, tombstone.ts if row is None else row.ts)
        document = dict(write.document)
        if row is not None and write.kind == "patch":
            removed = {key for key, value in document.items() if value is None}
            document = {key: value for key, value in {**loads(row.doc), **document}.items() if key not in removed}
        data = self._encode(write, ts, document)
        if row is None:
            self._make(write, ts, data, fingerprint(write), tombstone)
        else:
            self._forget(row)
            first = row.first
            if first is None and write.kind == "replace":
                first = fingerprint(write)
            self._connection.execute(
                self._collection.update, (ts, data, first, _json(append_marks(_marks(row), own)), row.n)
            )
            self._index(row.n, ts, document)
        return Written("stored", ts)

    def _encode(self, write: Write, ts: int, document: Any) -> str:
        try:
            data = dumps({**document, "id": write.id, "ts": ts})
        except (TypeError, ValueError) as error:
            raise StoreRefused(f"document: {error}") from error
        if len(data) > DOCUMENT_BYTES:
            raise StoreRefused(f"document: {len(data)} bytes, allowed are {DOCUMENT_BYTES}")
        return data.decode()

    def _row(self, write: Write) -> _Row | None:
        """The stored document, if the write may touch it. Raises StoreRefused, _Barred."""
        found = self._connection.execute(self._collection.select, (write.id,)).fetchone()
        if found is None:
            return None
        row = _Row(*found)
        if write.asker is not None and (met := barred(loads(row.doc), write)):
            raise _Barred(met)
        return row

    def _make(self, write: Write, ts: int, data: str, first: bytes, tombstone: _Tombstone) -> bool:
        """Store a new document, unless there is one of its id. A document of that id that was deleted before leaves it
        its marks."""
        marks = _json(append_marks(_marks(tombstone), mark(write)))
        cursor = self._connection.execute(self._collection.insert, (write.id, ts, data, first, marks))
        if cursor.rowcount != 1 or cursor.lastrowid is None:
            return False
        self._index(cursor.lastrowid, ts, write.document)
        return True

    def _index(self, n: int, ts: int, document: Any) -> None:
        if self._collection.indexed:
            self._new_keys.extend(self._collection.keys_of(document, ts, n))
        if self._in_text(n):
            self._new_text.append(n)

    def _in_text(self, n: int) -> bool:
        """Whether the full-text index has, or is to have, this document; else who makes the index will come to it."""
        return self._text and not self._gap[0] < n <= self._gap[1]

    def restore(self, kept: Kept) -> None:
        """Keep this in the place of whatever there is under its id."""
        found = self._connection.execute(self._collection.select, (kept.id,)).fetchone()
        if found is not None:
            before = _Row(*found)
            self._forget(before)
            self._connection.execute(self._collection.delete, (before.n,))
        if (document := kept.document) is not None:
            row = kept.id, document["ts"], dumps(document).decode(), kept.first, _json([*kept.marks])
            n = self._connection.execute(self._collection.insert, row).lastrowid
            self._index(cast("int", n), document["ts"], document)
        self._connection.execute("DELETE FROM tombstones WHERE collection = ? AND id = ?", (self._name, kept.id))
        if kept.tombstone is not None:
            ts, known, at, first, marks = kept.tombstone
            self._connection.execute(BURY, (self._name, kept.id, ts, at, known, first, _json([*marks])))

    def flush(self) -> None:
        """Write the new keys in their order, which touches each page of the index once, and the new words in one
        statement: at the end of each the full-text index writes out what it has, to be merged later."""
        if self._new_keys:
            self._new_keys.sort(key=lambda key: (key[0], str(type(key[1])), key[1]))
            self._connection.executemany(self._collection.insert_key, self._new_keys)
            self._new_keys.clear()
        if self._new_text:
            self._connection.execute(self._collection.insert_text, (dumps(self._new_text).decode(),))
            self._new_text.clear()

    def _forget(self, row: _Row) -> None:
        """Take what is stored now out of the indexes."""
        n, ts, data, *_ = row
        self.flush()
        if self._collection.indexed:
            self._connection.executemany(self._collection.delete_key, self._collection.keys_of(loads(data), ts, n))
        if self._in_text(n):
            self._connection.execute(self._collection.delete_text, (n,))

    def _delete(self, write: Write, tombstone: _Tombstone) -> Written:
        row, own = self._row(write), mark(write)
        if own in _marks(tombstone) and (row is None or own in _marks(row)):
            return Written("deleted" if tombstone.known else "missing", tombstone.ts)
        if row is not None and write.dated and row.ts > write.ts:
            return Written("stale", row.ts)
        ts = newest(write, tombstone.ts - 1 if row is None else row.ts)
        if row is not None:
            self._forget(row)
            self._connection.execute(self._collection.delete, (row.n,))
        known = row is not None or bool(tombstone.known)
        self._tombstones = True
        marks = _json(append_marks(_marks(tombstone if row is None else row), own))
        first = row.first if row is not None else None
        self._connection.execute(BURY, (write.collection, write.id, ts, now_ms() / 1000, known, first, marks))
        return Written("deleted" if known else "missing", ts)


def _marks(kept: _Row | _Tombstone | None) -> list[int]:
    return loads(kept.marks) if kept is not None and kept.marks else []


def _json(marks: list[int]) -> str | None:
    return dumps(marks).decode() if marks else None
