"""All databases mean what MongoDB means: the same random documents, filters and writes in each, the same results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import pymongo
import pytest

from gorgond.stores import mongo, open_store, sqlite
from gorgond.stores.contract import Kind, Query, Store, Write
from gorgond.stores.sql import store as sql_store
from tests.postgres import PostgresServer

SCALARS: list[Any] = [None, True, False, 0, 1, -1, 2, 5, 0.0, 1.0, 0.1, 1.5, 2.0**60, 2**60, 2**60 + 1, 1e300]
SCALARS += ["", "1", "a", "b", "aä", "Z", "$a"]
FIELDS = ["userid", "keywords", "a", "b", "a.b", "a.c", "a.b.c", "id", "ts", "a.id"]
KINDS: list[Kind] = ["insert", "replace", "patch", "delete"]


@pytest.fixture
def stores(
    mongod_url: str, shared_postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Store]]:
    """One of each kind, MongoDB's the last."""
    for module in (sqlite, sql_store):
        monkeypatch.setattr(module, "READ_SECONDS", 60.0)  # what is found counts, not how soon
    monkeypatch.setattr(mongo, "READ_MS", 60_000)
    shared_postgres.empty()
    with ExitStack() as closing_all:
        stores = [
            closing_all.enter_context(closing(open_store(url)))
            for url in (f"sqlite:///{tmp_path}/test.db", shared_postgres.url, mongod_url + "agree")
        ]
        for store in stores:
            store.prepare()
        yield stores
    with mongo_client(mongod_url) as client:
        client.drop_database("agree")


def mongo_client(url: str) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(url)


def value(random: Random, depth: int = 0) -> Any:
    kind = random.random()
    if kind < 0.6 or depth == 3:
        return random.choice(SCALARS)
    if kind < 0.8:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    return {key: value(random, depth + 1) for key in "bc" if random.random() < 0.7}


def document(random: Random) -> dict[str, Any]:
    made = {key: value(random) for key in ("userid", "keywords", "a", "b") if random.random() < 0.8}
    owners = made.get("userid")
    if any(isinstance(one, str) for one in (owners if isinstance(owners, list) else [owners])):
        del made["userid"]  # which is refused
    return made


def condition(random: Random, ids: list[str]) -> Any:
    values = [*SCALARS, *ids[:3]]
    kind = random.random()
    if kind < 0.4:
        return random.choice(values)
    if kind < 0.6:
        return {"$in": random.sample(values, random.randrange(5))}
    operators = random.sample(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"], random.randint(1, 2))
    return {operator: random.choice(values) for operator in operators}


def filter(random: Random, ids: list[str], depth: int = 0) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for _ in range(random.choice([0, 1, 1, 1, 2, 2])):
        if random.random() < 0.25 and depth < 2:
            some = [filter(random, ids, depth + 1) for _ in range(random.randint(1, 3))]
            parts[random.choice(["$and", "$or"])] = some
        else:
            parts[random.choice(FIELDS)] = condition(random, ids)
    return parts


def same(stores: list[Store], queries: list[Query]) -> None:
    """All find the same ids in the same order, and the same documents."""
    pieces = [queries[at : at + 50] for at in range(0, len(queries), 50)]  # what is asked together has some seconds
    answers = [[answer for piece in pieces for answer in store.find(piece)] for store in stores]
    for query, *all in zip(queries, *answers, strict=True):
        *ours, theirs = [json.loads(answer) if isinstance(answer, bytes) else answer for answer in all]
        for one in ours:
            assert [each["id"] for each in one] == [each["id"] for each in theirs], query
            assert one == theirs, query
    for piece in pieces:
        *counts, theirs = [store.count(piece) for store in stores]
        assert counts == [theirs] * len(counts)


@pytest.mark.parametrize("seed", range(4))
def test_random_filters(stores: list[Store], seed: int) -> None:
    # given
    random = Random(seed)
    ids = [f"{n}{random.choice('aZä')}" for n in range(200)]
    writes = [Write("insert", "items", id, random.randrange(50), document(random)) for id in ids]
    for store in stores:
        assert store.write(writes) == ["stored"] * len(writes)
    # when, then
    queries = [
        Query(
            "items",
            filter(random, ids),
            sort=random.choice([(("id", 1),), (("ts", -1), ("id", 1)), (("ts", 1), ("id", -1))]),
            limit=random.choice([5, 1000]),
            skip=random.choice([0, 0, 3]),
            projection=random.choice([(), (), ("a", "ts")]),
        )
        for _ in range(400)
    ]
    same(stores, queries)


def test_every_field_with_every_operator_and_value(stores: list[Store]) -> None:
    random = Random(0)
    writes = [Write("insert", "items", f"{n}", n, document(random)) for n in range(100)]
    for store in stores:
        store.write(writes)
    operators = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
    filters = [{field: {operator: value}} for field in FIELDS for operator in operators for value in SCALARS]
    filters += [{field: {"$in": [value, "a"]}} for field in FIELDS for value in SCALARS]
    same(stores, [Query("items", one, sort=(("id", 1),), limit=1000, projection=("id",)) for one in filters])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("field", ["userid", "a", "a.b", "n.m"])
def test_random_sorts(stores: list[Store], field: str, sign: int) -> None:
    # given values of all kinds but objects, which have no order here
    random = Random(field)
    values = [*SCALARS, [], [1, "a"], ["b", 0], [None], [True, 2], [0.1, -1]]
    name, *inner = field.split(".")
    for n in range(150):
        one: Any = random.choice(values)
        for key in inner:
            one = random.choice([{key: one}, {}, 5, [{key: one or 0}, {key: random.choice(SCALARS)}]])
        for store in stores:
            store.write([Write("insert", "items", f"{n}", n, {name: one})])
    # when, then
    same(stores, [Query("items", {}, sort=((field, sign), ("id", 1)), limit=1000)])


@pytest.mark.parametrize("seed", range(4))
def test_random_writes(stores: list[Store], seed: int) -> None:
    random = Random(seed)
    for _ in range(40):
        writes = [
            Write(random.choice(KINDS), "items", random.choice("abcdefgh"), random.randrange(30), document(random))
            for _ in range(random.choice([1, 3, 20]))
        ]
        *effects, theirs = [store.write(writes) for store in stores]
        assert effects == [theirs] * len(effects), writes
        same(stores, [Query("items", {}, sort=(("id", 1),))])


@pytest.mark.parametrize("seed", range(4))
def test_random_writes_of_messages_that_come_again(stores: list[Store], seed: int) -> None:
    random = Random(seed)
    before: list[Write] = []
    for number in range(60):
        # given writes of some messages, dated or not, and some of those before once more
        writes = []
        for id in random.sample("abcd", random.choice([1, 2, 4])):
            kind, ts = random.choice(KINDS), random.randrange(40)
            content = {random.choice("xy"): random.choice([1, 1.0, None])} if kind != "delete" else {}
            by = f"{number} {id}" if random.random() < 0.9 else ""
            writes.append(Write(kind, "items", id, ts, content, dated=random.random() < 0.4, by=by))
        before += writes
        writes += random.choices(before, k=random.choice([0, 0, 2]))
        # when both do them, then to the same effects, at the same time
        done = [store.change(writes) for store in stores]
        for one, *all in zip(writes, *done, strict=True):
            assert all == [all[-1]] * len(all), (one, writes, before)
        same(stores, [Query("items", {}, sort=(("id", 1),))])
