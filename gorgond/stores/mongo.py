"""MongoDB through pymongo: `mongodb://host:port/database` or `mongodb+srv://…`; without a database's name, `gorgon`.

Works with pymongo 3.11 (Debian 12) and newer. Writes are journaled, and on a replica set by a majority, before they
are reported; how they come to their exact effects is in `stores.mongo_writes`.

A batch of reads is asked in as few commands as there are kinds of questions in it. The common one, "the newest ten
where this field is that", costs Python and mongod about a third when 32 of them travel together (see `_lookup`).
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure

from gorgond.errors import ConfigError, StoreAway, StoreRefused
from gorgond.redpill.codec import dumps
from gorgond.stores.contract import Effect, Query, Store, Write
from gorgond.stores.filters import check_query, equality, words
from gorgond.stores.mongo_writes import reachable, write_batch
from gorgond.stores.schema import BY_TIME, BY_VALUE, NEWEST_FIRST, TEXT, TOMBSTONE_SECONDS, TOMBSTONES

T = TypeVar("T")

log = logging.getLogger(__name__)

READ_MS = 5000
"""For one question. With what a batch asks one by one it stays under the silence that others take for death."""

LOOKUP_LIMIT = 100
"""Queries with a larger limit are asked one by one: together they might not fit into one document of 16 MB."""

TEXT_INDEX_SECONDS = 2.0
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
        self._url = url
        self._client = self._connect()
        self._db = self._client.get_default_database("gorgon", codec_options=CODEC)
        self._has_lookup: bool | None = None

    def _connect(self, **options: Any) -> MongoClient[dict[str, Any]]:
        try:
            return MongoClient(self._url, **{**OPTIONS, **options})
        except (InvalidURI, ConfigurationError, ValueError) as error:
            if self._url.startswith("mongodb+srv:") and not isinstance(error, InvalidURI):
                raise StoreAway(f"MongoDB's addresses could not be looked up: {error}") from error
            raise ConfigError(f"store: not a usable mongodb:// URL: {error}") from error

    def prepare(self) -> None:
        for collection, fields in NEWEST_FIRST.items():
            for field in fields:
                self._make_index(collection, [(field, 1), ("ts", -1)])
        for collection in BY_TIME:
            self._make_index(collection, [("ts", -1)])
        for collection, fields in BY_VALUE.items():
            for field in fields:
                # Not sparse: such an index makes {$gte: null} miss the documents without the field (MongoDB 6.0).
                self._make_index(collection, [(field, 1)])
        self._make_index(TOMBSTONES, [("at", 1)], expireAfterSeconds=TOMBSTONE_SECONDS)

    def _make_index(self, collection: str, keys: list[tuple[str, Any]], **options: Any) -> None:
        """Make an index unless it is there. Readers and writers go on (`background` is for servers before 4.2); we
        wait until it is built, however long that takes, hence a connection of its own without a time limit."""
        with reachable(), self._connect(socketTimeoutMS=None) as client:
            try:
                client[self._db.name][collection].create_index(keys, background=True, **options)
            except OperationFailure as error:
                log.warning("index on %s %s was not made: %s", collection, keys, error)

    def find(self, queries: Sequence[Query]) -> list[bytes | StoreRefused]:
        answers: list[bytes | StoreRefused] = [b"[]"] * len(queries)
        groups: dict[object, list[int]] = {}
        for place, query in enumerate(queries):
            try:
                check_query(query)
            except StoreRefused as error:
                answers[place] = error
                continue
            if query.limit:
                groups.setdefault(_shape(query) or place, []).append(place)
        for places in groups.values():
            for place, answer in zip(places, self._find_alike([queries[place] for place in places]), strict=True):
                answers[place] = answer
        return answers

    def _find_alike(self, queries: list[Query]) -> Iterable[bytes | StoreRefused]:
        """The answers to queries of one shape: together, or one by one where together does not work."""
        if len(queries) > 1:
            try:
                if "id" in queries[0].filter:
                    return self._find_ids(queries)
                if self._lookup_works():
                    return self._lookup(queries)
            except (OperationFailure, BSONError, TypeError, ValueError) as error:
                log.info("%d finds in %s go one by one: %s", len(queries), queries[0].collection, error)
        until = time.monotonic() + READ_MS / 1000
        return [
            self._find_one_by_one(query)
            if time.monotonic() < until
            else StoreRefused("the database took too long for what was asked with this")
            for query in queries
        ]

    def _find_ids(self, queries: list[Query]) -> list[bytes]:
        """Several documents by id: one find."""
        first, ids = queries[0], [_equality(query)[1] for query in queries]
        with reachable():
            cursor = self._db[first.collection].find(
                {"_id": {"$in": ids}}, _projection(first), batch_size=len(ids) + 1, max_time_ms=READ_MS
            )
            found = {document["_id"]: document for document in cursor}
        answers = {id: _json([document]) for id, document in found.items()}
        return [answers.get(id, b"[]") for id in ids]

    def _lookup(self, queries: list[Query]) -> list[bytes]:
        """Several equality queries as one aggregate: a document a query, joined with its answers.

        Measured on a busy machine, answers of 10 documents of 2 kB, in µs of CPU a query, Python + mongod: one query
        alone (a find) 564 + 356; this with 8 queries 160 + 235, with 32 queries 166 + 226.
        """
        first = queries[0]
        field = _equality(first)[0]
        # $literal, or a value like "$ts" would be taken for a field.
        asked = [{"n": n, "u": {"$literal": _equality(query)[1]}} for n, query in enumerate(queries)]
        each: list[dict[str, Any]] = []
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
            for row in self._db.aggregate(pipeline, batchSize=len(queries) + 1, maxTimeMS=READ_MS):
                answers[row["n"]] = _json(row["i"])
        return answers

    def _lookup_works(self) -> bool:
        """Whether the server knows $documents and $lookup with both fields and a pipeline: MongoDB 5.1. Asked once."""
        if self._has_lookup is None:
            with reachable():
                self._has_lookup = self._client.server_info()["versionArray"][:2] >= [5, 1]
        return self._has_lookup

    def _find_one_by_one(self, query: Query) -> bytes | StoreRefused:
        sort = _sort(query) or ({"score": {"$meta": "textScore"}} if query.search else {})

        def ask() -> bytes:
            cursor = self._db[query.collection].find(
                _filter(query),
                _projection(query),
                sort=list(sort.items()) or None,
                skip=query.skip,
                limit=query.limit,
                batch_size=query.limit,
                max_time_ms=READ_MS,
            )
            return _json(list(cursor))

        return self._asked(query, ask)

    def count(self, queries: Sequence[Query]) -> list[int | StoreRefused]:
        return [self._count(query) for query in queries]

    def _count(self, query: Query) -> int | StoreRefused:
        try:
            check_query(query)
        except StoreRefused as error:
            return error
        return self._asked(query, lambda: self._db[query.collection].count_documents(_filter(query), maxTimeMS=READ_MS))

    def _asked(self, query: Query, ask: Callable[[], T]) -> T | StoreRefused:
        """What `ask` returns, or why the server refuses this query."""
        try:
            with reachable():
                try:
                    return ask()
                except OperationFailure as error:
                    if error.code != INDEX_NOT_FOUND or not query.search:
                        raise
                    self._make_text_index(query.collection)
                    return ask()
        except OperationFailure as error:
            if error.code == TOOK_TOO_LONG:
                return StoreRefused(f"took too long: more than {READ_MS // 1000} s")
            if error.code == INDEX_NOT_FOUND:
                return StoreRefused("search: the index for it is being made; ask again later")
            return StoreRefused(f"MongoDB refuses this: {error}")
        except (BSONError, TypeError, ValueError) as error:
            return StoreRefused(f"a document found cannot be written as JSON: {error}")

    def _make_text_index(self, collection: str) -> None:
        """Make the index for searches, in the background; where there is little to index, it is there on return."""

        def make() -> None:
            try:
                # No language: words are words, as in our other drivers. A document's own field `language` would
                # choose its language, and an unknown one make the insert fail; hence a field that no document has.
                self._make_index(
                    collection,
                    [(field, "text") for field in TEXT[collection]],
                    default_language="none",
                    language_override="text language",
                )
            except StoreAway as error:
                log.warning("the search index of %s was not made, the next search tries again: %s", collection, error)

        thread = threading.Thread(target=make, name="text-index", daemon=True)
        thread.start()
        thread.join(TEXT_INDEX_SECONDS)

    def write(self, writes: Sequence[Write]) -> list[Effect | StoreRefused]:
        return write_batch(self._db, writes)

    def health(self) -> dict[str, Any]:
        started = time.perf_counter()
        with reachable():
            version = self._client.server_info()["version"]
        latency = round((time.perf_counter() - started) * 1000, 3)
        return {"database": "mongodb", "version": version, "latency_ms": latency}

    def close(self) -> None:
        self._client.close()


def _equality(query: Query) -> tuple[str, Any]:
    """The field and the value of a filter that is one equality."""
    [(field, condition)] = query.filter.items()
    return field, equality(condition)


def _shape(query: Query) -> object:
    """What queries that can be asked together have in common; None if this one must be asked by itself."""
    if query.search or len(query.filter) != 1 or query.limit > LOOKUP_LIMIT:
        return None
    field, value = _equality(query)
    if field == "id":
        return (query.collection, field, query.projection) if isinstance(value, str) and not query.skip else None
    if value is None or field.startswith(("id.", "$")):
        return None
    return query.collection, field, query.sort, query.limit, query.skip, query.projection


def _field(field: str) -> str:
    return "_" + field if field == "id" or field.startswith("id.") else field


def _conditions(filter: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _field(field): [_conditions(part) for part in condition] if field in ("$and", "$or") else condition
        for field, condition in filter.items()
    }


def _filter(query: Query) -> dict[str, Any]:
    conditions = _conditions(query.filter)
    if query.search:
        conditions["$text"] = {"$search": " ".join(words(query.search))}
    return conditions


def _sort(query: Query) -> dict[str, Any]:
    return {_field(field): direction for field, direction in query.sort}


def _projection(query: Query) -> dict[str, Any] | None:
    return {_field(field): 1 for field in query.projection} or None


def _json(documents: list[dict[str, Any]]) -> bytes:
    for document in documents:
        document["id"] = document.pop("_id")
    return dumps(documents, _plain)


def _plain(value: Any) -> Any:
    """What JSON does not know: bytes as base64, ObjectId, Decimal128 and all others as their text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
