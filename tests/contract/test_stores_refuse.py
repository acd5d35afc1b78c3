"""Every database stores what the check lets through, and the names that a driver needs are its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gorgond.bounds import DEPTH_MAX
from gorgond.errors import StoreRefused
from gorgond.stores import open_store
from gorgond.stores.contract import Query, Store, Write
from gorgond.stores.filters import WORDS_MAX, check_collection, check_write
from gorgond.stores.mongo_commands import PUT
from gorgond.stores.schema import DECLARED, RESERVED, TEXT
from tests.contract.stores import found, ids, mongo_client, query, write

NAMES = ["title", "body", "userid", "keywords", "text language", "language", PUT, "_gorgon_first", "_id", "_x",
         "id", "ts", "", "$set", "a.b", "a\0", "a\ud800", "ü", "rowid", "n", "x" * 2000, "__proto__", "0"]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -(2**63), 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 0.0, -0.0, 1e308, 5e-324, float("nan"),
    float("inf"), "", "klingon", "none", "\0", "\ud800", "\udfff\ud800", "\ufffe\uffff", "𝄞", "a" * 300_000, b"bytes",
    {"$ref": "a", "$id": 1}, {"$date": 1}, {"a.b": 1}, {"": 1}, {"language": "klingon"}, {PUT: "klingon"},
    [], [[]], [[["x"]], [1]], list(range(20_000)), {"a": {"b": [{"c": None}]}}, {5: 1}, (1, 2), {1, 2},
]  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = 1
    for n in range(depth):
        value = [value] if n % 2 else {"a": value}
    return value


def documents(random: Random) -> Iterator[dict[str, Any]]:
    """Documents of which each has something at least that might be refused."""
    for name in NAMES:
        yield {name: random.choice(["klingon", 1, None])}
    for value in [*VALUES, *map(nested, (DEPTH_MAX - 2, DEPTH_MAX - 1, DEPTH_MAX, 200))]:
        for name in ("title", "userid", "keywords", "x"):
            yield {name: value}
    for _ in range(200):
        yield {random.choice(NAMES): random.choice(VALUES) for _ in range(random.randrange(1, 5))}


def test_what_the_check_lets_through_is_stored_and_nothing_else(store: Store) -> None:
    # given documents that are wrong in every way, and some that only look so
    writes = [Write("insert", "items", f"{n}", 5, each) for n, each in enumerate(documents(Random(1)))]
    # when they are written
    effects = store.write(writes)
    # then each is stored that the check lets through, by which a web server says 202, and no other
    stored = 0
    for one, effect in zip(writes, effects, strict=True):
        try:
            check_write(one)
        except StoreRefused:
            assert isinstance(effect, StoreRefused), one
        else:
            assert effect == "stored", (str(one)[:300], effect)
            stored += 1
    assert 50 < stored < len(writes) - 50
    assert store.count([query()]) == [stored]


def test_words_by_the_hundred_thousand(store: Store) -> None:
    words = " ".join(f"{n:05x}" for n in range(WORDS_MAX))
    many = write("insert", "a", 1, body=words), write("insert", "b", 1, title=["more"], body=words)
    stored, refused = store.write(many)
    assert stored == "stored"
    assert isinstance(refused, StoreRefused)
    assert "different words" in str(refused)


def test_a_refusal_says_why(store: Store) -> None:
    for document, why in (
        ({"x": 2**63}, "x: whole numbers have at most 64 bits"),
        ({"_gorgon_first": 1}, "_gorgon_first: names that begin with _gorgon are the store's own"),
        ({"a.b": 1}, "a.b"),
    ):
        [refused] = store.write([Write("insert", "items", "a", 1, document)])
        assert isinstance(refused, StoreRefused)
        assert why in str(refused)
        assert refused.field in document


def test_a_patch_may_not_touch_what_is_the_stores(store: Store) -> None:
    store.write([write("insert", "a", 1)])
    [effect] = store.write([Write("patch", "items", "a", 2, {"_gorgon_first": None})])
    assert isinstance(effect, StoreRefused)
    answers = store.find([query({"_gorgon_first": None}), query(sort=(("_gorgon_first", 1),))])
    answers += store.find([query(projection=("_gorgon_first",)), query({"_gorgon_first.x": 1})])
    assert all(isinstance(answer, StoreRefused) for answer in answers)


def test_a_language_does_not_make_a_note_refused(store: Store) -> None:
    # when notes say a language where the index for searches might look for one
    named = [{"title": "fox", name: "klingon"} for name in ("language", "text language")]
    assert store.write([write("insert", f"{n}", 1, **each) for n, each in enumerate(named)]) == ["stored"] * 2
    # then they are stored and found
    assert sorted(ids(found(store, query(search="fox")))) == ["0", "1"]


def test_an_index_that_an_earlier_version_has_made_is_replaced(mongod_url: str) -> None:
    with mongo_client(mongod_url) as client, closing(open_store(mongod_url + "languages")) as store:
        # given MongoDB's own index for words, as it was made before, and a note in it
        keys = [(field, "text") for field in TEXT["items"]]
        client.languages.items.create_index(keys, default_language="none", language_override="text language")
        refused = store.write([write("insert", "a", 1, title="fox", **{"text language": "klingon"})])
        assert isinstance(refused[0], StoreRefused)
        assert store.write([write("insert", "b", 1, title="fox")]) == ["stored"]
        # when a store makes ours, and once more
        store.make_search()
        store.make_search()
        # then every document is stored and found, and the other one is gone
        assert store.write([write("insert", "a", 1, title="fox", **{"text language": "klingon"})]) == ["stored"]
        assert sorted(ids(found(store, query(search="fox")))) == ["a", "b"]
        assert not any("textIndexVersion" in each for each in client.languages.items.index_information().values())
        client.drop_database("languages")


def test_no_collection_has_a_name_that_sqlite_uses_itself(tmp_path: Path) -> None:
    # given a database with everything in it that a driver makes
    path = tmp_path / "test.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.prepare()
        store.make_search()
        store.write([write("insert", "a", 1), write("delete", "a", 2)])
        # then each name in it is a collection's, or one that no collection can have
        with closing(sqlite3.connect(path)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert names > DECLARED.keys() | {"tombstones", "text_building"}
        for name in (names - DECLARED.keys()) | set(RESERVED):
            with pytest.raises(StoreRefused, match="collection"):
                check_collection(name)
            [refused] = store.write([Write("insert", name, "a", 1, {})])
            assert isinstance(refused, StoreRefused)
            assert refused.code == 400
            [answer] = store.find([Query(name, {})])
            assert isinstance(answer, StoreRefused)
