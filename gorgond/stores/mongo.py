"""MongoDB through pymongo: `mongodb://host:port/database` or `mongodb+srv://…`; without a database's name, `gorgon`.

Works with pymongo 3.11 (Debian 12) and newer. Writes are journaled, and on a replica set by a majority, before they
are reported; how they come to their exact effects is in `stores.mongo_writes`.

A batch of reads is asked in as few commands as there are kinds of questions in it. The common one, "the newest ten
where this field is that", costs Python and mongod about a third when 32 of them travel together (see `_lookup`).
"""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from gorgond.errors import ConfigError, StoreAway, StoreDenied, StoreRefused

try:
    from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
    from bson.errors import BSONError
    from pymongo import IndexModel, MongoClient
    from pymongo.database import Database
    from pymongo.errors import ConfigurationError, DocumentTooLarge, InvalidURI, OperationFailure
except ImportError as error:
    raise ConfigError(f"mongodb:// needs pymongo (apt install python3-pymongo): {error}") from error

from gorgond.redpill import dumps
from gorgond.stores.contract import (
    ANSWER_BYTES,
    Once,
    Query,
    Store,
    Write,
    Written,
    refused_by,
    share,
    shorten,
    too_slow,
)
from gorgond.stores.filters import check_query, equality
from gorgond.stores.findings import Finding
from gorgond.stores.kept import Kept
from gorgond.stores.mongo_address import demand_majority
from gorgond.stores.mongo_check import findings_of
from gorgond.stores.mongo_commands import COPIES, FIRST, MARKS, PUT, copy_of, reachable
from gorgond.stores.mongo_copying import Copying
from gorgond.stores.mongo_folding import fold_all, whatever_case
from gorgond.stores.mongo_indexing import NOT_PUT, WAIT, Indexing
from gorgond.stores.mongo_pool import PoolCount
from gorgond.stores.mongo_requests import claim_all
from gorgond.stores.mongo_search import Search
from gorgond.stores.mongo_words import Words
from gorgond.stores.mongo_writes import write_batch
from gorgond.stores.ownership import hidden
from gorgond.stores.paging import ended_by, has_pages, page
from gorgond.stores.schema import (
    DECLARED,
    FOLDED,
    REQUESTS,
    TEXT,
    TOMBSTONE_SECONDS,
    TOMBSTONES,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

READ_MS = 5000
"""For a batch of reads."""

_NEWEST = [("ts", -1), ("_id", -1)]
"""The end of the indexes in which the newest come first; the id is in them, as it ends every sort."""

OWN = (FIRST, MARKS, PUT, *COPIES)
"""The fields that a document has for the driver alone."""

LOOKUP_LIMIT = 100
"""Queries with a larger limit are asked one by one: together they might not fit into one document of 16 MB."""

INDEX_NOT_FOUND, TOOK_TOO_LONG = 27, 50

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - bson's dates have no zone and are UTC

OPTIONS: dict[str, Any] = {
    "appname": "gorgond",
    "serverSelectionTimeoutMS": 2000,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": READ_MS + 3000,
    # A majority of one is what a mongod without replica set takes it for.
    "w": "majority",
    "journal": True,
    "wTimeoutMS": READ_MS,
    # A repeated insert would find itself and be reported as `exists`; the caller repeats whole batches.
    "retryWrites": False,
}


class _Milliseconds(TypeDecoder):
    """Dates leave as milliseconds since 1970, like `ts`. (orjson would write them as text, without asking us.)"""

    bson_type = datetime

    def transform_bson(self, value: datetime) -> int:
        return (value - EPOCH) // timedelta(milliseconds=1)


CODEC: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=TypeRegistry([_Milliseconds()]))


class MongoStore(Store):
    """One MongoDB database, one pool of connections for all threads."""

    def __init__(self, url: str) -> None:
        demand_majority(url)
        self._url = url
        self._pool = PoolCount()
        self._who = os.urandom(8)  # among the stores that make the index for searches
        self._making = threading.Lock()
        self._closing = threading.Event()
        self._indexes: dict[str, Indexing] = {}  # for searches, that writes keep
        self._made: Database[dict[str, Any]] | None = None
        self._failure, self._failed = "", 0.0  # why the last lookup of its addresses failed, and when
        self._has_lookup: bool | None = None
        with suppress(StoreAway):  # of mongodb+srv://, whose addresses are looked up now; later then
            self._make()

    @property
    def _db(self) -> Database[dict[str, Any]]:
        return self._made if self._made is not None else self._make()

    def _make(self) -> Database[dict[str, Any]]:
        asked = time.monotonic()
        with self._making:
            if self._made is None:
                if self._failed > asked:  # while we waited for who was looking
                    raise StoreAway(self._failure)
                try:
                    client = self._connect(event_listeners=[self._pool])
                except StoreAway as away:
                    self._failure, self._failed = str(away), time.monotonic()
                    raise
                self._made = client.get_default_database("gorgon", codec_options=CODEC)
            return self._made

    def _connect(self, **options: Any) -> MongoClient[dict[str, Any]]:
        try:
            return MongoClient(self._url, **{**OPTIONS, **options})
        except (InvalidURI, ConfigurationError, ValueError) as error:
            if "dnspython" in str(error):
                raise ConfigError("mongodb+srv:// needs dnspython (apt install python3-dnspython)") from error
            if _in_vain(error):
                raise StoreAway(f"MongoDB's addresses could not be looked up: {error}") from error
            # The driver's words about a URL may hold part of a password that was not quoted.
            why = error if type(error) is ConfigurationError else "in user and password / is %2F, @ is %40, and so on"
            raise ConfigError(f"not a usable mongodb:// URL: {why}") from error

    def prepare(self) -> None:
        for collection, each in DECLARED.items():
            self.index(collection, each.newest, each.values)
            if each.by_time:
                self._try_index(collection, _NEWEST, instead=_NEWEST[:1])
        for remembered in (TOMBSTONES, REQUESTS):
            self._try_index(remembered, [("at", 1)], expireAfterSeconds=TOMBSTONE_SECONDS)
        for collection, fields in FOLDED.items():
            for field in fields:
                self._try_index(collection, [(copy_of(field), 1)], sparse=True)
                with reachable(), self._connect(socketTimeoutMS=None) as client:
                    fold_all(client[self._db.name][collection], field)

    def index(self, collection: str, newest: Sequence[str], values: Sequence[str]) -> None:
        for field in newest:
            self._try_index(collection, [(field, 1), *_NEWEST], instead=[(field, 1), *_NEWEST[:1]])
        for field in values:
            # Not sparse: such an index makes {$gte: null} miss the documents without the field (MongoDB 6.0).
            self._try_index(collection, [(field, 1)])

    def drop_index(self, collection: str, fields: Sequence[str]) -> None:
        ours = [[(field, 1), *_NEWEST[:end]] for field in fields for end in range(3)]
        self._drop(collection, lambda about: list(about["key"].items()) in ours)

    def make_search(self) -> None:
        for name in TEXT:
            self._drop(name, lambda about: "textIndexVersion" in about)  # what an earlier version has made
            indexing = Indexing(self._db, name, self._who)
            while not (self._closing.is_set() or indexing.is_begun()):
                if not indexing.has_turn():
                    self._closing.wait(WAIT)
                    continue
                with self._patient() as db:
                    Indexing(db, name).forget()
                try:
                    self._make_index(name, [(PUT, 1)], name=NOT_PUT, partialFilterExpression={PUT: None})
                except OperationFailure as error:
                    raise StoreRefused(str(error)) from error
            self._try_index(
                indexing.words.collection.name,
                [("tier", 1), ("bucket", 1), ("_id", 1)],
                partialFilterExpression={"tier": {"$exists": True}},
            )
            self._indexes[name] = indexing
            indexing.fill(self._closing)

    def keep_search(self) -> None:
        for indexing in self._indexes.values():
            indexing.keep(self._closing)

    def drop_search(self) -> bool:
        self._indexes.clear()
        dropped = False
        for name in TEXT:
            dropped |= self._drop(name, lambda about: "textIndexVersion" in about or PUT in about["key"])
            with reachable():
                self._db.drop_collection(Words(self._db, name).collection.name)
        return dropped

    def _drop(self, name: str, unwanted: Callable[[Mapping[str, Any]], bool]) -> bool:
        """Do away with those of a collection's indexes that are unwanted; whether there were any."""
        collection, dropped = self._db[name], False
        with reachable():
            try:
                for index, about in collection.index_information().items():
                    if unwanted({**about, "key": dict(about["key"])}):
                        collection.drop_index(index)
                        dropped = True
            except OperationFailure as error:
                if error.code != INDEX_NOT_FOUND:  # another store was faster
                    raise StoreRefused(str(error)) from error
        return dropped

    def _try_index(
        self, collection: str, keys: Sequence[tuple[str, Any]], instead: Sequence[tuple[str, Any]] = (), **options: Any
    ) -> None:
        """Make an index `instead` of that of an older version, or say why we must do without."""
        try:
            self._make_index(collection, keys, **options)
        except OperationFailure as error:
            log.warning("index on %s %s was not made: %s", collection, keys, error)
        else:
            if not instead:
                return
            try:
                self._drop(collection, lambda about: [*about["key"].items()] == [*instead])
            except (StoreRefused, StoreDenied) as error:  # as while another store makes an index of this collection
                log.info("the index on %s %s of an older version stays for now: %s", collection, instead, error)

    def _make_index(self, collection: str, keys: Sequence[tuple[str, Any]], **options: Any) -> None:
        """Make an index unless it is there. Readers and writers go on (`background` is for servers before 4.2); we
        wait until it is built, however long that takes, hence a connection of its own without a time limit."""
        index = IndexModel([*keys], background=True, **options)
        with reachable(), self._patient() as db:
            hello = db.client.admin.command("ismaster")
            # Unless told so, a replica set waits for all its members, also for one that is down. A single server, and
            # one before 4.4, does not know the word.
            quorum: dict[str, Any] = (
                {"commitQuorum": "majority"} if "setName" in hello and hello["maxWireVersion"] >= 9 else {}
            )
            db[collection].create_indexes([index], **quorum)

    @contextmanager
    def _patient(self) -> Iterator[Database[dict[str, Any]]]:
        """The database over a connection without a time limit."""
        with self._connect(socketTimeoutMS=None) as client:
            yield client[self._db.name]

    def find(self, queries: Sequence[Query]) -> list[bytes | StoreRefused]:
        answers: list[bytes | StoreRefused] = [b"[]"] * len(queries)
        groups: dict[object, list[int]] = {}
        until = _deadline()
        for place, query in enumerate(queries):
            try:
                check_query(query)
            except StoreRefused as error:
                answers[place] = error
                continue
            if query.limit:
                groups.setdefault(_shape(query) or place, []).append(place)
        others = sum(map(len, groups.values()))
        for places in groups.values():
            others -= len(places)
            alike = [queries[place] for place in places]
            for place, answer in zip(places, self._find_alike(alike, until, others), strict=True):
                answers[place] = answer
        return answers

    def _find_alike(self, queries: list[Query], until: float, others: int) -> Iterable[bytes | StoreRefused]:
        """The answers to queries of one shape: together, or one by one where together does not work. So many `others`
        come after them."""
        if len(queries) > 1 and (left := _ms_until(until)):
            try:
                if "id" in queries[0].filter:
                    return self._find_ids(queries, left)
                if self._lookup_works():
                    return self._lookup(queries, left // 2 + 1)  # so that one by one there is time for the quick ones
            except (OperationFailure, BSONError, TypeError, ValueError) as error:
                log.info("%d finds in %s go one by one: %s", len(queries), queries[0].collection, error)
        after = range(others + len(queries) - 1, others - 1, -1)
        return [self._find_one_by_one(query, until, behind) for query, behind in zip(queries, after, strict=True)]

    def _find_ids(self, queries: list[Query], milliseconds: int) -> list[bytes]:
        """Several documents by id: one find."""
        first, ids = queries[0], [_equality(query)[1] for query in queries]
        with reachable():
            cursor = self._db[first.collection].find(
                {"_id": {"$in": ids}, **_visible(first)},
                _projection(first),
                batch_size=len(ids) + 1,
                max_time_ms=milliseconds,
            )
            found = {document["_id"]: document for document in cursor}
        answers = {id: _answer(first, [document]) for id, document in found.items()}
        return [answers.get(id, b"[]") for id in ids]

    def _lookup(self, queries: list[Query], milliseconds: int) -> list[bytes]:
        """Several equality queries as one aggregate: a document a query, joined with its answers.

        Measured on a busy machine, answers of 10 documents of 2 kB, in µs of CPU a query, Python + mongod: one query
        alone (a find) 564 + 356; this with 8 queries 160 + 235, with 32 queries 166 + 226.
        """
        first = queries[0]
        field = _equality(first)[0]
        # $literal, or a value like "$ts" would be taken for a field.
        asked = [{"n": n, "u": {"$literal": _equality(query)[1]}} for n, query in enumerate(queries)]
        each: list[dict[str, Any]] = [{"$match": seen}] if (seen := _visible(first)) else []
        if first.sort:
            each.append({"$sort": _sort(first)})
        if first.skip:
            each.append({"$skip": first.skip})
        each.append({"$limit": first.limit})
        if first.projection:
            each.append({"$project": _projection(first)})
        joined = {"from": first.collection, "localField": "u", "foreignField": field, "pipeline": each, "as": "i"}
        answers = [b"[]"] * len(queries)
        with reachable():
            pipeline: list[dict[str, Any]] = [{"$documents": asked}, {"$lookup": joined}]
            for row in self._db.aggregate(pipeline, batchSize=len(queries) + 1, maxTimeMS=milliseconds):
                answers[row["n"]] = _answer(first, row["i"])
        return answers

    def _lookup_works(self) -> bool:
        """Whether the server knows $documents and $lookup with both fields and a pipeline: MongoDB 5.1. Asked once."""
        if self._has_lookup is None:
            with reachable():
                self._has_lookup = self._db.client.server_info()["versionArray"][:2] >= [5, 1]
        return self._has_lookup

    def _find_one_by_one(self, query: Query, until: float, others: int) -> bytes | StoreRefused:
        def ask(milliseconds: int) -> bytes:
            if query.search:
                found = Search(self._db, query, _filter(query), milliseconds).find(_sort(query), _projection(query))
                return page(query, _encoded(query, found))
            cursor = self._db[query.collection].find(
                _filter(query),
                _projection(query),
                sort=list(_sort(query).items()) or None,
                skip=query.skip,
                limit=query.limit,
                batch_size=query.limit,
                max_time_ms=milliseconds,
            )
            with closing(cursor):
                return page(query, _encoded(query, cursor))

        return self._ask_within(query, ask, until, others)

    def count(self, queries: Sequence[Query]) -> list[int | StoreRefused]:
        until = _deadline()
        return [self._count(query, until, len(queries) - place - 1) for place, query in enumerate(queries)]

    def _count(self, query: Query, until: float, others: int) -> int | StoreRefused:
        try:
            check_query(query)
        except StoreRefused as error:
            return error

        def ask(milliseconds: int) -> int:
            if query.search:
                return Search(self._db, query, _filter(query), milliseconds).count()
            return self._db[query.collection].count_documents(_filter(query), maxTimeMS=milliseconds)

        return self._ask_within(query, ask, until, others)

    def _ask_within(self, query: Query, ask: Callable[[int], T], until: float, others: int) -> T | StoreRefused:
        """What `ask` returns when given its milliseconds of those left, or why the server refuses this query."""
        if not (left := int(share(_ms_until(until), others))):
            return too_slow(READ_MS / 1000)
        try:
            with reachable():
                return ask(left)
        except StoreRefused as refused:
            return refused
        except OperationFailure as error:
            if error.code == TOOK_TOO_LONG:
                return too_slow(READ_MS / 1000)
            return refused_by("MongoDB", error.code, error)
        except DocumentTooLarge:  # the question, since searches name what may be found
            return StoreRefused("search: too many documents may have these words; ask for others", field="search")
        except (BSONError, TypeError, ValueError) as error:
            log.info("a document of %s found cannot be written as JSON: %s", query.collection, error)
            return StoreRefused("a document found cannot be written as JSON", 500)

    def change(self, writes: Sequence[Write]) -> list[Written | StoreRefused]:
        # Those of now: what is begun in the middle of a batch would have marks on what was not put in.
        return write_batch(self._db, writes, {name: each.words for name, each in self._indexes.items()})

    def claim(self, requests: Sequence[Once]) -> list[bool]:
        return claim_all(self._db, requests)

    def health(self) -> dict[str, Any]:
        started = time.perf_counter()
        with reachable():
            version = self._db.client.server_info()["version"]
        latency = round((time.perf_counter() - started) * 1000, 3)
        pool = {"open": self._pool.open, "busy": self._pool.busy}
        return {"database": "mongodb", "version": version, "latency_ms": latency, "pool": pool}

    def collections(self) -> list[str]:
        return self._copying.collections()

    def scan(self, collection: str, after: str, most: int) -> list[Kept]:
        return self._copying.kept(collection, self._copying.ids_after(collection, after, most))

    def kept(self, collection: str, ids: Sequence[str]) -> list[Kept]:
        return self._copying.kept(collection, ids)

    def restore(self, collection: str, kept: Sequence[Kept]) -> None:
        self._copying.restore(collection, kept)

    def claims(self, after: str, most: int) -> list[Once]:
        return self._copying.claims(after, most)

    @property
    def _copying(self) -> Copying:
        return Copying(self._db, _plain)

    def check(self) -> list[Finding]:
        return [*findings_of(self._db)]

    def close(self) -> None:
        self._closing.set()
        if self._made is not None:
            self._made.client.close()


def _in_vain(error: Exception) -> bool:
    """Whether the driver's error says that nobody answered where addresses were looked up."""
    why = error.__cause__ or error.__context__
    return isinstance(why, OSError) or type(why).__module__ in ("dns.resolver", "dns.exception")


def _deadline() -> float:
    """When a batch of reads that begins now must be done, by the monotonic clock."""
    return time.monotonic() + READ_MS / 1000


def _ms_until(until: float) -> int:
    """Milliseconds until then; 0 when it has passed."""
    return max(0, int((until - time.monotonic()) * 1000))


def _equality(query: Query) -> tuple[str, Any]:
    """The field and the value of a filter that is one equality."""
    [(field, condition)] = query.filter.items()
    return field, equality(condition)


def _shape(query: Query) -> object:
    """The shape that queries have in common which can be asked together; None if this one must be asked by itself."""
    if query.search or len(query.filter) != 1 or query.limit > LOOKUP_LIMIT:
        return None
    field, value = _equality(query)
    if field == "id":
        same = query.collection, field, query.projection, query.short, query.viewer
        return same if isinstance(value, str) and not query.skip else None
    if value is None or field.startswith(("id.", "$")) or field in FOLDED.get(query.collection, ()):
        return None
    asked = query.sort, query.limit, query.skip, query.projection, query.short
    return query.collection, field, query.viewer, *asked


def _field(field: str) -> str:
    return "_" + field if field == "id" or field.startswith("id.") else field


def _conditions(filter: Mapping[str, Any], collection: str) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    more: list[dict[str, Any]] = []
    for field, condition in filter.items():
        if field in ("$and", "$or"):
            conditions[field] = [_conditions(part, collection) for part in condition]
        elif field in FOLDED.get(collection, ()):
            more.extend(whatever_case(field, condition))
        else:
            conditions[_field(field)] = condition
    return {"$and": [conditions, *more]} if more else conditions


def _filter(query: Query) -> dict[str, Any]:
    conditions = _conditions(query.filter, query.collection)
    if seen := _visible(query):
        conditions = {"$and": [conditions, seen]} if conditions else seen
    return conditions


def _visible(query: Query) -> dict[str, Any]:
    """The condition that leaves out what others than the viewer alone may see."""
    return {} if query.viewer is None else {"$nor": [hidden(query.viewer)]}


def _sort(query: Query) -> dict[str, Any]:
    return {_field(field): direction for field, direction in query.order}


def _projection(query: Query) -> dict[str, Any] | None:
    if not query.projection:
        return None
    place = ("ts",) if has_pages(query.sort) else ()
    return {_field(field): 1 for field in (*query.projection, *place)}


def _answer(query: Query, documents: list[dict[str, Any]]) -> bytes:
    """All of these, the answer to a query."""
    places = [(each.get("ts"), each["_id"]) for each in documents]
    whole = _json(query, documents)
    if len(whole) <= ANSWER_BYTES:
        return ended_by(query, whole, len(places), *(places[-1] if places else (None, None)))
    return page(query, ((dumps(each, _plain), *place) for each, place in zip(documents, places, strict=True)))


def _encoded(query: Query, documents: Iterable[dict[str, Any]]) -> Iterator[tuple[bytes, Any, Any]]:
    """Each as it is told, with its place."""
    for document in documents:
        ts, id = document.get("ts"), document["_id"]
        yield _json(query, [document])[1:-1], ts, id


def _json(query: Query, documents: list[dict[str, Any]]) -> bytes:
    unasked = [*OWN] if not query.projection or "ts" in query.projection else [*OWN, "ts"]
    for document in documents:
        document["id"] = document.pop("_id")
        for field in unasked:
            document.pop(field, None)
        if query.short:
            shorten(document, query.short)
    return dumps(documents, _plain)


def _plain(value: Any) -> Any:
    """What JSON does not know: bytes as base64, ObjectId, Decimal128 and all others as their text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
