"""The contract of every database driver: batches in, batches out.

A driver is safe to call from several threads. Its calls block; they are made from threads that have nothing else to
do. Every method raises `StoreAway` when the database cannot be reached: nothing is lost by calling again with the
same batch. A fault of one request of a batch comes back in that request's place as `StoreRefused` and does not touch
its neighbours.

Documents are JSON objects. Outside a driver their key is `id` (a string that the writer chose), and `ts` (milliseconds
since 1970) says which of two versions is the newer. A driver checks every query and write with `stores.filters`.
A batch of reads has one time limit, well below the silence that others take for a consumer's death. One for which it
does not suffice, as a filter without an index over very many documents, is refused with 504, "took too long"; those
that were asked together with it are answered.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from gorgond.errors import StoreRefused
from gorgond.redpill import canonical
from gorgond.stores.findings import Finding
from gorgond.stores.kept import Kept

log = logging.getLogger(__name__)

ANSWER_BYTES = 15 * 1024 * 1024
"""Of one find, with room for what is put around it within redpill's 16 MB; a reader who asks for more gets a part, not
a process without memory."""

COUNTED = 10_000
"""Of what a search finds so many are counted: to count all with a frequent word may take longer than a read has."""

Sort = Sequence[tuple[str, int]]
"""The fields of a sort, each with 1 or -1."""

Kind = Literal["insert", "replace", "patch", "delete"]
Effect = Literal["stored", "exists", "conflict", "stale", "missing", "deleted"]


@dataclass(frozen=True, slots=True)
class Query:
    """One find or count. `filter` as in `stores.filters`; `sort` is ((field, 1 or -1), …), without it the order is the
    database's choice, with it that of `order`; `limit` 0 finds nothing; `search` finds the documents with any of its
    words in title or body, the best first unless there is a sort; `projection` lists the fields of the top level wanted
    besides `id` (empty: all); `short` cuts their texts to so many characters (0: as they are). With a `viewer`, the
    number of the user who asks, nothing is found that is private to another one (`stores.ownership`)."""

    collection: str
    filter: Mapping[str, Any]
    sort: tuple[tuple[str, int], ...] = ()
    limit: int = 20
    skip: int = 0
    projection: tuple[str, ...] = ()
    search: str = ""
    short: int = 0
    viewer: int | None = None

    @property
    def order(self) -> Sort:
        """The sort as it is done."""
        return ended(self.sort)


def ended(sort: Sort) -> Sort:
    """A sort that leaves nothing open: `id` ends it, in the direction of its last field."""
    if not sort or any(field == "id" for field, _ in sort):
        return sort
    return (*sort, ("id", sort[-1][1]))


@dataclass(slots=True)
class Write:
    """One change of one document. To be treated as a value; it is not frozen, as `redpill.Message` is not. Its `id` and
    `ts` are those of the write, whatever `document` has under these keys.

    insert   a document with this id is stored, unless there is one already: `exists` if that one was written first with
             the same content, whatever became of it since (a repeat is no second item), `conflict` if with other
    replace  stored in the place of what is there
    patch    the top-level fields of `document` are set, those given as None are removed; `missing`
             With `unchanged` it is `stale` unless what is stored has that very `ts`
    delete   `deleted`, also when it was deleted before; `missing` when it was never there

    Which of two versions is the newer: a `dated` write has a `ts` that its writer chose. It is `stale` if what is
    stored, or the delete of it, has a newer one. A write that is not dated comes after whatever is there: its `ts` is
    when it was sent, or one more than that of what is stored or was deleted, whichever is later. The database decides
    that in the statement that writes.

    A write may come again, when the store server that had it died or an answer was lost. The driver does not do it
    again, although others changed the document meanwhile: `by`, what its message is known by, is kept in the document
    with those of the last changes (`stores.repeats`), and a change that finds its own there is answered as before. A
    delete takes them along into a tombstone, kept for a day, and a write that makes the document again takes them out
    of it. So an insert or replace that was done, and whose document was deleted since, is `deleted` and does not bring
    it back; neither does a dated one that is older than the delete.

    With an `asker`, the number of the user who asks, a write that touches another registered user's is refused
    (`stores.ownership`).
    """

    kind: Kind
    collection: str
    id: str
    ts: int
    document: Mapping[str, Any]
    asker: int | None = None
    dated: bool = True
    by: str = ""
    unchanged: int | None = None
    checked: bool = field(default=False, init=False, compare=False)  # by `filters.check_write`, and found good
    _said: bytes = field(default=b"", init=False, compare=False, repr=False)

    def content_bytes(self) -> bytes:
        """What the writer says of the document, in canonical JSON: not the id, nor a `ts` that is not the writer's.
        It is encoded once, for all who need it. Raises TypeError or ValueError for what is no JSON."""
        if not self._said:
            self._said = canonical_of(self.document, self.ts if self.dated else None)
        return self._said


def canonical_of(document: Mapping[str, Any], ts: Any) -> bytes:
    """A document in canonical JSON, without its id, and with this `ts` if there is one."""
    said = dict(document)
    said.pop("id", None)
    said.pop("ts", None)
    if ts is not None:
        said["ts"] = ts
    return canonical(said)


@dataclass(frozen=True, slots=True)
class Once:
    """A request that its client may send again under the `key` that it chose; `said` is the fingerprint of all it asks
    for."""

    key: str
    said: str


class Written(NamedTuple):
    """The outcome of a write; `ts` is that of the document now. `again`: it was done before, and nothing now."""

    effect: Effect
    ts: int
    again: bool = False


class Page(bytes):
    """An answer to a find that is not all there is. One that is `cut` lacks documents for which there was no room.
    Others may follow after the cursor `next`, unless that is empty (`stores.paging`)."""

    cut: bool
    next: str

    def __new__(cls, documents: bytes, cut: bool, next: str) -> Self:
        made = super().__new__(cls, documents)
        made.cut, made.next = cut, next
        return made


class AtLeast(int):
    """An answer to a count that counted no further."""


def counted(number: int) -> int:
    """The answer to a count of what a search finds, which stopped above COUNTED."""
    return AtLeast(COUNTED) if number > COUNTED else number


def shorten(document: dict[str, Any], most: int) -> None:
    """Cut the texts in the fields of a document to so many characters."""
    for name, value in document.items():
        if type(value) is str and len(value) > most and name != "id":
            document[name] = value[:most]


def refused_by(database: str, code: object, words: object) -> StoreRefused:
    """The refusal for a request that the database itself refuses: its code, and not its words, which may tell of paths,
    hosts and what others have stored. The log has them."""
    log.info("%s refuses this with %s: %.1000s", database, code, words)
    return StoreRefused(f"the database refuses this ({database} {code}); the log of the store has its reason")


def too_slow(seconds: float) -> StoreRefused:
    """The refusal for those of a batch of reads for which the batch's time did not suffice."""
    return StoreRefused(f"took too long: what is asked together has {seconds:g} s", 504)


def share(left: float, others: int) -> float:
    """The part of the time that is left to a batch of reads for one after which `others` come: half, so that those
    which are quick are answered behind one that is slow."""
    return left / 2 if others else left


def not_searchable() -> StoreRefused:
    """The refusal for a search until the index for it is there."""
    return StoreRefused("search: the index for it is being made; ask again in a while", 503)


class Store(ABC):
    """One database. Implementations: `sqlite.SqliteStore`, `mongo.MongoStore`, `sql.store.SqlStore`. It is made with
    its URL, of which it may raise ConfigError; nothing is connected yet."""

    @abstractmethod
    def prepare(self) -> None:
        """Make collections and indexes, without blocking readers and writers; may be called by several at once."""

    @abstractmethod
    def index(self, collection: str, newest: Sequence[str], values: Sequence[str]) -> None:
        """Make indexes of these fields, by the names of the top level that are safe in a statement: for the documents
        with a value, the newest first, and for those with a value or with any of a list. The same way as `prepare`, and
        whoever writes meanwhile keeps them, an older version too; returns when they are there, or the store was closed.
        An index that is there already costs a look."""

    @abstractmethod
    def drop_index(self, collection: str, fields: Sequence[str]) -> None:
        """Do away with the indexes of these fields that `index` has made, if there are any. On SQLite writers wait for
        it, some seconds with a million documents."""

    @abstractmethod
    def make_search(self) -> None:
        """Make the indexes for searches, the same way; returns when they are there, or the store was closed. Until then
        a search is refused with 503. Raises StoreRefused when the database will not have them."""

    def keep_search(self) -> None:  # noqa: B027 - most have nothing to do
        """Do what is left to be done for them beside the writes; called again and again when they are there. Raises
        StoreRefused, too."""

    @abstractmethod
    def drop_search(self) -> bool:
        """Do away with them, and with what they cost a write; whether there were any. On SQLite writers wait for it,
        some 20 s with a million notes."""

    @abstractmethod
    def find(self, queries: Sequence[Query]) -> list[bytes | StoreRefused]:
        """Each query's documents as one JSON array, in bytes: what `paging.page` makes of them."""

    @abstractmethod
    def count(self, queries: Sequence[Query]) -> list[int | StoreRefused]:
        """How many documents match each query's filter and search; limit and skip do not count. Of a search with more
        than COUNTED it is AtLeast(COUNTED)."""

    @abstractmethod
    def change(self, writes: Sequence[Write]) -> list[Written | StoreRefused]:
        """Do the writes in their order, durably: what is reported stored survives SIGKILL of us and of the database."""

    @abstractmethod
    def claim(self, requests: Sequence[Once]) -> list[bool]:
        """Whether each is the one request of its key: the first, or the same again. The driver keeps the use of a key
        as durably as documents, for a day (`schema.TOMBSTONE_SECONDS`)."""

    def write(self, writes: Sequence[Write]) -> list[Effect | StoreRefused]:
        """The same, for callers that want to know the effects alone."""
        return [done.effect if isinstance(done, Written) else done for done in self.change(writes)]

    @abstractmethod
    def health(self) -> dict[str, Any]:
        """Ask the database for a sign of life: {"database": name, "version": …, "latency_ms": …, "pool":
        {"open", "busy"}}, the connections that this process has and those of them in use."""

    def check(self) -> Iterable[Finding]:
        """Look how the database is set up: its version, its size, and what it does to keep what it confirms. A store
        does not start where that breaks a promise. A driver need not have anything to tell."""
        return ()

    # What a move to another database takes (`commands.copying`); a driver without it cannot be moved from or to.

    def collections(self) -> list[str]:
        """The names of the collections that are there."""
        raise self._fixed()

    def scan(self, collection: str, after: str, most: int) -> list[Kept]:
        """The next `most` of what is kept, after that id, in the order of the ids (of their bytes in UTF-8)."""
        raise self._fixed()

    def kept(self, collection: str, ids: Sequence[str]) -> list[Kept]:
        """What is kept under each of these different ids, in their order; an empty one where there is nothing."""
        raise self._fixed()

    def restore(self, collection: str, kept: Sequence[Kept]) -> None:
        """Keep these, as durably as writes, in the place of all that is kept under their ids. Nobody else writes
        meanwhile."""
        raise self._fixed()

    def claims(self, after: str, most: int) -> list[Once]:
        """The next `most` of the requests that have used a key, after that key, in the order of keys."""
        raise self._fixed()

    def _fixed(self) -> StoreRefused:
        return StoreRefused(f"{type(self).__name__} cannot be moved from, nor to", 501)

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection."""
