"""The indexes in a SQLite file beside those that the roles declare: rows of `NAME.keys`, as for theirs, kept by
triggers.

So whoever writes keeps them, a process of an older version too, and the statements of writers are the same.
`gorgon.indexes`: collection, field, upto, last, builder, until. An index that is being made is filled in small steps:
documents upto < n <= last may be missing in it yet, and as long as there are such nobody is led by it.
"""

# ruff: noqa: S608 - names in statements were checked by stores.declared, values are parameters
from __future__ import annotations

import sqlite3

from gorgond.stores.sqlite_tables import KEYS, Collection, Gap

_TABLE = (
    'CREATE TABLE IF NOT EXISTS "gorgon.indexes" (collection TEXT, field TEXT, upto INTEGER NOT NULL,'
    " last INTEGER NOT NULL, builder TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (collection, field)) WITHOUT ROWID"
)

_VALUE = "CASE e.type WHEN 'true' THEN x'01' WHEN 'false' THEN x'00' ELSE e.atom END"  # as sqlite_tables.key_value
_SCALAR = "e.type IN ('text', 'integer', 'real', 'true', 'false')"
_TRIGGERS = ("added", "changed", "gone")
_ONCE = "ON CONFLICT DO NOTHING"  # a value may be twice in a list


def indexed(connection: sqlite3.Connection, collection: str) -> list[str]:
    """The fields by which documents of a collection are found, of those that were declared."""
    if not _is_there(connection):
        return []
    rows = connection.execute('SELECT field FROM "gorgon.indexes" WHERE collection = ? AND upto >= last', (collection,))
    return [field for (field,) in rows]


def _is_there(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'gorgon.indexes'").fetchone() is not None


class Index:
    """That of one field of a collection."""

    def __init__(self, collection: Collection, field: str) -> None:
        self._collection = collection
        self._field = field

    def _values(self, row: str) -> str:
        """A table `e` of what is in the field of a row: the value itself, or what is in its list."""
        there = f"""({row}.doc -> '$."{self._field}"')"""
        return f"json_each(CASE json_type({there}) WHEN 'array' THEN {there} ELSE json_array(json({there})) END) e"

    def _put(self, row: str, rows: str = "") -> str:
        """Put in the values of a row, or of each of `rows`, a table with a comma behind it."""
        return (
            f"INSERT INTO {self._collection.keys} (field, value, ts, n)"
            f" SELECT '{self._field}', {_VALUE}, {row}.ts, {row}.n FROM {rows}{self._values(row)} WHERE {_SCALAR}"
        )

    def _take(self, row: str) -> str:
        return (
            f"DELETE FROM {self._collection.keys} WHERE field = '{self._field}' AND ts = {row}.ts AND n = {row}.n"
            f" AND value IN (SELECT {_VALUE} FROM {self._values(row)} WHERE {_SCALAR})"
        )

    def begin(self, connection: sqlite3.Connection) -> None:
        """Make it, empty, unless it is there; from now on whoever writes keeps it."""
        connection.execute(_TABLE)
        name = self._collection.name
        if self._is_known(connection):
            return
        self._collection.make(connection)
        connection.execute(KEYS.format(keys=self._collection.keys))
        put = f"{self._put('new')} {_ONCE}"
        for what, when, work in (
            (_TRIGGERS[0], "INSERT", (put,)),
            (_TRIGGERS[1], "UPDATE", (self._take("old"), put)),
            (_TRIGGERS[2], "DELETE", (self._take("old"),)),
        ):
            connection.execute(
                f'CREATE TRIGGER "{name}.{self._field}.{what}" AFTER {when} ON {self._collection.docs}'
                f" BEGIN {'; '.join(work)}; END"
            )
        all = f"SELECT ?, ?, 0, coalesce(max(n), 0), '', 0 FROM {self._collection.docs}"
        connection.execute(f'INSERT INTO "gorgon.indexes" {all}', (name, self._field))

    def _is_known(self, connection: sqlite3.Connection) -> bool:
        row = self._collection.name, self._field
        found = connection.execute('SELECT 1 FROM "gorgon.indexes" WHERE collection = ? AND field = ?', row)
        return found.fetchone() is not None

    def drop(self, connection: sqlite3.Connection) -> None:
        """Do away with it, if it is there; with all of its rows, or one made later would find what they say."""
        if not _is_there(connection) or not self._is_known(connection):
            return
        name, field = self._collection.name, self._field
        for what in _TRIGGERS:
            connection.execute(f'DROP TRIGGER IF EXISTS "{name}.{field}.{what}"')
        connection.execute(f"DELETE FROM {self._collection.keys} WHERE field = ?", (field,))
        connection.execute('DELETE FROM "gorgon.indexes" WHERE collection = ? AND field = ?', (name, field))

    def gap(self, connection: sqlite3.Connection) -> Gap | None:
        """The gap in it while it is being made; None when it is whole."""
        row = connection.execute(
            'SELECT upto, last, builder, until FROM "gorgon.indexes"'
            " WHERE collection = ? AND field = ? AND upto < last",
            (self._collection.name, self._field),
        ).fetchone()
        return row and Gap(*row)

    def more(self, connection: sqlite3.Connection, most: int, builder: str, until: float) -> None:
        """Put the next documents into it."""
        gap = self.gap(connection)
        if gap is None:
            return
        docs = self._collection.docs
        [end] = connection.execute(
            f"SELECT max(n) FROM (SELECT n FROM {docs} WHERE n > ? AND n <= ? ORDER BY n LIMIT ?)",
            (gap.upto, gap.last, most),
        ).fetchone()
        if end is not None:
            some = f"{self._put('d', f'{docs} d, ')} AND d.n > ? AND d.n <= ? {_ONCE}"
            connection.execute(some, (gap.upto, end))
        connection.execute(
            'UPDATE "gorgon.indexes" SET upto = ?, builder = ?, until = ? WHERE collection = ? AND field = ?',
            (gap.last if end is None else end, builder, until, self._collection.name, self._field),
        )
