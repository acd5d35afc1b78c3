"""The search index: made beside readers and writers, nothing is missing when it answers; and doing away with it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gorgond.errors import StoreRefused
from gorgond.redpill import now_ms
from gorgond.stores import contract, mongo_search, open_store, sqlite
from gorgond.stores.contract import ANSWER_BYTES, AtLeast, Store
from gorgond.stores.sql import reading
from gorgond.stores.sqlite_tables import Collection
from tests.contract.stores import found, ids, is_cut, query, write
from tests.waiting import eventually


def test_a_search_before_its_index_is_there_is_told_to_come_again(url: str) -> None:
    with closing(open_store(url)) as store:
        # given notes that are not indexed yet
        store.prepare()
        store.write([write("insert", "a", 1, title="fox")])
        # then who searches is told so, and nobody else
        answers = store.find([query(search="fox"), query({"id": "a"})])
        assert isinstance(answers[0], StoreRefused)
        assert answers[0].code == 503
        assert isinstance(answers[1], bytes)
        # when they are, by several at once, then they are found
        with ThreadPoolExecutor(3) as threads:
            for made in [threads.submit(store.make_search) for _ in range(3)]:
                made.result()
        store.write([write("insert", "b", 1, title="fox")])
        assert sorted(ids(found(store, query(search="fox")))) == ["a", "b"]


def test_without_the_index_notes_are_written_as_before(store: Store) -> None:
    # given an indexed note, and the index done away with
    store.write([write("insert", "a", 1, title="fox")])
    assert store.drop_search()
    assert not store.drop_search()
    # then nobody searches, and notes are written
    [refused] = store.find([query(search="fox")])
    assert isinstance(refused, StoreRefused)
    assert store.write([write("replace", "a", 2, title="wolf"), write("insert", "b", 2, title="fox")]) == ["stored"] * 2
    # when it is made again, then it has what is there now
    store.make_search()
    assert ids(found(store, query(search="fox"))) == ["b"]
    assert ids(found(store, query(search="wolf"))) == ["a"]


def test_sqlite_makes_it_in_steps_and_writers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "INDEX_STEP", 10)
    path = f"sqlite:///{tmp_path}/test.db"
    with closing(open_store(path)) as first:
        first.prepare()
        first.write([write("insert", f"{n}", 1, title=f"fox n{n}") for n in range(100)])
        # given a process that was ended in the middle
        monkeypatch.setattr(sqlite, "INDEX_PAUSE", 20.0)
        with ThreadPoolExecutor(1) as thread:
            making = thread.submit(first.make_search)
            assert eventually(lambda: _gap(path) == (10, 100))
            # while it is at it, others leave it alone
            with closing(sqlite.SqliteStore(path)) as other:
                monkeypatch.setattr(other._closing, "wait", lambda _: other._closing.set())  # it looks once
                other.make_search()
            assert _gap(path) == (10, 100)
            first.close()
            making.result(5)
    assert _gap(path) == (10, 100)

    with closing(open_store(path)) as second:
        # when documents before, within and behind the gap are written
        second.write([write(kind, f"{n}", 2, title="wolf") for n in (5, 50) for kind in ("replace", "patch")])
        second.write([write("delete", f"{n}", 2) for n in (6, 60)])
        second.write([write("insert", "new", 2, title="fox")])
        assert isinstance(second.find([query(search="fox")])[0], StoreRefused)
        # then another goes on, as soon as the first one is given up, and finds what is there now
        monkeypatch.setattr(sqlite, "INDEX_PAUSE", 0.0)
        monkeypatch.setattr(sqlite, "now_ms", lambda: now_ms() + int(sqlite.INDEX_LEASE * 1000))
        second.make_search()
        assert _gap(path) is None
        gone = {"5", "50", "6", "60"}
        assert set(ids(found(second, query(search="fox", limit=1000)))) == {f"{n}" for n in range(100)} - gone | {"new"}
        assert sorted(ids(found(second, query(search="wolf")))) == ["5", "50"]


def _gap(path: str) -> object:
    with closing(open_store(path)) as store:
        assert isinstance(store, sqlite.SqliteStore)
        with store._connection() as connection:
            gap = Collection("items").text_gap(connection)
            return gap and gap[:2]


def test_an_answer_is_not_larger_than_allowed(store: Store) -> None:
    store.write([write("insert", f"{n}", n, userid=n % 2, body="x" * 1_000_000) for n in range(40)])
    newest = (("ts", -1),)
    large, small = query({"userid": 0}, sort=newest), query({"userid": 0}, sort=newest, limit=10)
    for answers in (store.find([large, small]), store.find([large]) + store.find([small])):
        # then the one has as many as there is room for, the newest first as asked, and says so
        assert isinstance(answers[0], bytes)
        assert is_cut(answers[0])
        assert [each["ts"] for each in json.loads(answers[0])] == list(range(38, 8, -2))
        assert len(answers[0]) <= ANSWER_BYTES
        # and the other all of it
        assert not is_cut(answers[1])
        assert isinstance(answers[1], bytes)
        assert len(json.loads(answers[1])) == 10
    fewer = query({"userid": 0}, limit=20, projection=("userid",))
    assert len(found(store, fewer)) == 20


def test_a_document_for_which_there_is_never_room_does_not_hide_the_others(store: Store) -> None:
    # given one that has grown, a change at a time
    store.write([write("insert", each, ts, title=each) for ts, each in enumerate("abc")])
    store.write([write("patch", "b", 5 + n, **{f"x{n}": "y" * 4_000_000}) for n in range(4)])
    # then a list leaves it out, and says so; alone or beside others of its shape
    for queries in ([query(sort=(("id", 1),))], [query({"id": each}) for each in "abc"]):
        answers = [answer for answer in store.find(queries) if isinstance(answer, bytes)]
        assert len(answers) == len(queries)
        assert [each["id"] for answer in answers for each in json.loads(answer)] == ["a", "c"]
        assert any(map(is_cut, answers))


def test_a_word_finds_its_plural_and_case_does_not_matter(store: Store) -> None:
    # given notes with a word in several forms, one of which only begins so
    for id, title in (("one", "An egg"), ("many", "EGGS"), ("leg", "leggings"), ("other", "tea")):
        store.write([write("insert", id, 1, title=title)])
    # then all forms are found by either case, and nothing that has the word within
    for search in ("egg", "Egg", "EGG"):
        assert sorted(ids(found(store, query(search=search)))) == ["many", "one"]
    # and what is short is not the beginning of everything
    assert ids(found(store, query(search="te"))) == []


def test_of_what_a_search_finds_so_many_are_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (contract, sqlite, mongo_search, reading):
        monkeypatch.setattr(module, "COUNTED", 5)
    store.write([write("insert", f"{n}", n, title="fox", userid=int(n > 4)) for n in range(7)])
    # then a number up to which is counted is exact, and says so
    few, many, others = store.count([query({"userid": 0}, search="fox"), query(search="fox"), query()])
    assert few == 5
    assert not isinstance(few, AtLeast)
    # and of more only that they are more, but without a search
    assert many == 5
    assert isinstance(many, AtLeast)
    assert others == 7
