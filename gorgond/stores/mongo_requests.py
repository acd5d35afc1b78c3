"""The uses of the keys of requests, in MongoDB: a document for each key, made by an upsert that fails on one
that was used for another request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo import UpdateOne
from pymongo.database import Database

from gorgond.errors import StoreAway
from gorgond.redpill import now_ms
from gorgond.stores.contract import Once
from gorgond.stores.mongo_commands import Document, Operation, bulk, reachable
from gorgond.stores.schema import REQUESTS


def claim_all(db: Database[Document], requests: Sequence[Once]) -> list[bool]:
    """Note for what the keys of these are used; whether each is the one of its key."""
    now = {"$setOnInsert": {"at": datetime.fromtimestamp(now_ms() / 1000, UTC)}}
    claims: dict[int, Operation] = {
        place: UpdateOne({"_id": each.key, "said": each.said}, now, upsert=True) for place, each in enumerate(requests)
    }
    lost = bulk(db[REQUESTS], claims).failures
    if not lost:
        return [True] * len(requests)
    # Of two that make the same document at the same time one fails, too.
    with reachable():
        found = db[REQUESTS].find({"_id": {"$in": [requests[place].key for place in lost]}})
        said = {document["_id"]: document["said"] for document in found}
    if any(requests[place].key not in said for place in lost):
        raise StoreAway("the key of a request was forgotten just now")
    return [place not in lost or said[each.key] == each.said for place, each in enumerate(requests)]
