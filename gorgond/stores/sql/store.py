"""A store on a database of SQL, whatever its dialect."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from gorgond.errors import ConfigError, StoreAway, StoreRefused
from gorgond.redpill import now_ms
from gorgond.roles.row import Indexes
from gorgond.stores.contract import (
    Once,
    Query,
    Store,
    Write,
    Written,
    not_searchable,
    refused_by,
    share,
    too_slow,
)
from gorgond.stores.filters import check_query
from gorgond.stores.findings import Finding
from gorgond.stores.kept import Kept
from gorgond.stores.schema import DECLARED, TEXT
from gorgond.stores.sql import copying, indexing
from gorgond.stores.sql.dialect import Again, Dialect, Faulty, NoTable, Session, TooSlow
from gorgond.stores.sql.reading import Reading
from gorgond.stores.sql.selecting import fields_of
from gorgond.stores.sql.tables import COLUMNS, SEARCH, bare
from gorgond.stores.sql.writing import claim_all, sweep, write_all

T = TypeVar("T")

READ_SECONDS = 5.0  # for a batch of reads
REPEAT_SECONDS = 5.0  # for which a transaction is repeated that the database has undone
INDEX_STEP = 500  # documents put into an index in one transaction
INDEX_PAUSE = 0.02  # seconds between two
INDEX_LEASE = 10.0  # seconds that others leave a builder alone with its work
SWEEP_SECONDS = 60.0  # between two looks for tombstones of a collection that were kept long enough


class SqlStore(Store):
    """One database. Connections are kept, each used by one thread at a time."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._closing = threading.Event()
        self._builder = uuid.uuid4().hex  # who we are among those who make indexes
        self._swept: dict[str, float] = {}
        self._steady: dict[str, frozenset[str]] = {}  # indexes of the roles, which nobody drops, known to be whole

    # ---- connections

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A connection; one that failed is not used again."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._dialect.connect()
        self._busy.add(session)
        good = False
        try:
            if session.seconds < READ_SECONDS / 3:  # it was left to the last of a batch
                session.limit(READ_SECONDS / 2)
            yield session
            good = True
        except (Again, Faulty, NoTable, TooSlow, StoreRefused):
            good = True
            raise
        except StoreAway:  # the others are gone with the server: who asks next is not to meet each of them
            self._let_go()
            raise
        finally:
            self._busy.discard(session)
            if good and session.usable and not self._closing.is_set():
                self._idle.append(session)
            else:
                session.close()

    def _transaction(self, work: Callable[[Session], T]) -> T:
        """Do `work` within a transaction that is on the disk on return; again where the database undoes it because of
        another one."""
        until = time.monotonic() + REPEAT_SECONDS
        while True:
            try:
                with self._session() as session, _undone(session):
                    session.begin()
                    result = work(session)
                    session.commit()
                    return result
            except Again as again:
                if time.monotonic() > until:
                    raise StoreAway(f"{self._dialect.name}: undone again and again: {again}") from again
                time.sleep(random.uniform(0, 0.02))

    # ---- tables and indexes

    def prepare(self) -> None:
        for collection, each in DECLARED.items():
            self._make(collection)
            self.index(collection, each.newest, each.values)

    def _make(self, collection: str) -> None:
        """Make its tables. Raises ConfigError when there is one of that name that is none of ours."""
        with self._session() as session:
            session.make(collection)
            found = session.columns(bare(collection))
        if not {name for name, _ in found}.issuperset({"n", "id", *COLUMNS}):
            shapes = ", ".join(f"{name} {kind}" for name, kind in found)
            raise ConfigError(
                f"{self._dialect.name} has a table {bare(collection)!r} that is none of ours, with {shapes}; ours"
                f" has n, id, {', '.join(COLUMNS)}. Give gorgon a database of its own, or rename that table"
            )

    def index(self, collection: str, newest: Sequence[str], values: Sequence[str]) -> None:
        for field in dict.fromkeys([*newest, *values]):
            self._index(collection, field)

    def make_search(self) -> None:
        for collection in TEXT:
            self._index(collection, SEARCH)

    def _index(self, collection: str, what: str) -> None:
        """Make an index in small steps, one process at a time, going on where another one has stopped."""
        schema = self._dialect.schema
        with self._session() as session:
            begun = self._known(session, collection, what)
        if not begun:
            self._make(collection)
            self._transaction(lambda session: indexing.begin(session, schema, collection, what))

        def step(session: Session) -> None:
            until = now_ms() + int(INDEX_LEASE * 1000)
            indexing.fill(session, schema, collection, what, INDEX_STEP, self._builder, until)

        while not self._closing.is_set():
            with self._session() as session:
                gap = indexing.gap(session, schema, collection, what)
            if gap is None:
                return
            if gap.builder == self._builder or gap.until < now_ms():
                self._transaction(step)
            self._closing.wait(INDEX_PAUSE)

    def _known(self, session: Session, collection: str, what: str) -> bool:
        try:
            return what in indexing.known(session, self._dialect.schema, collection)
        except NoTable:
            return False

    def drop_index(self, collection: str, fields: Sequence[str]) -> None:
        for field in fields:
            self._drop(collection, field)

    def drop_search(self) -> bool:
        dropped = [self._drop(collection, SEARCH) for collection in TEXT]
        return any(dropped)

    def _drop(self, collection: str, what: str) -> bool:
        try:
            return self._transaction(lambda session: indexing.drop(session, self._dialect.schema, collection, what))
        except NoTable:
            return False

    # ---- reads

    def find(self, queries: Sequence[Query]) -> list[bytes | StoreRefused]:
        return self._read(queries, Reading.find, b"[]")

    def count(self, queries: Sequence[Query]) -> list[int | StoreRefused]:
        return self._read(queries, Reading.count, 0)

    def _read(self, queries: Sequence[Query], read: Callable[[Reading], T], nothing: T) -> list[T | StoreRefused]:
        """What `read` returns for each, or why it is refused; `nothing` of a collection that was never written."""
        until, answers = time.monotonic() + READ_SECONDS, list[T | StoreRefused]()
        for place, query in enumerate(queries):
            now = time.monotonic()
            left = share(until - now, len(queries) - place - 1)
            if len(queries) > 1:  # the same for each: a database is told of another time in a question of its own
                left = min(left, READ_SECONDS / 2)
            answers.append(self._answer_of(query, read, nothing, now + left))
        return answers

    def _answer_of(self, query: Query, read: Callable[[Reading], T], nothing: T, until: float) -> T | StoreRefused:
        try:
            check_query(query)
            with self._session() as session, _undone(session):
                session.limit(max(0.001, until - time.monotonic()))
                keyed = self._indexed(session, query)
                return read(Reading(session, self._dialect.schema, query, keyed, until))
        except StoreRefused as refused:
            return refused
        except NoTable:
            return not_searchable() if query.search else nothing
        except TooSlow:
            return too_slow(READ_SECONDS)
        except Faulty as faulty:
            return refused_by(self._dialect.name, faulty.code, faulty)

    def _indexed(self, session: Session, query: Query) -> frozenset[str]:
        """The fields by which documents are found: within a transaction, for as long as this query is answered, where
        one may be done away with meanwhile. Raises StoreRefused when there is no index for its search."""
        steady = self._steady.get(query.collection, frozenset())
        if not query.search and steady.issuperset(fields_of(query.filter)):
            return steady
        session.begin_reading()
        there = indexing.whole(session, self._dialect.schema, query.collection)
        if query.search and SEARCH not in there:
            raise not_searchable()
        declared = DECLARED.get(query.collection, Indexes())
        self._steady[query.collection] = there & {*declared.newest, *declared.values}
        return there

    # ---- writes

    def change(self, writes: Sequence[Write]) -> list[Written | StoreRefused]:
        if not writes:
            return []
        done = self._change(writes)
        for collection in {write.collection for write in writes if write.kind == "delete" and write.checked}:
            if self._swept.get(collection, 0.0) < time.monotonic() - SWEEP_SECONDS:
                self._swept[collection] = time.monotonic()
                self._transaction(lambda session, name=collection: sweep(session, self._dialect.schema, name))  # type: ignore[misc]
        return done

    def _change(self, writes: Sequence[Write]) -> list[Written | StoreRefused]:
        def work() -> list[Written | StoreRefused]:
            return self._transaction(lambda session: write_all(session, self._dialect.schema, writes))

        try:
            return self._made(work, lambda: {write.collection for write in writes if write.checked})
        except Faulty as faulty:
            if len(writes) > 1:  # whose fault it is shows when each is done by itself
                return [done for write in writes for done in self._change([write])]
            return [refused_by(self._dialect.name, faulty.code, faulty)]

    def _made(self, work: Callable[[], T], collections: Callable[[], set[str]]) -> T:
        """Do `work`, and once more when tables were missing, which are made."""
        try:
            return work()
        except NoTable:
            for collection in sorted(collections()):
                self._make(collection)
            return work()

    def claim(self, requests: Sequence[Once]) -> list[bool]:
        return self._made(
            lambda: self._transaction(lambda session: claim_all(session, self._dialect.schema, requests)),
            lambda: set(DECLARED),
        )

    # ---- what is moved

    def collections(self) -> list[str]:
        with self._session() as session:
            return copying.collections_of(session)

    def scan(self, collection: str, after: str, most: int) -> list[Kept]:
        return self._looked(lambda session: copying.scan(session, self._dialect.schema, collection, after, most), [])

    def kept(self, collection: str, ids: Sequence[str]) -> list[Kept]:
        return self._looked(
            lambda session: copying.kept_of(session, self._dialect.schema, collection, ids), [Kept(id) for id in ids]
        )

    def restore(self, collection: str, kept: Sequence[Kept]) -> None:
        def work(session: Session) -> None:
            copying.restore(session, self._dialect.schema, collection, kept)

        self._made(lambda: self._transaction(work), lambda: {collection})

    def claims(self, after: str, most: int) -> list[Once]:
        return self._looked(lambda session: copying.claims_after(session, self._dialect.schema, after, most), [])

    def _looked(self, look: Callable[[Session], T], nothing: T) -> T:
        """What `look` returns, or `nothing` where there is no such table."""
        try:
            with self._session() as session:
                return look(session)
        except NoTable:
            return nothing

    # ---- itself

    def check(self) -> list[Finding]:
        with self._session() as session:
            return [Finding("version", f"{self._dialect.name} {self._dialect.version(session)}"), *session.findings()]

    def health(self) -> dict[str, Any]:
        started = time.perf_counter()
        with self._session() as session:
            version = self._dialect.version(session)
        latency = round((time.perf_counter() - started) * 1000, 3)
        pool = {"open": len(self._idle) + len(self._busy), "busy": len(self._busy)}
        return {"database": self._dialect.name.lower(), "version": version, "latency_ms": latency, "pool": pool}

    def close(self) -> None:
        self._closing.set()
        self._let_go()
        self._dialect.close()

    def _let_go(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            with suppress(IndexError):  # another thread takes the last one
                self._idle.pop().close()


@contextmanager
def _undone(session: Session) -> Iterator[None]:
    """Whatever is still begun at the end is undone."""
    try:
        yield
    finally:
        session.rollback()
