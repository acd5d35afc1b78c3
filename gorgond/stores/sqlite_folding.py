"""The folded texts in the keys of a SQLite file, for documents that a process of an older version wrote.

They are made of the keys alone, a text after the other, in small steps: each text that is not folded stands there once
for each of its documents, and is to stand there folded beside it.
"""

# ruff: noqa: S608 - names in statements are declared ones, values are parameters
from __future__ import annotations

import sqlite3

from gorgond.redpill import INT_MAX
from gorgond.stores.folding import folded
from gorgond.stores.sqlite_tables import Collection


class Folding:
    """That of one field of a collection. It begins at the first text; `step` goes on."""

    def __init__(self, collection: Collection, field: str) -> None:
        self._keys = collection.keys
        self._field = field
        self._text = ""
        self._until = -1  # of the documents of that text those up to this `ts` are to be looked at yet

    def step(self, connection: sqlite3.Connection, most: int) -> bool:
        """Put the next `most` documents at most into the index; whether there may be more."""
        if self._until < 0:
            if not (text := self._next(connection)):
                return False
            self._text, self._until = text, INT_MAX
        folds = folded(self._text)
        missing = connection.execute(
            f"SELECT ts, n FROM {self._keys} k WHERE field = ? AND value = ? AND ts <= ? AND NOT EXISTS (SELECT 1"
            f" FROM {self._keys} f WHERE f.field = k.field AND f.value = ? AND f.ts = k.ts AND f.n = k.n)"
            " ORDER BY ts DESC LIMIT ?",
            (self._field, self._text, self._until, folds, most),
        ).fetchall()
        connection.executemany(
            f"INSERT INTO {self._keys} (field, value, ts, n) VALUES (?, ?, ?, ?)",
            [(self._field, folds, ts, n) for ts, n in missing],
        )
        self._until = missing[-1][0] if len(missing) == most else -1
        return True

    def _next(self, connection: sqlite3.Connection) -> str:
        """The first text after the one that was done that is not folded; nothing if there is none."""
        following = f"SELECT value FROM {self._keys} WHERE field = ? AND value > ? ORDER BY value LIMIT 1"
        text = self._text
        while (row := connection.execute(following, (self._field, text)).fetchone()) and isinstance(row[0], str):
            text = row[0]
            if folded(text) != text:
                return text
        return ""
