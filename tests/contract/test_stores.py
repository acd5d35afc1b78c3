"""What every store does, tried on each: reads, writes and their effects."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from gorgond.errors import StoreRefused
from gorgond.stores import mongo, open_store, sqlite
from gorgond.stores.contract import Query, Store, Write
from gorgond.stores.sql import store as sql_store
from tests.contract.stores import found, ids, is_cut, query, write

# ---- writes


def test_effects_of_inserts(store: Store) -> None:
    # given
    assert store.write([write("insert", "a", 5, x=1)]) == ["stored"]
    # when repeated, or written by another one with other content
    effects = store.write([write("insert", "a", 5, x=1), write("insert", "a", 9, x=2), write("insert", "b", 1)])
    # then
    assert effects == ["exists", "conflict", "stored"]
    assert found(store, query({"id": "a"})) == [{"id": "a", "ts": 5, "x": 1}]


def test_effects_of_replaces(store: Store) -> None:
    assert store.write([write("replace", "a", 5, x=1, y=1)]) == ["stored"]
    assert store.write([write("replace", "a", 4, x=0)]) == ["stale"]
    assert store.write([write("replace", "a", 5, x=2)]) == ["stored"]
    assert store.write([write("replace", "a", 6, x=None)]) == ["stored"]
    assert found(store, query()) == [{"id": "a", "ts": 6, "x": None}]


def test_effects_of_patches(store: Store) -> None:
    store.write([write("insert", "a", 5, x=1, y=1, z=[1])])
    assert store.write([write("patch", "b", 5, x=2)]) == ["missing"]
    assert store.write([write("patch", "a", 4, x=2)]) == ["stale"]
    assert store.write([write("patch", "a", 6, x=2, y=None, n={"m": None})]) == ["stored"]
    assert store.write([write("patch", "a", 6)]) == ["stored"]
    assert found(store, query()) == [{"id": "a", "ts": 6, "x": 2, "z": [1], "n": {"m": None}}]


def test_effects_of_deletes(store: Store) -> None:
    store.write([write("insert", "a", 5)])
    assert store.write([write("delete", "b", 5)]) == ["missing"]
    assert store.write([write("delete", "b", 5)]) == ["missing"]
    assert store.write([write("delete", "a", 4)]) == ["stale"]
    assert store.write([write("delete", "a", 5)]) == ["deleted"]
    assert store.write([write("delete", "a", 5)]) == ["deleted"]
    assert found(store, query()) == []


def test_what_was_deleted_does_not_come_back(store: Store) -> None:
    # given
    store.write([write("insert", "a", 5), write("delete", "a", 7), write("delete", "never there", 7)])
    # when older writes are run again
    effects = store.write([write(kind, "a", 6, x=1) for kind in ("insert", "replace", "patch")])
    # then
    assert effects == ["stale", "stale", "stale"]
    assert store.write([write("insert", "never there", 6)]) == ["stale"]
    assert found(store, query()) == []
    # but newer ones are
    assert store.write([write("patch", "a", 8), write("insert", "a", 8)]) == ["missing", "stored"]
    assert store.write([write("insert", "a", 6), write("delete", "a", 7)]) == ["stale", "stale"]
    assert ids(found(store, query())) == ["a"]


def test_writes_to_one_id_keep_their_order(store: Store) -> None:
    writes = [
        write("insert", "a", 1, n=1),
        write("insert", "b", 1),
        write("patch", "a", 2, n=2),
        write("insert", "a", 2),
        write("delete", "b", 2),
        write("delete", "a", 3),
        write("insert", "b", 3, n=3),
        write("replace", "a", 4, n=4),
        write("patch", "a", 4, m=4),
    ]
    expected = ["stored", "stored", "stored", "conflict", "deleted", "deleted", "stored", "stored", "stored"]
    assert store.write(writes) == expected
    assert found(store, query({}, sort=(("id", 1),))) == [
        {"id": "a", "ts": 4, "n": 4, "m": 4},
        {"id": "b", "ts": 3, "n": 3},
    ]


def test_the_writes_own_id_and_ts_are_the_documents(store: Store) -> None:
    store.write([write("insert", "a", 1), Write("replace", "items", "a", 2, {"id": "z", "ts": 99, "x": 1})])
    store.write([Write("patch", "items", "a", 3, {"id": "z", "ts": None})])
    assert found(store, query()) == [{"id": "a", "ts": 3, "x": 1}]


def test_indexes_follow_the_documents(store: Store) -> None:
    def by(**filter: Any) -> list[str]:
        return ids(found(store, query(filter)))

    store.write([write("insert", "a", 1, userid=5, keywords=["x", "y", "x", 1, 1.0, True])])
    assert by(userid=5) == by(keywords="x") == by(keywords=1) == by(keywords=True) == ["a"]
    store.write([write("patch", "a", 2, keywords="z"), write("patch", "a", 3, userid=None)])
    assert by(userid=5) == by(keywords="x") == by(keywords=True) == []
    assert by(keywords="z") == by(userid=None) == ["a"]
    store.write([write("replace", "a", 4, userid=True), write("delete", "b", 4)])
    assert by(keywords="z") == by(userid=1) == []
    assert by(userid=True) == ["a"]
    store.write([write("delete", "a", 4), write("insert", "b", 5, userid=True)])
    assert by(userid=True) == ["b"]


def test_bad_writes_do_not_touch_their_neighbours(store: Store) -> None:
    huge = "x" * (16 * 1024 * 1024)
    store.write([write("insert", "half", 1, x=huge[: len(huge) // 2])])
    effects = store.write(
        [
            write("insert", "a", 1),
            write("insert", "huge", 1, x=huge),
            write("patch", "half", 2, y=huge[: len(huge) // 2]),
            write("replace", "huge", 1, x=huge),
            write("insert", "b", 1, **{"$set": 1}),
            write("insert", "c", 1, x=2**63),
            write("insert", "", 1),
            Write("insert", "System.users", "d", 1, {}),
            Write("explode", "items", "e", 1, {}),  # type: ignore[arg-type]
            write("insert", "f", 1),
        ]
    )
    assert [effects[0], effects[-1]] == ["stored", "stored"]
    assert all(isinstance(effect, StoreRefused) for effect in effects[1:-1])
    assert sorted(ids(found(store, query({}, projection=("ts",))))) == ["a", "f", "half"]


def test_large_documents_and_many(store: Store) -> None:
    large = "ü" * 4_000_000
    assert store.write([write("insert", f"{n}", n, x=large, userid=1) for n in range(3)]) == ["stored"] * 3
    # when one answer is larger than MongoDB's documents are, next to a small one of the same shape
    cut, small = store.find([query({"userid": n}, sort=(("ts", 1),)) for n in (1, 2)])
    # then the last is left out of it, which it says, and is had by itself
    assert isinstance(cut, bytes)
    assert is_cut(cut)
    assert [each["id"] for each in json.loads(cut)] == ["0"]
    assert (small, is_cut(small)) == (b"[]", False)
    assert found(store, query({"userid": 1}, sort=(("ts", -1),), limit=1))[0]["x"] == large


def test_texts_cut_short(store: Store) -> None:
    id = "i" * 50
    texts: dict[str, Any] = {"title": "ü" * 50, "body": "short", "more": ["x" * 50, {"a": "y" * 50}]}
    store.write([write("insert", id, 1, **texts)])
    store.write([write("insert", "other", 1, title="t")])
    shown = {**texts, "id": id, "title": "ü" * 8, "ts": 1}
    # alone, and beside others of its shape
    assert found(store, query(limit=1, sort=(("id", 1),), short=8)) == [shown]
    for filter, other in (({"id": id}, {"id": "other"}), ({"body": "short"}, {"body": "none"})):
        answers = store.find([query(filter, short=8), query(other, short=8), query(filter)])
        assert [json.loads(answer)[0]["title"] for answer in (answers[0], answers[2]) if isinstance(answer, bytes)] == [
            "ü" * 8, "ü" * 50,
        ]  # fmt: skip
    assert found(store, query({"id": id}, short=8, projection=("title",))) == [{"id": id, "title": "ü" * 8}]
    for wrong in (-1, "8", True):
        [refused] = store.find([query(short=wrong)])
        assert isinstance(refused, StoreRefused)


def test_any_text(store: Store) -> None:
    text = "Ü \u20ac 𝄞 \"quoted\" 'single' \\ \n\t\x01\x7f\u2028 $where {a.b} %s :p0 ?"
    document = {"title": text, "ключ": {"k'": [text]}, "x": 1e-300, "big": 2**63 - 1, "f": 5.0}
    assert store.write([write("insert", text, 1, **document)]) == ["stored"]
    for filter in ({"id": text}, {"title": text}, {"ключ.k'": text}, {"title": {"$in": [text]}}):
        assert found(store, query(filter)) == [{**document, "id": text, "ts": 1}]


def test_other_collections_need_no_preparation(url: str) -> None:
    with closing(open_store(url)) as store:
        assert store.find([Query("orders", {})]) == [b"[]"]
        assert store.count([Query("orders", {})]) == [0]
        assert store.write([Write("insert", "order", "a", 1, {"x": 1})]) == ["stored"]
        assert store.count([Query("order", {"x": 1})]) == [1]


def test_many_prepare_at_once(url: str) -> None:
    def prepare(_: int) -> None:
        with closing(open_store(url)) as store:
            store.prepare()
            store.prepare()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, range(4)))


# ---- reads


@pytest.fixture
def items(store: Store) -> Store:
    """100 items of 10 users."""
    store.write([write("insert", f"{n:03}", n, userid=n % 10, keywords=[f"k{n % 3}", n], n=n) for n in range(100)])
    return store


def test_limits(items: Store) -> None:
    newest = query({"userid": 3}, sort=(("ts", -1),), limit=3)
    assert ids(found(items, newest)) == ["093", "083", "073"]
    assert ids(found(items, query({"userid": 3}, sort=(("ts", -1),), limit=2, skip=9))) == ["003"]
    assert found(items, query(limit=0)) == []
    assert len(found(items, query())) == 20
    assert len(found(items, query(limit=1000))) == 100
    assert ids(found(items, query({"id": "003"}))) == ["003"]
    assert found(items, query({"id": "003"}, skip=1)) == []
    assert ids(found(items, query({"userid": 3, "ts": {"$lt": 83}}, sort=(("ts", -1),), limit=2))) == ["073", "063"]


def test_projection(items: Store) -> None:
    assert found(items, query({"userid": 3}, sort=(("n", 1),), limit=2, projection=("n", "nothing"))) == [
        {"id": "003", "n": 3},
        {"id": "013", "n": 13},
    ]
    assert found(items, query({"id": "003"}, projection=("id",))) == [{"id": "003"}]


def test_a_batch_gives_what_its_queries_give_alone(
    items: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[Any] = [3, 3.0, 3.5, "3", True, None, "$ts", "$$ROOT", "", 4, 4, 99, -1, "k1", 2**53 + 1]
    queries = [
        query({field: {"$eq": value} if n % 2 else value}, **rest)
        for field in ("userid", "keywords", "id", "n", "no.such")
        for n, value in enumerate(values)
        for rest in (
            {"sort": (("ts", -1),), "limit": 3},
            {"sort": (("n", 1), ("id", -1)), "limit": 2, "skip": 1},
            {"sort": (("ts", 1),), "limit": 101, "projection": ("n",)},
        )
    ]
    batches = [queries[at : at + 25] for at in range(0, len(queries), 25)]  # a batch has five seconds
    alone = [[items.find([one])[0] for one in batch] for batch in batches]
    with caplog.at_level("INFO"):
        assert [items.find(batch) for batch in batches] == alone
    assert "one by one" not in caplog.text
    assert items.find([]) == []
    # and so it is where mongod is too old to be asked for many at once
    monkeypatch.setattr(items, "_has_lookup", False, raising=False)
    assert [items.find(batch) for batch in batches] == alone


def test_count(items: Store) -> None:
    queries = [query(), query({"userid": 3}, limit=1, skip=5), query({"n": {"$gte": 90}}), query({"x": 1})]
    assert items.count(queries) == [100, 10, 10, 0]


def test_bad_queries_do_not_touch_their_neighbours(items: Store) -> None:
    bad = [query({"$where": "1"}), query({"userid": [1]}), query(limit=-1), Query("sqlite_master", {})]
    good = query({"userid": 3}, limit=1)
    answers = items.find([good, *bad, good])
    assert answers[0] == answers[-1] == items.find([good])[0]
    assert all(isinstance(answer, StoreRefused) for answer in answers[1:-1])
    counts = items.count([good, *bad, good])
    assert [counts[0], counts[-1]] == [10, 10]
    assert all(isinstance(number, StoreRefused) for number in counts[1:-1])


def test_search(store: Store) -> None:
    store.write(
        [
            write("insert", "a", 1, title="Der Überfluß", body="the quick brown fox", userid=1),
            write("insert", "b", 2, title="Fox", body="a fox is a fox", userid=2, language="klingon"),
            write("insert", "c", 3, title=["lazy", "dogs"], body=5),
            write("insert", "d", 4),
        ]
    )

    def search(words: str, filter: dict[str, Any] | None = None, **rest: Any) -> list[str]:
        return ids(found(store, query(filter, search=words, **rest)))

    assert search("fox")[0] == "b"
    assert search("FOX -quick", sort=(("ts", 1),)) == ["a", "b"]
    assert search("uberfluß") == ["a"]
    assert sorted(search('"lazy quick"')) == ["a", "c"]
    assert search("fox", {"userid": 1}) == ["a"]
    assert search("klingon") == search("5") == []
    assert search("the") == ["a"]
    assert store.count([query(search="fox"), query(search="nothing")]) == [2, 0]
    # when what was found changes
    store.write(
        [write("patch", "b", 5, title="Wolf", body=None), write("delete", "a", 5), write("insert", "e", 1, body="fox")]
    )
    # then so does what is found
    assert search("fox") == ["e"]
    assert search("wolf") == ["b"]


def test_reads_that_take_too_long(items: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo, "READ_MS", 1)
    monkeypatch.setattr(sqlite, "READ_SECONDS", 0.001)
    monkeypatch.setattr(sql_store, "READ_SECONDS", 0.001)
    items.write([write("insert", f"x{n}", n, deep=[{"a": [{"b": m} for m in range(10)]}] * 50) for n in range(500)])
    slow = query({"$or": [{"deep.a.b": {"$in": [f"{n}{m}" for m in range(1000)]}} for n in range(30)]})
    # the time is that of the whole batch
    for refused in (*items.find([slow, slow]), *items.count([slow, slow])):
        assert isinstance(refused, StoreRefused)
        assert "took too long" in str(refused)
        assert refused.code == 504
    # and those that are quick are answered, though a slow one comes before them
    monkeypatch.setattr(mongo, "READ_MS", 3000)
    monkeypatch.setattr(sqlite, "READ_SECONDS", 3.0)
    slower = query({"$or": [{"$or": [slow.filter] * 3}]})
    quick = query({"id": "x1"}, projection=("ts",))
    refused, answered = items.find([slower, quick])
    assert isinstance(refused, StoreRefused)
    assert not isinstance(answered, StoreRefused)
    assert json.loads(answered) == [{"id": "x1", "ts": 1}]
    monkeypatch.undo()
    assert items.count([query({"userid": 3})]) == [10]
