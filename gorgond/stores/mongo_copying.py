"""How what a MongoDB keeps is read and written as it is, to be moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import DeleteOne, ReplaceOne
from pymongo.database import Database

from gorgond.errors import StoreAway, StoreRefused
from gorgond.redpill import dumps, loads
from gorgond.stores.contract import Once
from gorgond.stores.filters import check_collection
from gorgond.stores.folding import copies
from gorgond.stores.kept import Kept, Tombstone
from gorgond.stores.mongo_commands import (
    COPIES,
    FIRST,
    MARKS,
    PUT,
    Document,
    Operation,
    bulk,
    copy_of,
    encoded,
    reachable,
)
from gorgond.stores.schema import FOLDED, REQUESTS, TOMBSTONES


class Copying:
    """Of a database; `plain` makes JSON of values that it does not know."""

    def __init__(self, db: Database[Document], plain: Callable[[Any], Any]) -> None:
        self._db = db
        self._plain = plain

    def collections(self) -> list[str]:
        with reachable():
            return sorted(name for name in self._db.list_collection_names() if _is_collection(name))

    def ids_after(self, collection: str, after: str, most: int) -> list[str]:
        """The next ids of documents and of deleted ones, in their order."""
        begin = f"{collection}:"
        with reachable():
            documents = self._db[collection].find({"_id": {"$gt": after}}, {"_id": 1}, sort=[("_id", 1)], limit=most)
            ids = [each["_id"] for each in documents]
            within = {"$gt": begin + after, "$lt": f"{collection};"}
            graves = self._db[TOMBSTONES].find({"_id": within}, {"_id": 1}, sort=[("_id", 1)], limit=most)
            ids += [each["_id"].removeprefix(begin) for each in graves]
        return sorted(set(ids))[:most]

    def kept(self, collection: str, ids: Sequence[str]) -> list[Kept]:
        found = {id: Kept(id) for id in ids}
        with reachable():
            for document in self._db[collection].find({"_id": {"$in": [*ids]}}):
                id, first, marks = document.pop("_id"), document.pop(FIRST, None), tuple(document.pop(MARKS, ()))
                for own in (PUT, *COPIES):
                    document.pop(own, None)
                found[id] = Kept(id, loads(dumps({**document, "id": id}, self._plain)), first, marks)
            for grave in self._db[TOMBSTONES].find({"_id": {"$in": [f"{collection}:{id}" for id in ids]}}):
                id = grave["_id"].partition(":")[2]
                tombstone = Tombstone(
                    grave["ts"],
                    bool(grave.get("known")),
                    grave["at"] / 1000,
                    grave.get(FIRST),
                    tuple(grave.get(MARKS, ())),
                )
                found[id] = found[id]._replace(tombstone=tombstone)
        return [*found.values()]

    def restore(self, collection: str, kept: Sequence[Kept]) -> None:
        documents: dict[int, Operation] = {}
        graves: dict[int, Operation] = {}
        for place, each in enumerate(kept):
            key = f"{collection}:{each.id}"
            documents[place] = DeleteOne({"_id": each.id})
            if each.document is not None:
                documents[place] = ReplaceOne({"_id": each.id}, encoded(_fields(collection, each)), upsert=True)
            graves[place] = DeleteOne({"_id": key})
            if each.tombstone is not None:
                graves[place] = ReplaceOne({"_id": key}, {"_id": key, **_grave(each.tombstone)}, upsert=True)
        for name, operations in ((TOMBSTONES, graves), (collection, documents)):
            if failures := bulk(self._db[name], operations).failures:
                raise StoreAway(f"MongoDB cannot keep what is moved: {failures}"[:1000])

    def claims(self, after: str, most: int) -> list[Once]:
        with reachable():
            found = self._db[REQUESTS].find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=most)
            return [Once(each["_id"], each["said"]) for each in found]


def _is_collection(name: str) -> bool:
    try:
        check_collection(name)
    except StoreRefused:
        return False
    return True


def _fields(collection: str, kept: Kept) -> Document:
    """A document as the driver writes it, but for its place in the index for searches, which finds it by itself."""
    document = dict(kept.document or {})
    fields = {"_id": document.pop("id"), **document}
    for field in FOLDED.get(collection, ()):
        if texts := copies(document, field):
            fields[copy_of(field)] = texts
    if kept.first is not None:
        fields[FIRST] = kept.first
    if kept.marks:
        fields[MARKS] = [*kept.marks]
    return fields


def _grave(tombstone: Tombstone) -> Document:
    grave: Document = {"ts": tombstone.ts, "at": datetime.fromtimestamp(tombstone.at, UTC)}
    if tombstone.known:
        grave["known"] = True
    if tombstone.first is not None:
        grave[FIRST] = tombstone.first
    if tombstone.marks:
        grave[MARKS] = [*tombstone.marks]
    return grave
