"""What applications have indexed, on each database: found by the index, kept by whoever writes, made beside writers."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from gorgond.roles.row import Indexes
from gorgond.stores import open_store, sqlite
from gorgond.stores.contract import Query, Store, Write
from gorgond.stores.declared import FIELDS_MAX, declaration, dropped_of, indexes_of
from gorgond.stores.sql import indexing
from gorgond.stores.sql import store as sql_store
from gorgond.stores.sql.store import SqlStore
from tests.contract.stores import found, ids, mongo_client


def order(id: str, ts: int, **document: Any) -> Write:
    return Write("insert", "orders", id, ts, document)


def orders(store: Store, **filter: Any) -> list[str]:
    return ids(found(store, Query("orders", filter, (("ts", -1),), limit=100)))


def is_led(url: str, field: str) -> bool:
    """Whether the database finds orders by an index of that field."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            row = ("orders", field)
            whole = 'SELECT 1 FROM "gorgon.indexes" WHERE collection = ? AND field = ? AND upto >= last'
            return connection.execute(whole, row).fetchone() is not None
    if not url.startswith("mongodb"):
        with closing(open_store(url)) as store:
            assert isinstance(store, SqlStore)
            with store._session() as session:
                return field in indexing.whole(session, store._dialect.schema, "orders")
    with mongo_client(url) as client:
        plan = client.get_default_database()["orders"].find({field: 1}).sort("ts", -1).explain()
        return "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])


VALUES: list[Any] = [
    1,
    2**53 + 1,
    -0.5,
    "1",
    "",
    'a"b',
    True,
    False,
    None,
    [1, "1", 1, True],
    [],
    {"a": 1},
    [[1], {"b": 2}],
]


def test_what_is_found_is_the_same_with_an_index(store: Store, url: str) -> None:
    # given documents with values of all kinds, of which some are there before the index and some come after it
    writes = [order(f"o{n}", n, kind=value) for n, value in enumerate(VALUES)] + [order("none", 99)]
    store.write(writes[::2])
    before = [orders(store, kind=value) for value in (1, "1", True, False, "", -0.5)]
    store.index("orders", ["customer"], ["kind"])
    store.write(writes[1::2])
    # when they are asked for by the index, then the same are found as by looking at each
    plain = [Write("insert", "plain", each.id, each.ts, each.document) for each in writes]
    store.write(plain)
    for value in (1, "1", True, False, "", -0.5, 2**53 + 1, 'a"b', 7):
        query = Query("plain", {"kind": value}, (("ts", -1),), limit=100)
        assert orders(store, kind=value) == ids(found(store, query))
    assert set(before[0]) <= set(orders(store, kind=1))
    assert is_led(url, "kind")


def test_whoever_writes_keeps_it(store: Store) -> None:
    store.index("orders", ["customer"], ["skus"])
    # given an order that is changed, replaced, deleted
    store.write([order("a", 1, customer=1, skus=["x", "y"]), order("b", 2, customer=1, skus=["x"])])
    assert orders(store, customer=1) == ["b", "a"]
    assert orders(store, skus="x") == ["b", "a"]
    store.write([Write("patch", "orders", "a", 3, {"skus": ["z"]})])
    assert (orders(store, skus="x"), orders(store, skus="z"), orders(store, customer=1)) == (["b"], ["a"], ["a", "b"])
    store.write([Write("replace", "orders", "b", 4, {"customer": 2})])
    assert (orders(store, skus="x"), orders(store, customer=2), orders(store, customer=1)) == ([], ["b"], ["a"])
    store.write([Write("delete", "orders", "a", 5, {})])
    assert orders(store, customer=1) == []
    # when it is asked for again, then nothing changes
    store.index("orders", ["customer"], ["skus"])
    assert orders(store, customer=2) == ["b"]


def test_it_is_made_while_others_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "INDEX_PAUSE", 0.001)
    monkeypatch.setattr(sqlite, "INDEX_STEP", 20)
    monkeypatch.setattr(sql_store, "INDEX_STEP", 20)
    # given many orders, and a writer who goes on
    store.write([order(f"o{n}", n, customer=n % 7) for n in range(1000)])
    over = threading.Event()
    written = 1000

    def write() -> None:
        nonlocal written
        while not over.is_set() or written < 1100:
            store.write([order(f"o{written}", written, customer=written % 7)])
            store.write([Write("patch", "orders", f"o{written % 1000}", 5000 + written, {"customer": 9})])
            written += 1
            over.wait(0.01)  # for SQLite is fair to nobody

    writer = threading.Thread(target=write)
    writer.start()
    # when an index is made meanwhile
    try:
        store.index("orders", ["customer"], [])
    finally:
        over.set()
        writer.join()
    # then it has all of them
    for customer in range(10):
        query = Query("orders", {"$or": [{"customer": customer}]}, limit=1000)
        assert store.count([Query("orders", {"customer": customer})]) == store.count([query])


def test_as_long_as_it_lacks_some_nobody_is_led_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a file of SQLite, and a store that ends before its index is filled
    path = tmp_path / "test.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.write([order("a", 1, customer=1)])
        with monkeypatch.context() as ends:
            ends.setattr(sqlite.SqliteStore, "_fill", lambda *_: None)
            store.index("orders", ["customer"], [])
        store.write([order("b", 2, customer=1)])
    with closing(open_store(f"sqlite:///{path}")) as store:
        # when another one looks, then it finds all
        assert orders(store, customer=1) == ["b", "a"]
        # and goes on with it
        store.index("orders", ["customer"], [])
        assert is_led(f"sqlite:///{path}", "customer")
        assert orders(store, customer=1) == ["b", "a"]


def test_an_older_process_keeps_it(tmp_path: Path) -> None:
    # given an index in a file of SQLite
    path = tmp_path / "test.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.prepare()
        store.index("orders", ["customer"], [])
        store.write([order("a", 1, customer=1)])
        # when one that knows nothing of it writes
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute('INSERT INTO orders (id, ts, doc) VALUES (\'b\', 2, \'{"id":"b","ts":2,"customer":1}\')')
            connection.execute("DELETE FROM orders WHERE id = 'a'")
        # then what it wrote is found
        assert orders(store, customer=1) == ["b"]


def test_what_cannot_be_indexed_is_left_out() -> None:
    good = {"collection": "orders", "newest": ["customer"], "values": ["sku", "sku"]}
    bad: list[dict[str, Any]] = [
        {}, {"collection": 5, "newest": ["a"]}, {"collection": "users", "newest": ["passhash"]},
        {"collection": "tombstones", "values": ["a"]}, {"collection": "orders", "newest": 7, "values": "sku"},
        {"collection": "orders", "newest": ["id", "ts", "a.b", "$x", "", None, "x" * 65, "a'b", "customer"]},
        {"collection": "items", "newest": ["userid"], "values": ["keywords"]},
    ]  # fmt: skip
    assert indexes_of([*bad, good, *bad]) == {"orders": Indexes(("customer",), ("sku",))}
    many = [{"collection": "orders", "values": [f"f{n}" for n in range(FIELDS_MAX + 5)]}]
    assert len(indexes_of(many)["orders"].values) == FIELDS_MAX


def test_an_index_that_nobody_declares_any_more_is_done_away_with(store: Store, url: str) -> None:
    # given: two indexes, and documents of which one is changed when they are gone
    store.index("orders", ["customer"], ["sku"])
    store.write([order("a", 1, customer=5, sku=["x", "y"]), order("b", 2, customer=5, sku="x")])
    # when
    store.drop_index("orders", ["customer", "unknown"])
    store.drop_index("nowhere", ["customer"])
    # then: that one is gone, and the same is found
    assert not is_led(url, "customer")
    assert is_led(url, "sku")
    assert orders(store, customer=5) == ["b", "a"]
    assert orders(store, sku="y") == ["a"]
    # and made anew it knows what happened meanwhile
    store.write([Write("patch", "orders", "b", 3, {"customer": 6})])
    store.index("orders", ["customer"], [])
    assert is_led(url, "customer")
    assert (orders(store, customer=5), orders(store, customer=6)) == (["a"], ["b"])


def test_fields_are_dropped_that_none_declares() -> None:
    before = declaration("shop.orders", "orders", Indexes(("customer", "price"), ("sku",)), {})
    assert dropped_of([before]) == {}
    now = declaration("shop.orders", "orders", Indexes(("customer",)), before)
    assert dropped_of([now]) == {"orders": ("price", "sku")}
    # those that somebody else asks for stay
    other = declaration("till.orders", "orders", Indexes((), ("sku",)), {})
    assert dropped_of([now, other]) == {"orders": ("price",)}
    # and those that are asked for again
    again = declaration("shop.orders", "orders", Indexes(("price",), ("sku",)), now)
    assert dropped_of([again]) == {"orders": ("customer",)}
    # what is no declaration is left out
    assert dropped_of([{"id": "x", "collection": "items", "dropped": ["userid", "a.b", 5]}, {"dropped": "a"}]) == {}


def test_one_of_an_older_version_that_cannot_go_yet_stays(mongod_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{mongod_url}older"
    with closing(open_store(url)) as store, mongo_client(url) as client:
        orders = client.get_default_database()["orders"]
        old = orders.create_index([("customer", 1), ("ts", -1)])

        # when MongoDB drops none, as while another store makes one of this collection
        def busy(*_: Any, **__: Any) -> None:
            raise OperationFailure("cannot perform operation: an index build is currently running", 12587)

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(Collection, "drop_index", busy)
            store.index("orders", ["customer"], [])
        # then the new one is there, and the old one goes the next time
        assert {old, f"{old}__id_-1"} <= {*orders.index_information()}
        store.index("orders", ["customer"], [])
        assert old not in orders.index_information()
        client.drop_database("older")
