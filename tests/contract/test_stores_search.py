"""The search index: made when first needed, beside readers and writers, and nothing is missing when it answers."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from gorgond.errors import StoreRefused
from gorgond.stores import open_store, searchindex, sqlite
from gorgond.stores.contract import Store
from gorgond.stores.sqlite_tables import Collection
from tests.contract.test_stores import found, ids, query, store, url, write
from tests.waiting import eventually

__all__ = ["store", "url"]  # fixtures


def test_a_search_before_its_index_is_there_is_told_to_come_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an index that takes longer to make than a search waits
    monkeypatch.setattr(searchindex, "PATIENCE", 0.0)
    begun = []
    make = store._builder._make  # type: ignore[attr-defined]
    go = threading.Event()

    def slowly(collection: str, closing: threading.Event) -> None:
        begun.append(collection)
        go.wait(20)
        make(collection, closing)

    store._builder._make = slowly  # type: ignore[attr-defined]
    store.write([write("insert", "a", 1, title="fox")])

    # when there are many searches
    answers = [answer for _ in range(5) for answer in store.find([query(search="fox")] * 10)]

    # then one makes it, nobody waits, and each is told
    assert len(begun) == 1
    assert {answer.code for answer in answers if isinstance(answer, StoreRefused)} == {503}
    assert len(answers) == 50
    go.set()
    assert eventually(lambda: isinstance(store.find([query(search="fox")])[0], bytes))
    assert ids(found(store, query(search="fox"))) == ["a"]


def test_sqlite_makes_it_in_steps_and_writers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "INDEX_STEP", 10)
    monkeypatch.setattr(searchindex, "PATIENCE", 0.0)
    path = f"sqlite:///{tmp_path}/test.db"
    with closing(open_store(path)) as first:
        first.prepare()
        first.write([write("insert", f"{n}", 1, title=f"fox n{n}") for n in range(100)])
        # given a process that was ended in the middle
        monkeypatch.setattr(sqlite, "INDEX_PAUSE", 20.0)
        first.find([query(search="fox")])
        assert eventually(lambda: _gap(path) == (10, 100))
    assert _gap(path) == (10, 100)

    with closing(open_store(path)) as second:
        # when documents before, within and behind the gap are written
        second.write([write(kind, f"{n}", 2, title="wolf") for n in (5, 50) for kind in ("replace", "patch")])
        second.write([write("delete", f"{n}", 2) for n in (6, 60)])
        second.write([write("insert", "new", 2, title="fox")])
        # then another goes on, and finds what is there now
        monkeypatch.setattr(sqlite, "INDEX_PAUSE", 0.0)
        assert eventually(lambda: isinstance(second.find([query(search="fox")])[0], bytes))
        assert _gap(path) is None
        gone = {"5", "50", "6", "60"}
        assert set(ids(found(second, query(search="fox", limit=1000)))) == {f"{n}" for n in range(100)} - gone | {"new"}
        assert sorted(ids(found(second, query(search="wolf")))) == ["5", "50"]


def _gap(path: str) -> object:
    with closing(open_store(path)) as store:
        assert isinstance(store, sqlite.SqliteStore)
        with store._connection() as connection:
            return Collection("items").text_gap(connection)


def test_an_answer_is_not_larger_than_allowed(store: Store) -> None:
    store.write([write("insert", f"{n}", n, userid=n % 2, body="x" * 1_000_000) for n in range(40)])
    large, small = query({"userid": 0}, limit=20), query({"userid": 0}, limit=10)
    for answers in (store.find([large, small]), store.find([large]) + store.find([small])):
        assert isinstance(answers[0], StoreRefused)
        assert answers[0].code == 422
        assert isinstance(answers[1], bytes)
    fewer = query({"userid": 0}, limit=20, projection=("userid",))
    assert len(found(store, fewer)) == 20
