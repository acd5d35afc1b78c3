"""A new SQLite database that several connections begin at the same time: SQLite refuses all but one at once."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from gorgond.stores import sqlite


class Contested(sqlite3.Connection):
    """Refused as often as `refusals` says, as while another connection begins the log."""

    refusals = 2

    def execute(self, *args: Any) -> sqlite3.Cursor:
        if self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return super().execute(*args)


def contested() -> Contested:
    return sqlite3.connect(":memory:", factory=Contested)


def test_who_is_refused_asks_again() -> None:
    connection = contested()
    sqlite._use_log(connection)
    assert connection.refusals == 0
    connection.close()


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.0)
    connection = contested()
    connection.refusals = 1_000_000
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        sqlite._use_log(connection)
    connection.close()
