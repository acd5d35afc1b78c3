"""How SQLite is written: one transaction a batch, each write in its turn."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from gorgond.errors import StoreRefused
from gorgond.redpill.codec import dumps, loads
from gorgond.stores.contract import Effect, Write
from gorgond.stores.filters import DOCUMENT_BYTES, check_write
from gorgond.stores.ownership import check_owner
from gorgond.stores.schema import TOMBSTONE_SECONDS
from gorgond.stores.sqlite_tables import TOMBSTONES, Collection, Key

Row = tuple[int, int, str]

BURY = (
    "INSERT INTO tombstones (collection, id, ts, at, known) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET ts = max(ts, excluded.ts), at = excluded.at, known = max(known, excluded.known)"
)


def write_all(connection: sqlite3.Connection, writes: Sequence[Write]) -> list[Effect | StoreRefused]:
    """Do the writes within a transaction that the caller began and will commit."""
    for statement in TOMBSTONES:
        connection.execute(statement)
    collections: dict[str, _Writer] = {}
    effects: list[Effect | StoreRefused] = []
    for write in writes:
        try:
            check_write(write)
            if write.collection not in collections:
                collections[write.collection] = _Writer(connection, Collection(write.collection))
            effects.append(collections[write.collection].do(write))
        except StoreRefused as error:
            effects.append(error)
    for writer in collections.values():
        writer.flush()
    if any(write.kind == "delete" for write in writes):
        connection.execute("DELETE FROM tombstones WHERE at < ?", (time.time() - TOMBSTONE_SECONDS,))
    return effects


class _Writer:
    """Writes documents of one collection and keeps its indexes in step."""

    def __init__(self, connection: sqlite3.Connection, collection: Collection) -> None:
        self._connection = connection
        self._collection = collection
        collection.make(connection)
        self._text = collection.has_text(connection)
        gap = collection.text_gap(connection)
        self._gap = (gap.upto, gap.last) if gap else (0, 0)
        self._new_keys: list[Key] = []
        self._new_text: list[int] = []
        # Deletes are rare: mostly there is nothing to look up for every write.
        self._tombstones = connection.execute("SELECT 1 FROM tombstones LIMIT 1").fetchone() is not None

    def do(self, write: Write) -> Effect:
        known = None
        if self._tombstones:
            known = self._connection.execute(
                "SELECT ts, known FROM tombstones WHERE collection = ? AND id = ?", (write.collection, write.id)
            ).fetchone()
        if write.kind == "delete":
            return self._delete(write, known is not None and bool(known[1]))
        if known is not None and known[0] > write.ts:
            return "stale"
        if write.kind == "insert":
            return "stored" if self._insert(write, self._encoded(write, write.document)) else "exists"
        row = self._row(write)
        if row is None and write.kind == "patch":
            return "missing"
        if row is not None and row[1] > write.ts:
            return "stale"
        document = dict(write.document)
        if row is not None and write.kind == "patch":
            removed = {key for key, value in document.items() if value is None}
            document = {key: value for key, value in {**loads(row[2]), **document}.items() if key not in removed}
        data = self._encoded(write, document)
        if row is None:
            self._insert(write, data)
        else:
            self._forget(row)
            self._connection.execute(self._collection.update, (write.ts, data, row[0]))
            self._index(row[0], write.ts, document)
        return "stored"

    def _encoded(self, write: Write, document: Any) -> str:
        try:
            data = dumps({**document, "id": write.id, "ts": write.ts})
        except (TypeError, ValueError) as error:
            raise StoreRefused(f"document: {error}") from error
        if len(data) > DOCUMENT_BYTES:
            raise StoreRefused(f"document: {len(data)} bytes, allowed are {DOCUMENT_BYTES}")
        return data.decode()

    def _row(self, write: Write) -> Row | None:
        """What is stored, if the write may touch it. Raises StoreRefused."""
        row: Row | None = self._connection.execute(self._collection.select, (write.id,)).fetchone()
        if row is not None and write.asker is not None:
            check_owner(loads(row[2]), write.asker)
        return row

    def _insert(self, write: Write, data: str) -> bool:
        cursor = self._connection.execute(self._collection.insert, (write.id, write.ts, data))
        if cursor.rowcount != 1 or cursor.lastrowid is None:
            return False
        self._index(cursor.lastrowid, write.ts, write.document)
        return True

    def _index(self, n: int, ts: int, document: Any) -> None:
        if self._collection.indexed:
            self._new_keys.extend(self._collection.keys_of(document, ts, n))
        if self._in_text(n):
            self._new_text.append(n)

    def _in_text(self, n: int) -> bool:
        """Whether the full-text index has, or is to have, this document; else who makes the index will come to it."""
        return self._text and not self._gap[0] < n <= self._gap[1]

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

    def _forget(self, row: Row) -> None:
        """Take what is stored now out of the indexes."""
        n, ts, data = row
        self.flush()
        if self._collection.indexed:
            self._connection.executemany(self._collection.delete_key, self._collection.keys_of(loads(data), ts, n))
        if self._in_text(n):
            self._connection.execute(self._collection.delete_text, (n,))

    def _delete(self, write: Write, deleted_before: bool) -> Effect:
        row = self._row(write)
        if row is not None and row[1] > write.ts:
            return "stale"
        if row is not None:
            self._forget(row)
            self._connection.execute(self._collection.delete, (row[0],))
        known = row is not None or deleted_before
        self._tombstones = True
        self._connection.execute(BURY, (write.collection, write.id, write.ts, time.time(), known))
        return "deleted" if known else "missing"
