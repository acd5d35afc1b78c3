"""What MongoDB is sent when it is written, and what it says: bulks of operations, and a look at what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias, cast

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, WTimeoutError

from gorgond.errors import StoreAway, StoreDenied, StoreRefused
from gorgond.stores.contract import Write, Written
from gorgond.stores.filters import DOCUMENT_BYTES, INT_MAX
from gorgond.stores.ownership import PRIVATE, barred
from gorgond.stores.schema import FOLDED, OWN_FIELDS

Document = dict[str, Any]
Operation: TypeAlias = "InsertOne[Any] | UpdateOne | ReplaceOne[Any] | DeleteOne"
Outcome = Written | StoreRefused

FIRST, MARKS = f"{OWN_FIELDS}_first", f"{OWN_FIELDS}_marks"
"""A document's first content and who changed it, as in `stores.repeats`; a tombstone has those of what was deleted."""

PUT = f"{OWN_FIELDS}_words"
"""The mark of a document that is in the index for searches as it is: the key of the block that has it
(`stores.mongo_words`). Stores of before there were sweeps mark with True (`stores.mongo_sweep`)."""


def copy_of(field: str) -> str:
    """The field of a document that has the texts in `field` folded, those that are not so there: `stores.folding`."""
    return f"{OWN_FIELDS}_{field}"


COPIES = tuple(copy_of(field) for fields in FOLDED.values() for field in fields)

AWAY_CODES = frozenset(
    {6, 7, 13, 18, 24, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031}
)
"""Not the request's fault: hosts unreachable, not primary, shutting down, credentials refused, disk full, …"""

DENIED_CODES = frozenset({13, 18})
"""Of these: Unauthorized, AuthenticationFailed."""


class Sent(NamedTuple):
    """The outcome of a bulk."""

    failures: dict[int, Document]
    """The server's error for each operation that failed, by the operations' keys."""
    deleted: int
    """How many documents."""


@contextmanager
def reachable() -> Iterator[None]:
    """Turn what pymongo raises when MongoDB cannot be reached or cannot work into StoreAway; let the rest pass."""
    try:
        yield
    except (ConnectionFailure, WTimeoutError) as error:
        raise StoreAway(f"MongoDB is away: {error}") from error
    except OperationFailure as error:
        if error.code in DENIED_CODES:
            raise StoreDenied(f"MongoDB does not let us in: {error}") from error
        if error.code in AWAY_CODES:
            raise StoreAway(f"MongoDB cannot work: {error}") from error
        raise


def encoded(document: Document) -> RawBSONDocument:
    """`document` as it goes over the wire: what cannot, is found out here and not in the middle of a bulk."""
    try:
        data = bson.encode(document)
    except (BSONError, OverflowError, ValueError) as error:
        raise StoreRefused(f"document: {error}") from error
    if len(data) > DOCUMENT_BYTES:
        raise StoreRefused(f"document: {len(data)} bytes, allowed are {DOCUMENT_BYTES}")
    return RawBSONDocument(data)


def bulk(collection: Collection[Document], operations: Mapping[int, Operation]) -> Sent:
    """Send the operations, in any order."""
    if not operations:
        return Sent({}, 0)
    try:
        with reachable():
            return Sent({}, collection.bulk_write(list(operations.values()), ordered=False).deleted_count)
    except BulkWriteError as error:
        details = cast(Document, error.details)
        errors = details["writeErrors"]
        if details["writeConcernErrors"] or any(one["code"] in AWAY_CODES for one in errors):
            raise StoreAway(f"MongoDB cannot keep what it was given: {details}"[:1000]) from error
        places = list(operations)
        return Sent({places[one["index"]]: one for one in errors}, details["nRemoved"])
    except OperationFailure as error:
        raise StoreAway(f"MongoDB refuses a whole batch: {error}") from error


def look(collection: Collection[Document], ids: Sequence[str]) -> dict[str, Document]:
    """Of those of the ids that are there: version, owner, what is kept of them; of tombstones, whether `known`."""
    return _find(collection, ids, {"ts": 1, "userid": 1, PRIVATE: 1, "known": 1, FIRST: 1, MARKS: 1})


def contents(collection: Collection[Document], ids: Sequence[str]) -> dict[str, Document]:
    """The whole documents, as their writers know them."""
    return {
        id: {key: value for key, value in document.items() if key != "_id" and not key.startswith(OWN_FIELDS)}
        for id, document in (_find(collection, ids, None) if ids else {}).items()
    }


def _find(collection: Collection[Document], ids: Sequence[str], fields: Document | None) -> dict[str, Document]:
    with reachable():
        found = collection.find({"_id": {"$in": list(ids)}}, fields, batch_size=len(ids) + 1)
        return {document["_id"]: document for document in found}


def version(stored: Document) -> int:
    """The `ts` of what is stored; one that is no number, put there by somebody else, is older than all."""
    ts = stored.get("ts")
    return int(max(-1, min(ts, INT_MAX))) if isinstance(ts, int | float) and ts == ts else -1


def refusal(stored: Document | None, write: Write) -> Outcome | None:
    """What becomes of a write that may not touch what is stored."""
    try:
        return barred(stored or {}, write)
    except StoreRefused as refused:
        return refused
