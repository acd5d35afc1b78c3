"""Databases that go away, are locked, are none, or are named wrongly."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.decimal128 import Decimal128

from gorgond.errors import ConfigError, StoreAway
from gorgond.stores import open_store, sqlite
from gorgond.stores.contract import Store
from tests.conftest import MongodServer
from tests.contract.stores import found, mongo_client, query, write
from tests.databases import SCHEMES
from tests.waiting import eventually


def test_health(store: Store) -> None:
    health = store.health()
    assert health["database"] in SCHEMES
    assert health["version"][0].isdigit()
    assert health["latency_ms"] > 0


def test_health_tells_of_the_connections(store: Store) -> None:
    # given as many reads at the same time as there are threads
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.find([query()]), range(40)))
    # then there are connections, no more than there were reads at a time, and none is in use any more
    told = store.health()["pool"]
    assert 1 <= told["open"] <= 5
    assert told["busy"] == 0


def test_mongod_goes_and_comes_back(mongod_factory: Callable[[], MongodServer]) -> None:
    server = mongod_factory()
    with closing(open_store(server.url + "test")) as store:
        store.prepare()
        assert store.write([write("insert", "a", 1, userid=1)]) == ["stored"]
        # when killed
        server.kill()
        # then everything says so
        attempts: list[Callable[[], Any]] = [
            lambda: store.find([query({"userid": 1}), query({"userid": 2})]),
            lambda: store.write([write("insert", "b", 1)]),
            store.prepare,
        ]
        for attempt in attempts:
            with pytest.raises(StoreAway, match="MongoDB"):
                attempt()
        # and when it is back, what was stored is there and the same store goes on
        server.start()
        assert eventually(lambda: _try(lambda: store.find([query({"userid": 1})]))) == [
            b'[{"userid":1,"ts":1,"id":"a"}]'
        ]
        assert store.write([write("insert", "a", 1, userid=1), write("insert", "b", 1)]) == ["exists", "stored"]


def _try(attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except StoreAway:
        return None


def test_an_index_with_other_options_is_no_reason_not_to_start(
    mongod_url: str, expected_logs: Callable[[str], None]
) -> None:
    with mongo_client(mongod_url) as client, closing(open_store(mongod_url + "other")) as store:
        client.other.items.create_index([("userid", 1), ("ts", -1)], sparse=True)
        expected_logs("index on items .* was not made")
        store.prepare()
        client.drop_database("other")


def test_foreign_documents_leave_as_json(mongod_url: str) -> None:
    with (
        mongo_client(mongod_url) as client,
        closing(open_store(mongod_url + "foreign")) as store,
    ):
        id = bson.ObjectId()
        when = datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)
        document = {"_id": id, "at": when, "raw": b"\xff\x00", "price": Decimal128("1.10"), "userid": 1}
        client.foreign.items.insert_one(document)
        expected = {"id": str(id), "at": -1, "raw": "/wA=", "price": "1.10", "userid": 1}
        assert found(store, query({"userid": 1})) == [expected]
        assert found(store, query({"userid": 1}), query({"userid": 2})) == [[expected], []]
        client.drop_database("foreign")


def test_a_sqlite_file_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    url = f"sqlite:///{tmp_path}/test.db"
    with closing(open_store(url)) as store, closing(sqlite3.connect(tmp_path / "test.db")) as other:
        store.prepare()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreAway, match="another process"):
            store.write([write("insert", "a", 1)])
        assert store.find([query()]) == [b"[]"]
        other.rollback()
        assert store.write([write("insert", "a", 1)]) == ["stored"]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(b"not a database" * 1000)
    with closing(open_store(f"sqlite:///{path}")) as store:
        with pytest.raises(StoreAway, match="move it away"):
            store.find([query()])
        path.unlink()
        assert store.write([write("insert", "a", 1)]) == ["stored"]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        closing(open_store(f"sqlite:///{tmp_path}/file/test.db")) as store,
        pytest.raises(StoreAway, match="permissions"),
    ):
        store.prepare()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://localhost/x", "allowed are mongodb://"),
        ("items.db", "allowed are"),
        ("", "allowed are"),
        ("sqlite:///", "sqlite:///path"),
        ("sqlite://items.db", "sqlite:///path"),
        ("sqlite:///:memory:", "sqlite:///path"),
        ("mongodb://", "mongodb://"),
        ("mongodb://host:port/x", "mongodb://"),
    ],
)
def test_urls_that_are_refused(url: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        open_store(url)
