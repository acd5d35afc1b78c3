"""How MongoDB is written: in bulk, and still with the exact effect of every single write.

A bulk write tells only which of its operations failed. So each operation is made such that it fails exactly when it
has no effect:

    insert   fails on the id that is there already                                      → exists
    replace  an upsert for "this id, not newer than me": where the stored one is newer, the upsert tries to insert a
             second document of that id and fails                                       → stale
    patch    the same, and should it come to an insert, that one would have a forbidden id and fails
                                                                                        → missing or stale
    delete   is announced by a tombstone first, see below                               → deleted, missing or stale

Only the failed ones are looked at again (one find for all): newer ones are stale; what is there and not newer, or gone
by now, lost a race against another writer and goes again.

A delete first leaves its tombstone, then deletes. Every other write is done first and then looks for tombstones. In
whatever order two of them meet, at least one sees the other: a document that a late writer brings back is deleted by
the delete, or by that writer itself, who finds the tombstone.

Writes to one id keep their order in rounds: every id's first write, then every id's second, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, WTimeoutError

from gorgond.errors import StoreAway, StoreRefused
from gorgond.stores.contract import Effect, Write, refused_by
from gorgond.stores.filters import DOCUMENT_BYTES, check_write
from gorgond.stores.ownership import allowed, check_owner
from gorgond.stores.schema import TOMBSTONES

Document = dict[str, Any]
Operation: TypeAlias = "InsertOne[Any] | ReplaceOne[Any] | UpdateOne | DeleteOne"
Outcome = Effect | StoreRefused

DUPLICATE_KEY, IMMUTABLE_FIELD = 11000, 66

AWAY_CODES = frozenset(
    {6, 7, 13, 18, 24, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031}
)
"""Not the request's fault: hosts unreachable, not primary, shutting down, credentials refused, disk full, …"""

RACES = 20
"""So many times in a row no write loses against others."""


@contextmanager
def reachable() -> Iterator[None]:
    """Turn what pymongo raises when MongoDB cannot be reached or cannot work into StoreAway; let the rest pass."""
    try:
        yield
    except (ConnectionFailure, WTimeoutError) as error:
        raise StoreAway(f"MongoDB is away: {error}") from error
    except OperationFailure as error:
        if error.code in AWAY_CODES:
            raise StoreAway(f"MongoDB cannot work: {error}") from error
        raise


def write_batch(db: Database[Document], writes: Sequence[Write]) -> list[Outcome]:
    """Do the writes and say what became of each."""
    outcomes: list[Outcome] = ["stored"] * len(writes)
    rounds: list[dict[tuple[str, bool], list[int]]] = []
    seen: Counter[tuple[str, str]] = Counter()
    for place, write in enumerate(writes):
        try:
            check_write(write)
        except StoreRefused as error:
            outcomes[place] = error
            continue
        turn = seen[write.collection, write.id]
        seen[write.collection, write.id] += 1
        if turn == len(rounds):
            rounds.append({})
        rounds[turn].setdefault((write.collection, write.kind == "delete"), []).append(place)
    for groups in rounds:
        for (collection, deletes), places in groups.items():
            do = _delete if deletes else _store
            done = do(db, collection, [writes[place] for place in places])
            for place, outcome in zip(places, done, strict=True):
                outcomes[place] = outcome
    return outcomes


def _store(db: Database[Document], name: str, writes: Sequence[Write]) -> list[Outcome]:
    """Inserts, replaces and patches of different ids in one collection."""
    outcomes: list[Outcome] = ["stored"] * len(writes)
    pending: dict[int, Operation] = {}
    for place, write in enumerate(writes):
        try:
            pending[place] = _operation(write)
        except StoreRefused as error:
            outcomes[place] = error
    for _ in range(RACES):
        contested = {}
        for place, failure in _bulk(db[name], pending).items():
            outcomes[place] = outcome = _failure(writes[place], failure)
            if outcome == "stale":
                contested[place] = pending[place]
        pending = {}
        if contested:
            ids = [writes[place].id for place in contested]
            found = _found(db[name], ids)
            for place, operation in contested.items():
                write = writes[place]
                stored = found.get(write.id)
                if stored is None and write.kind == "patch":
                    outcomes[place] = "missing"
                elif refused := _refusal(stored, write):
                    outcomes[place] = refused
                elif stored is None or not _newer(stored, write.ts):
                    outcomes[place] = "stored"
                    pending[place] = operation
        if not pending:
            break
    else:
        raise StoreAway(f"{name}: too many writers of one document at a time")
    _bury(db, name, writes, outcomes)
    return outcomes


def _operation(write: Write) -> Operation:
    fields = {"_id": write.id, **write.document, "ts": write.ts}
    fields.pop("id", None)
    if write.kind == "insert":
        return InsertOne(_encoded(fields))
    older = _older(write)
    if write.kind == "replace":
        return ReplaceOne(older, _encoded(fields), upsert=True)
    del fields["_id"]
    change: Document = {"$set": {key: value for key, value in fields.items() if value is not None}}
    if removed := {key: "" for key, value in fields.items() if value is None}:
        change["$unset"] = removed
    # Not an id that any document has: an upsert that finds none to update fails here, before it inserts.
    change["$setOnInsert"] = {"_id": 0}
    return UpdateOne(older, _encoded(change), upsert=True)


def _older(write: Write) -> Document:
    """What the write may touch: the document of its id, unless it is newer, or another registered user's."""
    return {"_id": write.id, "ts": {"$not": {"$gt": write.ts}}, **allowed(write.asker)}


def _encoded(document: Document) -> RawBSONDocument:
    """`document` as it goes over the wire: what cannot, is found out here and not in the middle of a bulk."""
    try:
        data = bson.encode(document)
    except (BSONError, OverflowError, ValueError) as error:
        raise StoreRefused(f"document: {error}") from error
    if len(data) > DOCUMENT_BYTES:
        raise StoreRefused(f"document: {len(data)} bytes, allowed are {DOCUMENT_BYTES}")
    return RawBSONDocument(data)


def _bulk(collection: Collection[Document], operations: dict[int, Operation]) -> dict[int, Document]:
    """Send the operations, in any order; returns the server's error for each that failed, by the same keys."""
    if not operations:
        return {}
    try:
        with reachable():
            collection.bulk_write(list(operations.values()), ordered=False)
    except BulkWriteError as error:
        details = cast(Document, error.details)
        errors = details["writeErrors"]
        if details["writeConcernErrors"] or any(one["code"] in AWAY_CODES for one in errors):
            raise StoreAway(f"MongoDB cannot keep what it was given: {details}"[:1000]) from error
        places = list(operations)
        return {places[one["index"]]: one for one in errors}
    except OperationFailure as error:
        raise StoreAway(f"MongoDB refuses a whole batch: {error}") from error
    return {}


def _failure(write: Write, error: Document) -> Outcome:
    """What an operation's failure means; `stale` still has to be looked at."""
    if error["code"] == DUPLICATE_KEY and error.get("keyPattern", {"_id": 1}) == {"_id": 1}:
        return "exists" if write.kind == "insert" else "stale"
    if error["code"] == IMMUTABLE_FIELD and write.kind == "patch":
        return "stale"
    return refused_by("MongoDB", error["code"], error["errmsg"])


def _found(collection: Collection[Document], ids: Sequence[str]) -> dict[str, Document]:
    """Version and owner, `ts` and `userid`, of those of the ids that are there."""
    with reachable():
        found = collection.find({"_id": {"$in": list(ids)}}, {"ts": 1, "userid": 1}, batch_size=len(ids) + 1)
        return {document["_id"]: document for document in found}


def _newer(stored: Document, ts: int) -> bool:
    """Whether what is stored is newer; a `ts` that is no number, put there by somebody else, is not."""
    version = stored.get("ts")
    return isinstance(version, int | float) and version > ts


def _refusal(stored: Document | None, write: Write) -> StoreRefused | None:
    """Why the write may not touch what is stored."""
    try:
        check_owner(stored or {}, write.asker)
    except StoreRefused as refused:
        return refused
    return None


def _bury(db: Database[Document], name: str, writes: Sequence[Write], outcomes: list[Outcome]) -> None:
    """Undo the writes that are older than a delete of their id."""
    places = {f"{name}:{write.id}": place for place, write in enumerate(writes)}
    burials: dict[int, Operation] = {}
    for key, tombstone in _found(db[TOMBSTONES], list(places)).items():
        place, ts = places[key], tombstone["ts"]
        if ts > writes[place].ts and not isinstance(outcomes[place], StoreRefused):
            outcomes[place] = "stale"
            burials[place] = DeleteOne({"_id": writes[place].id, "ts": {"$not": {"$gte": ts}}})
    if _bulk(db[name], burials):
        raise StoreAway(f"{name}: documents deleted before could not be removed again")


def _delete(db: Database[Document], name: str, writes: Sequence[Write]) -> list[Outcome]:
    """Deletes of different ids in one collection.

    What is there decides the outcome; whoever writes the document in between, comes after us.
    """
    found = _found(db[name], [write.id for write in writes])
    keys = [f"{name}:{write.id}" for write in writes]
    with reachable():
        known = db[TOMBSTONES].find({"_id": {"$in": keys}, "known": True}, {"_id": 1}, batch_size=len(keys) + 1)
        deleted_before = {tombstone["_id"] for tombstone in known}
    outcomes: list[Outcome] = []
    tombstones: dict[int, Operation] = {}
    deletes: dict[int, Operation] = {}
    for place, (key, write) in enumerate(zip(keys, writes, strict=True)):
        stored = found.get(write.id)
        if refused := _refusal(stored, write):
            outcomes.append(refused)
            continue
        if stored is not None and _newer(stored, write.ts):
            outcomes.append("stale")
            continue
        there = stored is not None or key in deleted_before
        outcomes.append("deleted" if there else "missing")
        now = datetime.now(UTC)
        change = {"$max": {"ts": write.ts}, "$set": {"at": now, **({"known": True} if there else {})}}
        tombstones[place] = UpdateOne({"_id": key}, change, upsert=True)
        deletes[place] = DeleteOne(_older(write))
    if _bulk(db[TOMBSTONES], tombstones) or _bulk(db[name], deletes):
        raise StoreAway(f"{name}: deletes got in each other's way")
    return outcomes
