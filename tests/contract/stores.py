"""What stores are tried with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymongo

from gorgond.stores.contract import Kind, Page, Query, Store, Write

ROOT = Path(__file__).parents[2]


def mongo_client(url: str) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(url)


def write(kind: Kind, id: str, ts: int, **document: Any) -> Write:
    return Write(kind, "items", id, ts, document)


def query(filter: dict[str, Any] | None = None, **rest: Any) -> Query:
    return Query("items", filter or {}, **rest)


def found(store: Store, *queries: Query) -> Any:
    """The documents of each query, or of the only one; a refusal fails the test."""
    answers = [answer for answer in store.find(queries) if isinstance(answer, bytes)]
    assert len(answers) == len(queries)
    documents = [json.loads(answer) for answer in answers]
    return documents if len(documents) > 1 else documents[0]


def is_cut(answer: object) -> bool:
    """Whether an answer says that there was no room for all."""
    return isinstance(answer, Page) and answer.cut


def ids(documents: Sequence[dict[str, Any]]) -> list[str]:
    return [document["id"] for document in documents]
