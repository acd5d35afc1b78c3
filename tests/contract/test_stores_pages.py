"""Lists page by page, on each database: none is told twice or left out, and one far away costs as the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import Any

import pytest

from gorgond.errors import StoreRefused
from gorgond.stores import open_store, sqlite
from gorgond.stores.contract import Page, Query, Sort, Store
from gorgond.stores.paging import cursor_of, following
from gorgond.stores.sql.store import SqlStore
from tests.contract.stores import found, ids, mongo_client, query, write

SORTS: list[Sort] = [
    (("ts", -1),),
    (("ts", 1),),
    (("id", -1),),
    (("id", 1),),
    (("ts", -1), ("id", 1)),
    (("ts", 1), ("id", -1)),
]
FILTERS: list[dict[str, Any]] = [
    {},
    {"userid": 1},
    {"keywords": "Tea"},
    {"userid": 1, "ts": {"$gte": 2}},
    {"$and": [{"keywords": "tea"}, {"userid": {"$in": [0, 1]}}]},
]


def page(store: Store, sort: Sort, filter: dict[str, Any], cursor: str, **rest: Any) -> tuple[list[str], str]:
    """The ids of the page after a cursor, and where the next one begins."""
    asked = following(filter, sort, cursor) if cursor else filter
    [answer] = store.find([query(asked, sort=sort, **rest)])
    assert isinstance(answer, bytes)
    return ids(json.loads(answer)), answer.next if isinstance(answer, Page) else ""


def pages(store: Store, sort: Sort, filter: dict[str, Any], **rest: Any) -> Iterator[list[str]]:
    cursor = ""
    while True:
        found, cursor = page(store, sort, filter, cursor, **rest)
        yield found
        if not cursor:
            return


def test_no_document_is_told_twice_or_left_out(store: Store) -> None:
    # given notes of which many have the same ts, written in no order
    notes = [
        write("insert", f"{n * 7 % 23:02}" + "é" * (n % 2), n % 3, userid=n % 2, keywords=["tea", n], title=f"fox {n}")
        for n in range(23)
    ]
    store.write(notes)
    for sort in SORTS:
        for filter in FILTERS:
            # when they are asked for page by page, whole or in part
            for rest in ({}, {"projection": ("title",)}):
                told = [*pages(store, sort, filter, limit=4, **rest)]
                # then all are told, in their order
                assert [*chain(*told)] == ids(found(store, query(filter, sort=sort, limit=1000)))
                assert all(len(each) == 4 for each in told[:-1])
        # and those that a search has found
        told = [*pages(store, sort, {"userid": 1}, limit=4, search="fox")]
        assert [*chain(*told)] == ids(found(store, query({"userid": 1}, sort=sort, limit=1000)))
        # and each is in its place: by ts or id, then by id
        key = {"ts": lambda each: each.ts, "id": lambda each: each.id}
        ordered = sorted(notes, key=lambda each: each.id, reverse=sort[-1][1] < 0)
        ordered.sort(key=key[sort[0][0]], reverse=sort[0][1] < 0)
        assert ids(found(store, query(sort=sort, limit=1000))) == [each.id for each in ordered]


def test_a_list_goes_on_where_it_was_whatever_is_written_meanwhile(store: Store) -> None:
    store.write([write("insert", f"{n}", n) for n in range(9)])
    sort = (("ts", -1),)
    # given a reader of the first page, whose last document is deleted then, and another one is added before it
    first, cursor = page(store, sort, {}, "", limit=3)
    assert first == ["8", "7", "6"]
    store.write([write("delete", "6", 10), write("insert", "new", 99)])
    # when the next one is asked for, then nothing is told twice or left out
    assert page(store, sort, {}, cursor, limit=3)[0] == ["5", "4", "3"]
    # and backwards from there comes what was before
    assert page(store, (("ts", 1),), {}, cursor, limit=3)[0] == ["7", "8", "new"]


def test_only_what_is_full_has_a_next_page(store: Store) -> None:
    store.write([write("insert", f"{n}", n, userid=n % 2) for n in range(5)])
    newest = (("ts", -1),)
    asked = [
        query({"userid": 0}, sort=newest, limit=3),
        query({"userid": 1}, sort=newest, limit=3),
        query({"userid": 0}, sort=(("title", 1),), limit=1),
        query({"userid": 0}, limit=1),
        query(sort=newest, limit=0),
        query({"id": "3"}, limit=1),
        query({"ts": {"$lt": 3}}, sort=(("id", 1),), limit=3),
    ]
    answers = store.find(asked)
    assert [answer.next if isinstance(answer, Page) else "" for answer in answers] == [
        cursor_of(0, "0"), "", "", "", "", "", cursor_of(2, "2"),
    ]  # fmt: skip


def work_of(store: Store, url: str, asked: Query) -> int:
    """What the database looks at for a query: keys and documents, or the steps of its machine."""
    if isinstance(store, sqlite.SqliteStore):
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with store._connection() as connection:
            connection.set_progress_handler(count, 1)
        assert isinstance(store.find([asked])[0], bytes)
        return steps
    if isinstance(store, SqlStore):
        with store._session() as session, pytest.MonkeyPatch.context() as watched:
            asked_for: list[tuple[str, Any]] = []
            run = type(session).run

            def watch(self: Any, sql: str, parameters: Any = ()) -> Any:
                asked_for.append((sql, parameters))
                return run(self, sql, parameters)

            watched.setattr(type(session), "run", watch)
            assert isinstance(store.find([asked])[0], bytes)
            [(sql, parameters)] = [each for each in asked_for if each[0].startswith("SELECT d.doc")]
            [[explained]] = run(session, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        return rows_of(json.loads(explained)[0]["Plan"])
    with mongo_client(url) as client:
        db = client.get_default_database()
        db.command("profile", 2)
        assert isinstance(store.find([asked])[0], bytes)
        db.command("profile", 0)
        [done] = db["system.profile"].find({"ns": f"{db.name}.items", "op": "query"})
        db.drop_collection("system.profile")
        return int(done["keysExamined"] + done["docsExamined"])


def rows_of(plan: dict[str, Any]) -> int:
    """The rows that the scans of a plan of PostgreSQL's looked at."""
    inner = plan.get("Plans", [])
    if inner:
        return sum(map(rows_of, inner))
    return int((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])


def test_a_page_far_away_costs_as_the_first(store: Store, url: str) -> None:
    # given thousands of notes, a few of which have one ts
    store.write([write("insert", f"{n * 7919 % 4001:04}", n // 3, userid=n % 2, body="x" * 100) for n in range(4001)])
    if isinstance(store, SqlStore):
        with store._session() as session:
            session.run("ANALYZE")  # as the server does by and by
    for filter in ({"userid": 1}, {}):
        for direction in (-1, 1):
            sort = (("ts", direction),)
            # when the first ten are asked for, and ten in the middle
            first = work_of(store, url, query(filter, sort=sort, limit=10))
            far = work_of(store, url, query(following(filter, sort, cursor_of(667, "2000")), sort=sort, limit=10))
            # then the database looks at about as much for them, and at far more for what is left out by its number
            assert far < 2 * first
            assert work_of(store, url, query(filter, sort=sort, limit=10, skip=1000)) > 10 * first


def test_indexes_of_an_older_version_give_way(mongod_url: str) -> None:
    # given a database with the indexes that an older version has made
    with mongo_client(mongod_url) as client:
        items = client["older"]["items"]
        items.create_index([("userid", 1), ("ts", -1)])
        items.create_index([("ts", -1)])
        # when a store begins
        with closing(open_store(mongod_url + "older")) as store:
            store.prepare()
        # then those that end with the id are there in their place
        keys = [[name for name, _ in each["key"]] for each in items.index_information().values()]
        assert ["userid", "ts", "_id"] in keys
        assert ["ts", "_id"] in keys
        assert not [each for each in keys if each[-1] == "ts"]
        client.drop_database("older")


@pytest.mark.parametrize("cursor", ["", "?", "W10", "WzEsMl0", "Wy0xLCIiXQ", cursor_of(1, "a") + "=", None, 7, "é"])
def test_what_is_no_cursor_is_refused_by_name(cursor: object) -> None:
    with pytest.raises(StoreRefused, match="after: must be what an answer says under `next`") as refused:
        following({}, (("ts", -1),), cursor)
    assert (refused.value.code, refused.value.field) == (400, "after")


@pytest.mark.parametrize("sort", [(), (("title", 1),), (("ts", -1), ("title", 1))], ids=str)
def test_what_is_in_another_order_has_no_pages(sort: Sort) -> None:
    with pytest.raises(StoreRefused, match="after: only what is sorted by ts or id has pages"):
        following({}, sort, cursor_of(1, "a"))
