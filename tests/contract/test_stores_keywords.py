"""Keywords are found whatever their case, by an index, on each database, whoever wrote them."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from typing import Any

import pytest

from gorgond.stores import open_store
from gorgond.stores import sqlite as sqlite_module
from gorgond.stores.contract import Store
from gorgond.stores.folding import folded
from gorgond.stores.mongo_folding import whatever_case
from gorgond.stores.sql import matching as sql_matching
from tests.contract.stores import found, ids, mongo_client, query, write
from tests.databases import EARLIER

SPELLINGS = {
    "iphone": ["iPhone", "IPHONE", "iphone", "IpHoNe"],
    "élan vital": ["Élan Vital", "ÉLAN VITAL", "E\u0301lan vital"],
    "ёлка": ["ЁЛКА", "ёлка", "ёЛкА"],
    "strasse": ["Straße", "STRASSE"],
}


def with_keyword(store: Store, wanted: Any) -> list[str]:
    return ids(found(store, query({"keywords": wanted}, sort=(("ts", -1),), limit=100)))


@pytest.fixture
def spelt(store: Store) -> dict[str, list[str]]:
    """A note for each spelling, in a list or by itself, and others; the ids by the word, the newest first."""
    notes = [(word, spelling) for word, spellings in SPELLINGS.items() for spelling in spellings]
    store.write(
        [
            write("insert", f"{word} {n}", n, keywords=[spelling, "other"] if n % 3 else spelling)
            for n, (word, spelling) in enumerate(notes)
        ]
    )
    return {word: [f"{w} {n}" for n, (w, _) in reversed([*enumerate(notes)]) if w == word] for word in SPELLINGS}


def test_each_spelling_finds_all(store: Store, spelt: dict[str, list[str]]) -> None:
    all = sum(map(len, SPELLINGS.values()))
    for word, spellings in SPELLINGS.items():
        for typed in spellings:
            assert with_keyword(store, typed) == with_keyword(store, {"$in": [typed, "none", None]}) == spelt[word]
            assert with_keyword(store, {"$in": [typed.upper(), "OTHER"]})
            assert store.count([query({"keywords": typed, "userid": None})]) == [len(spellings)]
            assert store.count([query({"keywords": {"$ne": typed}})]) == [all - len(spellings)]
            assert store.count([query({"$or": [{"keywords": typed}, {"id": "none"}]})]) == [len(spellings)]
    assert with_keyword(store, "iphon") == []
    # what was written stays as it is, and other fields mind the case
    assert found(store, query({"id": spelt["iphone"][0]}))[0]["keywords"] == "IpHoNe"
    store.write([write("insert", "title", 99, title="iPhone")])
    assert ids(found(store, query({"title": "iphone"}))) == []


def test_changes_keep_it(store: Store, spelt: dict[str, list[str]]) -> None:
    newest, *rest = spelt["iphone"]
    store.write([write("patch", newest, 100, keywords=["Other", "OTHER"])])
    assert with_keyword(store, "IPHONE") == rest
    assert newest in with_keyword(store, "other")
    store.write([write("replace", newest, 101, keywords=["iPHONE"], title="again")])
    store.write([write("patch", newest, 102, title="once more")])
    assert with_keyword(store, "iPhone") == [newest, *rest]
    store.write([write("patch", newest, 103, keywords=None)])
    store.write([write("delete", rest[0], 104)])
    assert with_keyword(store, "iPhone") == rest[1:]


def as_an_older_version(url: str, id: str, *, became: list[str]) -> None:
    """Make the index what it would be if an older version had written all, and had changed that note at last."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.create_function("own", 2, lambda doc, text: f'"{text}"' in doc)
            connection.execute(
                "DELETE FROM \"items.keys\" AS k WHERE field = 'keywords'"
                " AND NOT (SELECT own(doc, k.value) FROM items d WHERE d.n = k.n)"
            )
            changed = "UPDATE items SET ts = ts + 1, doc = json_set(doc, '$.keywords', json(?)) WHERE id = ?"
            connection.execute(changed, (str(became).replace("'", '"'), id))
        return
    with mongo_client(url) as client:
        items = client.get_default_database()["items"]
        items.update_many({"_id": {"$ne": id}}, {"$unset": {"_gorgon_keywords": ""}})
        items.update_one({"_id": id}, {"$set": {"keywords": became}})


@pytest.mark.parametrize("url", EARLIER, indirect=True)
def test_what_an_older_version_wrote_is_found_once_a_store_began(
    url: str, spelt: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "FOLD_STEP", 2)
    monkeypatch.setattr(sqlite_module, "FOLD_PAUSE", 0.0)
    # given notes of an older version, which changed the last one of those that were there
    changed = spelt["iphone"].pop()
    as_an_older_version(url, changed, became=["Android"])
    # when a store of this version begins
    with closing(open_store(url)) as began:
        began.prepare()
        # then all are found
        for word, spellings in SPELLINGS.items():
            for typed in spellings:
                assert with_keyword(began, typed) == spelt[word]


def test_it_is_found_by_the_index(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counting(value: Any) -> Any:
        nonlocal looked
        looked += 1
        return folded(value)

    monkeypatch.setattr(sqlite_module, "fold", counting)
    monkeypatch.setattr(sql_matching, "fold", counting)
    # given many notes, of which few have a keyword
    with closing(open_store(url)) as store:
        store.prepare()
        store.write([write("insert", f"n{n}", n, keywords=["Rare" if n % 100 == 7 else "Often"]) for n in range(500)])
        # when it is asked for, then nobody looks at each note
        assert len(with_keyword(store, "RARE")) == 5
        assert looked <= 1
    if url.startswith("mongodb"):
        with mongo_client(url) as client:
            items = client.get_default_database()["items"]
            plan = items.find({"$and": [{}, *whatever_case("keywords", "RARE")]}).explain()
            assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])


def test_what_is_folded_stays_as_it_is() -> None:
    for number in range(sys.maxunicode):
        once = folded(chr(number) + "x") if not 0xD800 <= number < 0xE000 else ""
        assert folded(once) == once
