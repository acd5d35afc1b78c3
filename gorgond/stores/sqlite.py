"""SQLite: the embedded default, nothing to install. `sqlite:///relative/path` or `sqlite:////absolute/path`.

The file's directory is made if it is missing. Several processes may use one file (on a local disk). A write that is
reported as stored survives a power failure: the log is written ahead (WAL) and synced with every batch
(synchronous=FULL). A file that is removed or replaced meanwhile is one that cannot be reached (`stores.sqlite_files`).
"""

# ruff: noqa: S608 - names in statements were checked by stores.filters, values are parameters
from __future__ import annotations

import functools
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from gorgond.errors import ConfigError, StoreAway, StoreDenied, StoreRefused
from gorgond.redpill import now_ms
from gorgond.stores import sqlite_copying
from gorgond.stores.contract import (
    COUNTED,
    Once,
    Query,
    Store,
    Write,
    Written,
    counted,
    not_searchable,
    refused_by,
    share,
    too_slow,
)
from gorgond.stores.filters import check_query, equality, words
from gorgond.stores.findings import ABSENT, Finding
from gorgond.stores.folding import fold
from gorgond.stores.kept import Kept
from gorgond.stores.ownership import PRIVATE, hidden
from gorgond.stores.paging import page, part
from gorgond.stores.schema import DECLARED, FOLDED, TEXT
from gorgond.stores.sqlite_check import findings_of
from gorgond.stores.sqlite_files import Files
from gorgond.stores.sqlite_filters import Parameters, order_by, where
from gorgond.stores.sqlite_folding import Folding
from gorgond.stores.sqlite_indexes import Index, indexed
from gorgond.stores.sqlite_tables import Collection, Gap, key_value, make_tombstones
from gorgond.stores.sqlite_writes import claim_all, write_all
from gorgond.stores.words import BEGINNING

T = TypeVar("T")

BUSY_SECONDS = 5.0
READ_SECONDS = 5.0  # for a batch of reads
INDEX_STEP = 100  # documents put into a search index in one transaction, some 15 ms
INDEX_PAUSE = 0.12  # seconds between two: a writer who waits for its turn looks every tenth of a second
FOLD_STEP = 1000  # keys, some 10 ms
FOLD_PAUSE = 0.02
INDEX_LEASE = 10.0  # seconds that others leave a builder alone with its work
STEPS_BETWEEN_LOOKS_AT_THE_CLOCK = 100_000

ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds it; tried again",
    sqlite3.SQLITE_LOCKED: "another connection holds it; tried again",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written: look into the kernel's log",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check owner and permissions of the file and its directory",
    sqlite3.SQLITE_PERM: "access is denied: check owner and permissions of the file and its directory",
    sqlite3.SQLITE_AUTH: "access is denied: check owner and permissions of the file and its directory",
    sqlite3.SQLITE_READONLY: "it cannot be written: check owner and permissions of the file, its -wal and -shm",
    sqlite3.SQLITE_CORRUPT: "it is damaged: stop gorgon, then restore a backup or try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database: move it away or correct the url",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work: is it on a network file system?",
}
"""SQLite's results that mean: nothing wrong with the request, try again; and what the operator should know."""

DENIED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOTADB}
"""Those of them that only an operator ends."""


class _Connection(sqlite3.Connection):
    """A connection to `files`, whose statements end at `deadline`."""

    files: Files
    deadline = float("inf")


class SqliteStore(Store):
    """One SQLite file. Connections are kept, each used by one thread at a time."""

    def __init__(self, url: str) -> None:
        path = unquote(url.removeprefix("sqlite:///"))
        if not url.startswith("sqlite:///") or not path or path.startswith(":"):
            raise ConfigError(f"{url!r} names no file; allowed are sqlite:///path and sqlite:////absolute/path")
        self._path = Path(path)
        self._files: Files | None = None  # as the first connection found them
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._closing = threading.Event()
        self._builder = uuid.uuid4().hex  # who we are among those who make the index for searches

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        """A connection; one that failed is not used again."""
        connection = None
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            self._busy.add(connection)
            connection.files.see()
            yield connection
            connection.files.see()
        except StoreAway:  # not the connection's fault; it holds what was stored
            if connection is not None:
                self._idle.append(connection)
            raise
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
            if code in ADVICE:
                kind = StoreDenied if code in DENIED else StoreAway
                raise kind(f"SQLite {self._path}: {ADVICE[code]} ({error})") from error
            raise
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        finally:
            if connection is not None:
                self._busy.discard(connection)
        if self._closing.is_set():
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self) -> _Connection:
        """A new connection; the first one makes the file, if it is missing."""
        if self._files is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        else:
            self._files.see(database_alone=True)
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={'rwc' if self._files is None else 'rw'}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        try:
            _use_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            # 12 MB in memory, and 32 in the log before it is worked into the file: a batch may be megabytes.
            connection.execute("PRAGMA cache_size = -12000")
            connection.execute("PRAGMA wal_autocheckpoint = 8000")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # from now on the log is there
            connection.files = Files(self._path)
            if self._files is not None:
                self._files.see(database_alone=True)
        except (sqlite3.Error, StoreAway):
            connection.close()
            raise
        self._files = self._files or connection.files
        connection.create_function("folded", 1, fold, deterministic=True)
        connection.set_progress_handler(
            lambda: time.monotonic() > connection.deadline, STEPS_BETWEEN_LOOKS_AT_THE_CLOCK
        )
        return connection

    def _transaction(self, work: Callable[[_Connection], T]) -> T:
        """Do `work` within a transaction that is on the disk on return."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return result

    def prepare(self) -> None:
        def make(connection: _Connection) -> None:
            make_tombstones(connection)
            for name in DECLARED:
                Collection(name).make(connection)

        self._transaction(make)
        for collection in map(Collection, FOLDED):
            for field in collection.folded:
                self._fold(Folding(collection, field))

    def _fold(self, folding: Folding) -> None:
        """Put into the index what older versions have not put there."""
        while not self._closing.is_set() and self._transaction(lambda connection: folding.step(connection, FOLD_STEP)):
            self._closing.wait(FOLD_PAUSE)

    def make_search(self) -> None:
        with self._connection() as connection:
            if self._closing.is_set() or not _has_fts5(connection):
                return
        for collection in map(Collection, TEXT):
            self._transaction(collection.begin_text)
            self._fill(collection.text_gap, collection.more_text)

    def index(self, collection: str, newest: Sequence[str], values: Sequence[str]) -> None:
        made = Collection(collection)
        for field in dict.fromkeys([*newest, *values]):
            if field not in made.indexed:
                index = Index(made, field)
                self._transaction(index.begin)
                self._fill(index.gap, index.more)

    def drop_index(self, collection: str, fields: Sequence[str]) -> None:
        for field in fields:
            self._transaction(Index(Collection(collection), field).drop)

    def _fill(
        self,
        look: Callable[[_Connection], Gap | None],
        more: Callable[[_Connection, int, str, float], None],
    ) -> None:
        """Fill an index in small steps, one process at a time, going on where another one has stopped."""

        def step(connection: _Connection) -> None:
            more(connection, INDEX_STEP, self._builder, now_ms() / 1000 + INDEX_LEASE)

        while not self._closing.is_set():
            with self._connection() as connection:
                gap = look(connection)
            if gap is None:
                return
            if gap.builder == self._builder or gap.until < now_ms() / 1000:
                self._transaction(step)
            self._closing.wait(INDEX_PAUSE)

    def drop_search(self) -> bool:
        dropped = [self._transaction(collection.drop_text) for collection in map(Collection, TEXT)]
        return any(dropped)

    def find(self, queries: Sequence[Query]) -> list[bytes | StoreRefused]:
        return self._answers_of(queries, self._find)

    def count(self, queries: Sequence[Query]) -> list[int | StoreRefused]:
        return self._answers_of(queries, self._count)

    def _answers_of(self, queries: Sequence[Query], read: Callable[[_Connection, Query], T]) -> list[T | StoreRefused]:
        """What `read` returns for each, all within the time of a batch."""
        until, answers = time.monotonic() + READ_SECONDS, list[T | StoreRefused]()
        for place, query in enumerate(queries):
            now = time.monotonic()
            answers.append(self._answer_of(query, read, now + share(until - now, len(queries) - place - 1)))
        return answers

    def _answer_of(self, query: Query, read: Callable[[_Connection, Query], T], until: float) -> T | StoreRefused:
        """What `read` returns, or why this query is refused."""
        try:
            check_query(query)
            if query.search:
                self._see_text(query.collection)
            with self._connection() as connection:
                connection.deadline = until
                result = read(connection, query)
                connection.deadline = float("inf")
                return result
        except StoreRefused as error:
            return error
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return too_slow(READ_SECONDS)
            return refused_by("SQLite", error.sqlite_errorname, error)

    def _find(self, connection: _Connection, query: Query) -> bytes:
        parameters = Parameters()
        source = _source(query, parameters, connection)
        if not query.limit or not _exists(connection, query):
            return b"[]"
        order = order_by(query.order, parameters) or ("s.rank" if query.search else "")
        source += f"{order and ' ORDER BY ' + order} LIMIT :limit OFFSET :skip"
        rows = connection.execute(
            f"SELECT CAST(d.doc AS BLOB), d.ts, d.id {source}",
            {**parameters, "limit": query.limit, "skip": query.skip},
        )
        if query.projection or query.short:
            return page(query, ((part(doc, query), ts, id) for doc, ts, id in rows))
        return page(query, rows)

    def _count(self, connection: _Connection, query: Query) -> int:
        parameters = Parameters()
        source = _source(query, parameters, connection)
        if not _exists(connection, query):
            return 0
        if query.search:
            source = f"FROM (SELECT 1 {source} LIMIT {COUNTED + 1})"
        [number] = connection.execute(f"SELECT count(*) {source}", parameters).fetchone()
        return counted(number) if query.search else int(number)

    def _see_text(self, name: str) -> None:
        """Refuse a search whose index is not there."""
        collection = Collection(name)
        with self._connection() as connection:
            if not _has_fts5(connection):
                raise StoreRefused("search: this build of SQLite has no full-text search (FTS5)", field="search")
            if not collection.has_text(connection) or collection.text_gap(connection):
                raise not_searchable()

    def change(self, writes: Sequence[Write]) -> list[Written | StoreRefused]:
        return self._transaction(lambda connection: write_all(connection, writes)) if writes else []

    def claim(self, requests: Sequence[Once]) -> list[bool]:
        return self._transaction(lambda connection: claim_all(connection, requests))

    def health(self) -> dict[str, Any]:
        started = time.perf_counter()
        with self._connection() as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        latency = round((time.perf_counter() - started) * 1000, 3)
        pool = {"open": len(self._idle) + len(self._busy), "busy": len(self._busy)}
        return {"database": "sqlite", "version": sqlite3.sqlite_version, "latency_ms": latency, "pool": pool}

    def collections(self) -> list[str]:
        with self._connection() as connection:
            return sqlite_copying.collections_of(connection)

    def scan(self, collection: str, after: str, most: int) -> list[Kept]:
        with self._connection() as connection:
            ids = sqlite_copying.ids_after(connection, collection, after, most)
            return sqlite_copying.kept_of(connection, collection, ids)

    def kept(self, collection: str, ids: Sequence[str]) -> list[Kept]:
        with self._connection() as connection:
            return sqlite_copying.kept_of(connection, collection, ids)

    def restore(self, collection: str, kept: Sequence[Kept]) -> None:
        self._transaction(lambda connection: sqlite_copying.restore(connection, collection, kept))

    def claims(self, after: str, most: int) -> list[Once]:
        with self._connection() as connection:
            return sqlite_copying.claims_after(connection, after, most)

    def check(self) -> list[Finding]:
        if not self._path.exists():
            return [Finding("file", ABSENT, "the first store makes it")]
        with self._connection() as connection:
            return [*findings_of(self._path, connection)]

    def close(self) -> None:
        self._closing.set()
        while self._idle:
            self._idle.pop().close()


def _use_log(connection: sqlite3.Connection) -> None:
    """Write through a log (WAL). Of several that begin one at the same time SQLite refuses all but one at once, however
    long they would wait: those ask again."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _match(word: str) -> str:
    """A word of a search, as FTS5 wants it: also words that begin with it are found, unless it is so short that most
    do."""
    return f'"{word}"*' if len(word) >= BEGINNING else f'"{word}"'


def _has_fts5(connection: _Connection) -> bool:
    modules = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")
    return modules.fetchone() is not None


@functools.lru_cache(1000)
def _visible(viewer: int) -> tuple[str, Parameters]:
    """The condition that leaves out what others than the viewer alone may see, and its parameters. Few documents have
    that field, which costs less to see than what is in it."""
    parameters = Parameters("s")
    return f"(d.doc -> '$.{PRIVATE}' IS NULL OR NOT ({where(hidden(viewer), parameters)}))", parameters


def _exists(connection: _Connection, query: Query) -> bool:
    """Whether anything was ever written into the collection."""
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (query.collection,))
    return table.fetchone() is not None


def _source(query: Query, parameters: Parameters, connection: _Connection) -> str:
    """FROM and WHERE: the documents `d` that match. An equality on an indexed field leads, through its key `k`, whose
    order is the newest first; a search leads through what the full-text index found, `s`."""
    collection = Collection(query.collection)
    parameters.folded = collection.folded
    source = f"FROM {collection.docs} d"
    rest = dict(query.filter)
    given = [field for field in rest if equality(rest[field]) is not None]
    leading = next((field for field in collection.indexed if field in given), None)
    if given and not leading:
        leading = next((field for field in indexed(connection, collection.name) if field in given), None)
    if leading:
        wanted = equality(rest.pop(leading))
        value = parameters.add(key_value(fold(wanted) if leading in collection.folded else wanted))
        key = f"{collection.keys} k ON k.field = {parameters.add(leading)} AND k.value = {value} AND k.n = d.n"
        source += f" JOIN {key}"
        if leading in collection.folded:
            source += " AND k.ts = d.ts"
        parameters.columns["ts"] = "k.ts"
    if query.search:
        match = parameters.add(" OR ".join(map(_match, words(query.search))))
        found = f"SELECT rowid AS n, rank FROM {collection.text} WHERE {collection.text} MATCH {match}"
        source += f" JOIN ({found}) s ON s.n = d.n"
    if query.viewer is not None:
        seen, values = _visible(query.viewer)
        parameters |= values
        return f"{source} WHERE {where(rest, parameters)} AND {seen}"
    return f"{source} WHERE {where(rest, parameters)}"
