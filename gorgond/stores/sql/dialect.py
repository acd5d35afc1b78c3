"""What a dialect of SQL does in its own words: `postgres` is one. All else is written once, against this.

Statements are in the SQL that dialects share: `"names"` in quotes, `%s` for each parameter. Nothing of a request gets
into a statement but as a parameter, or as a name of `tables`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

from gorgond.errors import GorgonError, StoreAway
from gorgond.stores.findings import Finding
from gorgond.stores.words import Sought

Row = tuple[Any, ...]
Clause = tuple[str, list[Any]]
"""A part of a statement, and its parameters."""

LOCK_SECONDS = 5.0  # that a statement waits for what another transaction holds
WRITE_SECONDS = 25  # that one may take which writes


class Again(GorgonError):
    """The database has undone a transaction because of another one: it is done again, and nobody is told."""


class NoTable(GorgonError):
    """The statement names a table that is not there yet."""


class TooSlow(StoreAway):
    """The statement has taken all its time: for who has no better answer, the database is away."""


class Faulty(GorgonError):
    """The database will not have this statement with these parameters: its code, and its words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code


class Session(ABC):
    """One connection, used by one thread at a time. Each statement stands for itself but between `begin` and `commit`.

    Every method raises StoreAway when the database cannot be reached, StoreDenied when it does not let us in, and the
    errors above.
    """

    @property
    @abstractmethod
    def usable(self) -> bool:
        """Whether the connection is one yet."""

    @abstractmethod
    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Do a statement; its rows, if it has any."""

    @abstractmethod
    def stream(self, sql: str, parameters: Sequence[Any]) -> Generator[Row]:
        """The rows of a SELECT, as they are wanted: no more than a few hundred are in memory. An iterator that is
        closed before its end costs nothing more."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction, in which each statement sees what was committed before it (READ COMMITTED), and has
        WRITE_SECONDS."""

    @abstractmethod
    def begin_reading(self) -> None:
        """Begin one in which all statements see the same."""

    def commit(self) -> None:
        self.run("COMMIT")

    @abstractmethod
    def rollback(self) -> None:
        """Undo what was begun, if anything was. Raises nothing: a connection that is gone has undone it."""

    seconds = 0.0  # that a statement has, as `limit` was told last

    @abstractmethod
    def limit(self, seconds: float) -> None:
        """The time that a statement has from now on."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """How the database is set up, beside its version."""

    # ---- tables

    @abstractmethod
    def make(self, collection: str) -> None:
        """Make the tables of a collection, and those that all share, where they are not there yet."""

    @abstractmethod
    def table_names(self) -> list[str]:
        """The names of all tables, without quotes."""

    @abstractmethod
    def columns(self, table: str) -> list[tuple[str, str]]:
        """The names and types of a table's columns; empty where there is none."""

    @abstractmethod
    def hold(self, collection: str, *, alone: bool) -> None:
        """Until the transaction's end nobody begins or drops an index of the collection; `alone`: nobody writes to it
        either, and who did has ended."""

    @abstractmethod
    def clear(self, table: str) -> None:
        """Take all rows out of a table, however many there are."""

    # ---- documents

    @abstractmethod
    def take(self, docs: str, rows: Sequence[Row]) -> dict[str, int]:
        """Put in these rows, in the order of their ids, and lock all of them: those that are there already, too, which
        stay as they are. The numbers `n` of those put in, by id. In one statement, so that no two who do so wait for
        each other."""

    @abstractmethod
    def update(self, docs: str, rows: Sequence[Row]) -> None:
        """Set what these rows have, all but the `n` at their end, where `n` is that."""

    @abstractmethod
    def among(self, column: str, values: Sequence[Any]) -> Clause:
        """The condition that a column, of texts or numbers, has one of these values."""

    @abstractmethod
    def put_requests(self, rows: Sequence[Row]) -> None:
        """Put in the rows (name, said, at) of requests whose names are not there."""

    # ---- indexes

    @abstractmethod
    def put_keys(self, keys: str, rows: Sequence[Row]) -> None:
        """Put in the rows (term, ts, n) that are not there."""

    @abstractmethod
    def take_keys(self, keys: str, rows: Sequence[Row]) -> None:
        """Take out those that are there."""

    @abstractmethod
    def put_words(self, words: str, documents: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Put in the words of documents that have none there, by their `n`."""

    @abstractmethod
    def found(self, words: str, sought: Sought) -> Clause:
        """A SELECT of the `n` of the documents that have any of the words."""


class Dialect(ABC):
    """A database of that dialect, by its URL. It is made with that, of which it may raise ConfigError."""

    name: str
    schema: str  # stands before each table

    @abstractmethod
    def connect(self) -> Session:
        """A new connection to a server that keeps what it says. Raises StoreAway, StoreDenied."""

    @abstractmethod
    def close(self) -> None:
        """No connection is wanted any more."""

    @abstractmethod
    def version(self, session: Session) -> str:
        """The server's, as "15.4"."""
