"""What a database keeps is read and kept by another one as it is, on each pair of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from gorgond.redpill import now_ms
from gorgond.stores import open_store
from gorgond.stores.contract import Once, Store, Write, Written
from gorgond.stores.kept import Kept
from tests.contract.stores import found, ids, mongo_client, query, write
from tests.databases import SCHEMES
from tests.postgres import PostgresServer

_numbers = count()


@pytest.fixture(params=SCHEMES)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Another database, of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/other.db"
    elif request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("shared_postgres")
        postgres.run("DROP DATABASE IF EXISTS other")
        postgres.run("CREATE DATABASE other")
        url = postgres.url.replace("/gorgon?", "/other?")
    else:
        assert request.param == "mongodb"
        url = request.getfixturevalue("mongod_url") + f"other_{next(_numbers)}"
    with closing(open_store(url)) as store:
        store.prepare()
        yield store
    if request.param == "mongodb":
        with mongo_client(url) as client:
            client.drop_database(client.get_default_database().name)


def all_of(store: Store, collection: str, most: int = 3) -> list[Kept]:
    """All that is kept in a collection, a few at a time."""
    kept: list[Kept] = []
    while more := store.scan(collection, kept[-1].id if kept else "", most):
        kept += more
    return kept


def test_what_is_kept_goes_over_as_it_is(store: Store, other: Store) -> None:
    # given notes of all kinds, changed and deleted, and deleted and made anew; another collection; a key of a request
    now = now_ms()
    text = {
        "title": "Ä 日本",
        "keywords": ["Tea", "x"],
        "n": [1, 1.5, -0.0, 1e300, 2**63 - 1, None, True, {"b": 1, "a": []}],
    }
    first = [Write("insert", "items", each, now, text, dated=False, by=f"made {each}") for each in "abcdé"]
    patch = Write("patch", "items", "b", now, {"title": "other"}, dated=False, by="patch")
    deletes = [Write("delete", "items", each, now, {}, dated=False, by=f"gone {each}") for each in "cd"]
    anew = Write("insert", "items", "d", now, {"title": "anew"}, dated=False, by="anew")
    store.write([*first, patch, *deletes, anew, Write("delete", "items", "never", now, {}, by="none")])
    store.write([Write("insert", "orders", "o", 1, {"customer": 5})])
    store.claim([Once("key", "said")])
    # when all of it is kept by another database, in place of what is there
    other.write([write("insert", "a", 1, title="in the way", keywords=["old"]), write("insert", "d", 1)])
    assert {"items", "orders"} <= set(store.collections())
    for collection in store.collections():
        other.restore(collection, all_of(store, collection))
    assert other.claim(store.claims("", 10)) == [True]
    # then it has the same
    assert {"items", "orders"} <= set(other.collections())
    for collection in ("items", "orders"):
        kept = all_of(other, collection)
        assert [each.digest() for each in kept] == [each.digest() for each in all_of(store, collection)]
        assert [each.document for each in kept] == [each.document for each in all_of(store, collection)]
        assert other.kept(collection, [each.id for each in kept]) == kept
    assert [each.id for each in all_of(other, "items")] == ["a", "b", "c", "d", "never", "é"]
    for mine, its in zip(all_of(store, "items"), all_of(other, "items"), strict=True):
        assert (mine.tombstone is None) == (its.tombstone is None)
        if mine.tombstone and its.tombstone:
            assert mine.tombstone._replace(at=0) == its.tombstone._replace(at=0)
            assert abs(mine.tombstone.at - its.tombstone.at) < 0.01
    # and finds it by its indexes, and nothing of what was in the way
    assert ids(found(other, query({"keywords": "tea"}, sort=(("id", 1),)))) == ["a", "b", "é"]
    assert found(other, query({"keywords": "old"})) == []
    # and knows what comes again, and what was deleted
    done = other.change([first[0], patch, deletes[0], first[2], anew, first[3]])
    assert [isinstance(each, Written) and (each.effect, each.again) for each in done] == [
        ("exists", True), ("stored", True), ("deleted", False), ("deleted", False), ("exists", True),
        ("deleted", False),
    ]  # fmt: skip
    assert other.claim([Once("key", "said"), Once("key", "other")]) == [True, False]
    # and what is deleted there is deleted here
    other.restore("items", [Kept("a"), Kept("nothing")])
    assert [each.id for each in all_of(other, "items")] == ["b", "c", "d", "never", "é"]
    assert other.kept("items", ["x", "y"]) == [Kept("x"), Kept("y")]
    assert other.kept("nowhere", ["x"]) == [Kept("x")]
    assert other.scan("nowhere", "", 9) == []
