"""The tables of a SQLite file, and the statements on them.

`items`: n, id, ts, doc, first, marks. A collection, one JSON document a row; the last two as in `stores.repeats`.
`items.keys`: field, value, ts, n. For every indexed field of a document a row; for a list, one for each element. For a
text that is found whatever its case one more, unless it is folded itself: folded. Processes of an older version neither
make nor remove that. So its `ts` is compared with the document's, and what is missing is made when a store begins.
`items.text`: FTS5, rowid = n. The words of a document, for searches.
`text_building`: collection, upto, last, builder, until. While `items.text` is being made, by `builder`, whom the others
leave alone with it until then: documents upto < n <= last are not in it yet.
`tombstones`: collection, id, ts, at, known, first, marks. The documents deleted within a day, and what they had.

Columns that tables of an older version lack are added when they are written for the first time.
"""

# ruff: noqa: S608 - names in statements were checked by stores.filters, values are parameters
from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gorgond.roles.row import Indexes
from gorgond.stores.folding import copies
from gorgond.stores.schema import DECLARED

TEXT_BUILDING = (
    "CREATE TABLE IF NOT EXISTS text_building (collection TEXT PRIMARY KEY, upto INTEGER NOT NULL,"
    " last INTEGER NOT NULL, builder TEXT NOT NULL, until REAL NOT NULL)"
)

# `value` has no type: it keeps numbers, strings and (as blobs) booleans apart.
KEYS = (
    "CREATE TABLE IF NOT EXISTS {keys} (field TEXT, value, ts INTEGER, n INTEGER,"
    " PRIMARY KEY (field, value, ts DESC, n)) WITHOUT ROWID"
)

Key = tuple[str, Any, int, int]


def make_tombstones(connection: sqlite3.Connection) -> None:
    """Make the table that is not there yet."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS tombstones (collection TEXT, id TEXT, ts INTEGER NOT NULL, at REAL NOT NULL,"
        " known INTEGER NOT NULL, first BLOB, marks TEXT, PRIMARY KEY (collection, id)) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS tombstones_at ON tombstones (at)")
    _add_columns(connection, "tombstones")


def make_requests(connection: sqlite3.Connection) -> None:
    """Make the table that is not there yet."""
    connection.execute(
        'CREATE TABLE IF NOT EXISTS "gorgon.requests" (key TEXT PRIMARY KEY, said TEXT NOT NULL, at REAL NOT NULL)'
        " WITHOUT ROWID"
    )
    connection.execute('CREATE INDEX IF NOT EXISTS "gorgon.requests_at" ON "gorgon.requests" (at)')


def _add_columns(connection: sqlite3.Connection, table: str) -> None:
    """`first` and `marks`, in a table of an older version."""
    if not connection.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = 'marks'", (table,)).fetchone():
        connection.execute(f'ALTER TABLE "{table}" ADD COLUMN first BLOB')
        connection.execute(f'ALTER TABLE "{table}" ADD COLUMN marks TEXT')


class Gap(NamedTuple):
    """A row of `text_building`."""

    upto: int
    last: int
    builder: str
    until: float  # seconds since 1970


class Collection:
    """A collection's names and statements."""

    def __init__(self, name: str) -> None:
        self.name = name
        declared = DECLARED.get(name, Indexes())
        self.indexed = (*declared.newest, *declared.values)
        self.folded = declared.folded
        self._by_time = declared.by_time
        self.docs, self.keys, self.text = f'"{name}"', f'"{name}.keys"', f'"{name}.text"'
        fields = declared.text
        self._text_columns = ", ".join(fields)
        self._text_values = ", ".join(
            f"CASE WHEN json_type(doc, '$.{field}') IN ('text', 'array') THEN json_extract(doc, '$.{field}') END"
            for field in fields
        )
        self.insert = (
            f"INSERT INTO {self.docs} (id, ts, doc, first, marks) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        self.select = f"SELECT n, ts, doc, first, marks FROM {self.docs} WHERE id = ?"
        self.update = f"UPDATE {self.docs} SET ts = ?, doc = ?, first = ?, marks = ? WHERE n = ?"
        self.delete = f"DELETE FROM {self.docs} WHERE n = ?"
        self.insert_key = f"INSERT INTO {self.keys} (field, value, ts, n) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        self.delete_key = f"DELETE FROM {self.keys} WHERE field = ? AND value = ? AND ts = ? AND n = ?"
        self.insert_text = (
            f"INSERT INTO {self.text} (rowid, {self._text_columns})"
            f" SELECT n, {self._text_values} FROM {self.docs} WHERE n IN (SELECT value FROM json_each(?)) ORDER BY n"
        )
        # The index keeps no copy of the text: it has to be told what to take out.
        self.delete_text = (
            f"INSERT INTO {self.text} ({self.text}, rowid, {self._text_columns})"
            f" SELECT 'delete', n, {self._text_values} FROM {self.docs} WHERE n = ?"
        )

    def make(self, connection: sqlite3.Connection) -> None:
        """Make the tables that are not there yet, but for the text."""
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self.docs}"
            " (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, ts INTEGER NOT NULL, doc TEXT NOT NULL,"
            " first BLOB, marks TEXT)"
        )
        _add_columns(connection, self.name)
        if self._by_time:
            connection.execute(f'CREATE INDEX IF NOT EXISTS "{self.name}.ts" ON {self.docs} (ts)')
        if self.indexed:
            connection.execute(KEYS.format(keys=self.keys))

    def has_text(self, connection: sqlite3.Connection) -> bool:
        names = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (f"{self.name}.text",))
        return names.fetchone() is not None

    def text_gap(self, connection: sqlite3.Connection) -> Gap | None:
        """The gap in the full-text index while it is being made; None when it is whole."""
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'text_building'").fetchone():
            return None
        row = connection.execute(
            "SELECT upto, last, builder, until FROM text_building WHERE collection = ?", (self.name,)
        ).fetchone()
        return row and Gap(*row)

    def begin_text(self, connection: sqlite3.Connection) -> None:
        """Make the full-text index, empty, unless another process has; from now on writers keep it."""
        self.make(connection)
        if not self.has_text(connection):
            connection.execute(f"CREATE VIRTUAL TABLE {self.text} USING fts5({self._text_columns}, content='')")
            connection.execute(TEXT_BUILDING)
            all = f"SELECT ?, 0, coalesce(max(n), 0), '', 0 FROM {self.docs}"
            connection.execute(f"INSERT INTO text_building {all}", (self.name,))

    def drop_text(self, connection: sqlite3.Connection) -> bool:
        """Do away with the full-text index, if it is there."""
        if not self.has_text(connection):
            return False
        connection.execute(f"DROP TABLE {self.text}")
        connection.execute("DELETE FROM text_building WHERE collection = ?", (self.name,))
        return True

    def more_text(self, connection: sqlite3.Connection, most: int, builder: str, until: float) -> None:
        """Put the next documents into the full-text index."""
        gap = self.text_gap(connection)
        if gap is None:
            return
        [end] = connection.execute(
            f"SELECT max(n) FROM (SELECT n FROM {self.docs} WHERE n > ? AND n <= ? ORDER BY n LIMIT ?)",
            (gap.upto, gap.last, most),
        ).fetchone()
        if end is None:
            connection.execute("DELETE FROM text_building WHERE collection = ?", (self.name,))
            return
        connection.execute(
            f"INSERT INTO {self.text} (rowid, {self._text_columns})"
            f" SELECT n, {self._text_values} FROM {self.docs} WHERE n > ? AND n <= ?",
            (gap.upto, end),
        )
        connection.execute(
            "UPDATE text_building SET upto = ?, builder = ?, until = ? WHERE collection = ?",
            (end, builder, until, self.name),
        )

    def keys_of(self, document: Mapping[str, Any], ts: int, n: int) -> Iterator[Key]:
        """The rows of `keys` for a document."""
        for field in self.indexed:
            found = document.get(field)
            values = found if isinstance(found, list | tuple) else (found,)
            for value in {key_value(one) for one in values if isinstance(one, str | int | float)}:
                yield field, value, ts, n
        for field in self.folded:
            for text in copies(document, field):
                yield field, text, ts, n


def key_value(value: Any) -> Any:
    """A scalar as `keys` holds it: booleans as blobs, for SQLite takes them for numbers."""
    return bytes([value]) if isinstance(value, bool) else value
