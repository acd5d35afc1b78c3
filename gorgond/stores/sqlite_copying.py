"""How what a SQLite file keeps is read and written as it is, to be moved."""

# ruff: noqa: S608 - names in statements were checked by stores.filters, values are parameters
from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gorgond.errors import StoreRefused
from gorgond.redpill import dumps, loads
from gorgond.stores.contract import Once
from gorgond.stores.filters import check_collection
from gorgond.stores.kept import Kept, Tombstone
from gorgond.stores.sqlite_tables import Collection, make_tombstones
from gorgond.stores.sqlite_writes import Writer

TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
COLUMNS = "SELECT name FROM pragma_table_info(?)"


def collections_of(connection: sqlite3.Connection) -> list[str]:
    """The names of the collections that are there."""
    return [name for (name,) in connection.execute(TABLES) if _is_collection(name)]


def _is_collection(name: str) -> bool:
    try:
        check_collection(name)
    except StoreRefused:
        return False
    return True


def ids_after(connection: sqlite3.Connection, collection: str, after: str, most: int) -> list[str]:
    """The next ids of documents and of deleted ones, in their order."""
    parts = []
    if _columns(connection, collection):
        parts.append(f"SELECT id FROM {Collection(collection).docs} WHERE id > :after")
    if _columns(connection, "tombstones"):
        parts.append("SELECT id FROM tombstones WHERE collection = :collection AND id > :after")
    if not parts:
        return []
    asked = {"after": after, "collection": collection, "most": most}
    return [id for (id,) in connection.execute(f"{' UNION '.join(parts)} ORDER BY 1 LIMIT :most", asked)]


def kept_of(connection: sqlite3.Connection, collection: str, ids: Sequence[str]) -> list[Kept]:
    """What is kept under each of these ids."""
    wanted = (dumps(list(ids)).decode(),)
    found = {id: Kept(id) for id in ids}
    if columns := _columns(connection, collection):
        more = "first, marks" if "marks" in columns else "NULL, NULL"
        docs = f"SELECT id, doc, {more} FROM {Collection(collection).docs}"
        for id, doc, first, marks in connection.execute(f"{docs} WHERE id IN (SELECT value FROM json_each(?))", wanted):
            found[id] = Kept(id, loads(doc), first, _marks(marks))
    if columns := _columns(connection, "tombstones"):
        more = "first, marks" if "marks" in columns else "NULL, NULL"
        graves = f"SELECT id, ts, known, at, {more} FROM tombstones WHERE collection = ? AND id IN"
        for id, ts, known, at, first, marks in connection.execute(
            f"{graves} (SELECT value FROM json_each(?))", (collection, *wanted)
        ):
            found[id] = found[id]._replace(tombstone=Tombstone(ts, bool(known), at, first, _marks(marks)))
    return list(found.values())


def restore(connection: sqlite3.Connection, collection: str, kept: Sequence[Kept]) -> None:
    """Keep these as they are, within a transaction that the caller began and will commit."""
    make_tombstones(connection)
    writer = Writer(connection, Collection(collection))
    for each in kept:
        writer.restore(each)
    writer.flush()


def claims_after(connection: sqlite3.Connection, key: str, most: int) -> list[Once]:
    """The next uses of requests' keys, in the order of these."""
    if not _columns(connection, "gorgon.requests"):
        return []
    asked = 'SELECT key, said FROM "gorgon.requests" WHERE key > ? ORDER BY key LIMIT ?'
    return [Once(*row) for row in connection.execute(asked, (key, most))]


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table; none where it is not there."""
    return {name for (name,) in connection.execute(COLUMNS, (table,))}


def _marks(kept: str | None) -> tuple[int, ...]:
    return tuple(loads(kept)) if kept else ()
