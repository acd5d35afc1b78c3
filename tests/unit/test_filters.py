"""What may be asked of a database and what may be put into it."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.bounds import DEPTH_MAX
from gorgond.errors import StoreRefused
from gorgond.stores import filters
from gorgond.stores.contract import Query, Write


def nested(depth: int) -> dict[str, Any]:
    filter: dict[str, Any] = {"a": 1}
    for _ in range(depth - 1):
        filter = {"$and": [filter]}
    return filter


def deep(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth - 1):
        document = {"a": document}
    return document


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"userid": 5},
        {"a": None, "b": True, "c": 1.5, "d": "x", "e": -(2**63), "f": 2**63 - 1},
        {"a.b.c": {"$gte": 1, "$lt": 9}},
        {"a": {"$in": []}},
        {"a": {"$in": [1, "x", None, True]}},
        {"a": {"$in": list(range(filters.IN_MAX))}},
        {"$or": [{"a": 1}, {"$and": [{"b": 2}, {"c": {"$ne": None}}]}]},
        {"größe": "ü", "a b": "$where", "it's": "'; DROP TABLE items; --"},
        nested(filters.FILTER_DEPTH),
    ],
)
def test_filters_that_are_allowed(filter: dict[str, Any]) -> None:
    filters.check(filter)


@pytest.mark.parametrize(
    ("filter", "named"),
    [
        ({"$where": "1"}, r"\$where"),
        ({"a": {"$regex": "x"}}, r"a: '\$regex'.*allowed are \$eq"),
        ({"a": {"$exists": True}}, r"\$exists"),
        ({"a": {"$not": {"$eq": 1}}}, r"\$not"),
        ({"a": {"$and": [{"b": 1}]}}, r"\$and"),
        ({"$expr": {"$eq": ["$a", 1]}}, r"\$expr"),
        ({"$text": {"$search": "x"}}, r"\$text"),
        ({"": 1}, "not a field"),
        ({"a..b": 1}, r"a\.\.b"),
        ({"a.$b": 1}, r"a\.\$b"),
        ({"a\0": 1}, "not a field"),
        ({'a"b': 1}, "not a field"),
        ({"a\\b": 1}, "not a field"),
        ({"a.0": 1}, r"a\.0.*no numbers"),
        ({"_id": "x"}, "called id"),
        ({"_id.x": "x"}, "called id"),
        ({".".join("abcdefghi"): 1}, "names deep"),
        ({"x" * 1001: 1}, "not a name"),
        ({5: 1}, "not a name"),
        ({"a\ud800": 1}, "surrogate"),
        ({"a": {}}, "empty condition"),
        ({"a": {"b": 1}}, "'b' is not allowed"),
        ({"a": [1]}, "a: values are.*not list"),
        ({"a": {"$eq": [1]}}, "a: values are.*not list"),
        ({"a": {"$eq": {"$gt": 1}}}, "a: values are"),
        ({"a": {"$in": 5}}, r"a: \$in takes a list"),
        ({"a": {"$in": [[1]]}}, "a: values are"),
        ({"a": {"$in": [0] * (filters.IN_MAX + 1)}}, r"a: \$in takes a list"),
        ({"a": float("nan")}, "a: numbers are finite"),
        ({"a": 2**63}, "a: whole numbers"),
        ({"a": "x\0"}, "a: strings hold no NUL"),
        ({"a": "\udc00"}, "a.*surrogate"),
        ({"a": b"x"}, "a: values are"),
        ({"$or": []}, r"\$or: must be a list"),
        ({"$and": {"a": 1}}, r"\$and: must be a list"),
        ({"$and": [5]}, "must be an object"),
        (nested(filters.FILTER_DEPTH + 1), "nested deeper"),
        ({f"f{n}": 1 for n in range(filters.FILTER_TERMS + 1)}, "conditions, allowed are"),
        ("userid", "must be an object"),
        (None, "must be an object"),
    ],
)
def test_filters_that_are_refused(filter: Any, named: str) -> None:
    with pytest.raises(StoreRefused, match=named):
        filters.check(filter)


@pytest.mark.parametrize("name", ["items", "a", "a_1", "x" * 64])
def test_collections_that_are_allowed(name: str) -> None:
    filters.check_collection(name)


@pytest.mark.parametrize(
    "name", ["", "Items", "1a", "a-b", "a.b", "x" * 65, "tombstones", "sqlite_master", "a\n", None, 5]
)
def test_collections_that_are_refused(name: Any) -> None:
    with pytest.raises(StoreRefused, match="collection"):
        filters.check_collection(name)


@pytest.mark.parametrize("id", ["", "x" * 129, "a\0b", 5, None, "\ud800"])
def test_ids_that_are_refused(id: Any) -> None:
    with pytest.raises(StoreRefused, match="id"):
        filters.check_id(id)


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": -1},
        {"limit": 1001},
        {"limit": True},
        {"limit": 1.0},
        {"skip": -1},
        {"sort": (("a", 2),)},
        {"sort": (("a", 1), ("a", -1))},
        {"sort": (("$a", 1),)},
        {"sort": tuple((f"f{n}", 1) for n in range(9))},
        {"projection": ("a.b",)},
        {"projection": ("$a",)},
        {"search": " - "},
        {"search": "x" * 1001},
        {"collection": "users", "search": "word"},
    ],
)
def test_queries_that_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StoreRefused, match=next(reversed(changes)) + "|not a field"):
        filters.check_query(Query(**{"collection": "items", "filter": {}, **changes}))


def test_documents_that_are_allowed() -> None:
    document = {"a": [1, 2.5, "ü\n", None, True, {"b": []}], "_x": {"_id": 1}, "id": "x"}
    filters.check_document(document)
    filters.check_document(deep(DEPTH_MAX))


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"$set": 1}, r"\$set: '\$set' is not a key"),
        ({"a": {"$b": 1}}, r"a: '\$b' is not a key"),
        ({"a": [{"$b": 1}]}, r"a: '\$b' is not a key"),
        ({"a.b": 1}, "hold no dot"),
        ({"": 1}, "not a key"),
        ({"a\0": 1}, "NUL"),
        ({5: 1}, "not a key"),
        ({"_id": "x"}, "called id"),
        ({"a": {1, 2}}, "a: set is not JSON"),
        ({"a": b"x"}, "a: bytes is not JSON"),
        ({"a": float("inf")}, "a: numbers are finite"),
        ({"a": [2**63]}, "a: whole numbers"),
        ({"a": "x\0"}, "a: strings hold no NUL"),
        ({"a": "\ud800"}, "surrogate"),
        (deep(DEPTH_MAX + 1), "nested deeper"),
        ([], "must be an object"),
    ],
)
def test_documents_that_are_refused(document: Any, named: str) -> None:
    with pytest.raises(StoreRefused, match=named) as refused:
        filters.check_document(document)
    # and the field is named, for whoever sent it
    if isinstance(document, dict) and "_id" not in document:
        assert refused.value.field == (str(next(iter(document))) or "document")


@pytest.mark.parametrize(
    "changes", [{"kind": "drop"}, {"ts": -1}, {"ts": 1.5}, {"ts": True}, {"ts": 2**63}, {"id": ""}]
)
def test_writes_that_are_refused(changes: dict[str, Any]) -> None:
    write = {"kind": "insert", "collection": "items", "id": "x", "ts": 1, "document": {}, **changes}
    with pytest.raises(StoreRefused, match=next(iter(changes))):
        filters.check_write(Write(**write))


@pytest.mark.parametrize(
    ("condition", "value"),
    [(5, 5), ({"$eq": "x"}, "x"), (None, None), ({"$eq": 1, "$gt": 0}, None), ({"$ne": 5}, None)],
)
def test_equality(condition: Any, value: Any) -> None:
    assert filters.equality(condition) == value
