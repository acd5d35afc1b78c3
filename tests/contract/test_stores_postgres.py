"""What PostgreSQL alone does: how it is away and back, what lets no store work with it, and who waits for whom."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from random import Random
from typing import Any

import pytest

from gorgond.errors import ConfigError, StoreAway, StoreDenied
from gorgond.stores import open_store
from gorgond.stores.contract import Kind, Query, Store, Write
from gorgond.stores.sql.tables import NAME_MAX
from tests.contract.stores import found, ids, query, write
from tests.postgres import PostgresServer, postgres_programs
from tests.waiting import eventually

KILLS = int(os.environ.get("KILLS", "3"))
KINDS: list[Kind] = ["insert", "replace", "patch", "delete"]


@pytest.fixture
def server(shared_postgres: PostgresServer) -> Iterator[PostgresServer]:
    shared_postgres.empty()
    yield shared_postgres
    shared_postgres.run("ALTER DATABASE gorgon RESET ALL")


@pytest.fixture
def store(server: PostgresServer) -> Iterator[Store]:
    with closing(open_store(server.url)) as store:
        store.prepare()
        yield store


def test_it_goes_and_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    # given a note
    server = PostgresServer(postgres_programs(), tmp_path_factory.mktemp("postgres"))
    with server.running(), closing(open_store(server.url)) as store:
        store.prepare()
        assert store.write([write("insert", "a", 1, userid=1)]) == ["stored"]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: store.find([query()]), range(40)))
        # when the server dies and is there again at once, then one who asks is told so, however many connections
        # there were, and the next one is answered
        server.kill()
        server.start()
        with pytest.raises(StoreAway, match="PostgreSQL"):
            store.find([query()])
        assert ids(found(store, query())) == ["a"]
        # when the server is killed, then everything says so
        server.kill()
        attempts: list[Callable[[], Any]] = [
            lambda: store.find([query({"userid": 1}), query({"userid": 2})]),
            lambda: store.write([write("insert", "b", 1)]),
            store.prepare,
        ]
        for attempt in attempts:
            with pytest.raises(StoreAway, match="PostgreSQL"):
                attempt()
        # and when it is back, what was stored is there and the same store goes on
        server.start()
        assert eventually(lambda: _try(lambda: ids(found(store, query({"userid": 1}))))) == ["a"]
        assert store.write([write("insert", "a", 1, userid=1), write("insert", "b", 1)]) == ["exists", "stored"]


def _try(attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except StoreAway:
        return None


def test_what_is_confirmed_outlives_its_death(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = PostgresServer(postgres_programs(), tmp_path_factory.mktemp("postgres"))
    kept, gone, open_to_doubt = set[str](), set[str](), set[str]()
    over = threading.Event()

    def write_on(store: Store, lane: int) -> None:
        """Insert notes, and delete those of the batch before."""
        before: list[str] = []
        for turn in count():
            if over.is_set():
                return
            new = [f"{lane}.{turn}.{n}" for n in range(20)]
            inserts = [Write("insert", "items", id, 1, {"userid": lane}, by=f"in {id}") for id in new]
            deletes = [Write("delete", "items", id, 1, {}, dated=False, by=f"out {id}") for id in before[::2]]
            try:
                done = store.write([*inserts, *deletes])
            except StoreAway:
                open_to_doubt.update(before[::2])
                before = []
                continue
            assert done == ["stored"] * len(inserts) + ["deleted"] * len(deletes)
            kept.update(new)
            gone.update(before[::2])
            before = new

    # given lanes that write in bulk, while the server is killed again and again in the middle of it
    with server.running(), closing(open_store(server.url)) as store:
        store.prepare()
        with ThreadPoolExecutor(4) as lanes:
            writing = [lanes.submit(write_on, store, lane) for lane in range(4)]
            try:
                for _ in range(KILLS):
                    enough = len(kept) + 200
                    eventually(lambda enough=enough: len(kept) > enough or any(each.done() for each in writing))  # type: ignore[misc]
                    server.kill()
                    server.start()
            finally:
                over.set()
            for each in writing:
                each.result()
        # then what was confirmed is there, and what was deleted is not
        there = set[str]()
        while some := ids(found(store, query({"id": {"$gt": max(there, default="")}}, sort=(("id", 1),), limit=1000))):
            there.update(some)
        assert kept - gone - open_to_doubt <= there
        assert not gone & there


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
def test_one_that_would_lose_what_is_stored_is_refused(
    server: PostgresServer, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a server that does not wait for its disk (of those that need a restart a question has the answer)
    if setting == "synchronous_commit":
        server.run("ALTER DATABASE gorgon SET synchronous_commit = off")
    else:
        from gorgond.stores.sql import postgres

        asked = postgres.SET_UP.replace(f"current_setting('{setting}')", "'off'")
        monkeypatch.setattr(postgres, "SET_UP", asked)
    # then nothing is written to it, and who asks is told the line to change
    with closing(open_store(server.url)) as store, pytest.raises(StoreDenied, match=f"say {setting} = on"):
        store.find([query()])


def test_a_table_that_is_not_ours_is_left_alone(server: PostgresServer) -> None:
    server.run("CREATE TABLE items (id integer, label text)")
    with closing(open_store(server.url)) as store:
        # then a store says what there is, and what it would need
        with pytest.raises(ConfigError, match=r"'items' that is none of ours.*id integer, label text.*ours has n, id"):
            store.prepare()
        assert server.run("SELECT count(*) FROM items") == [(0,)]


@pytest.mark.parametrize("name", ["pg_class", "pg_stats", "user", "select", "a" * 64, "a" * 63 + "b"])
def test_any_name_is_a_collections(store: Store, name: str) -> None:
    # given a collection that is called as a table of the server's, as a word of SQL, or longer than a table's name
    other = "a" * NAME_MAX
    assert store.write([Write("insert", name, "a", 1, {"x": 1}), Write("insert", other, "b", 1, {})]) == ["stored"] * 2
    # then its documents are its own
    store.index(name, ["x"], [])
    assert found(store, Query(name, {"x": 1})) == [{"id": "a", "ts": 1, "x": 1}]
    assert ids(found(store, Query(other, {}))) == ["b"]


def test_who_writes_the_same_ids_waits_and_never_in_a_ring(store: Store, server: PostgresServer) -> None:
    before = server.run("SELECT deadlocks FROM pg_stat_database WHERE datname = 'gorgon'")
    numbers = count()

    def work(seed: int) -> None:
        chance = Random(seed)
        for _ in range(15):
            batch = []
            for _ in range(30):
                kind, id, n = chance.choice(KINDS), chance.choice("abcdefghijklmnop"), next(numbers)
                document = {} if kind == "delete" else {"userid": n % 5, "n": n}
                batch.append(Write(kind, "items", id, n, document, dated=False, by=f"{n}"))
            done = store.change(batch)
            assert len(done) == len(batch)

    # when many lanes change the same few documents, in batches of any order
    with ThreadPoolExecutor(12) as lanes:
        list(lanes.map(work, range(12)))
    # then each is what its index says, and the database has found no two that waited for each other
    everything = found(store, query(limit=100))
    for user in range(5):
        by_index = found(store, query({"userid": user}, limit=100, sort=(("id", 1),)))
        assert by_index == sorted((one for one in everything if one.get("userid") == user), key=lambda one: one["id"])
    server.run("SELECT pg_stat_force_next_flush()")
    assert server.run("SELECT deadlocks FROM pg_stat_database WHERE datname = 'gorgon'") == before


def test_a_delete_leaves_a_row_for_a_day(store: Store, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # given documents that were deleted, one of them made again, and one that was never there and is not changed
    store.write([write("insert", id, 1) for id in "ab"] + [write("delete", id, 2) for id in "ab"])
    store.write([write("insert", "b", 3), write("patch", "c", 4)])
    assert server.run("SELECT id, doc IS NULL, tomb IS NULL FROM items ORDER BY id") == [
        ("a", True, False), ("b", False, False),
    ]  # fmt: skip
    # when a day has gone, then the next delete sweeps what is left of them
    monkeypatch.setattr("gorgond.stores.sql.writing.TOMBSTONE_SECONDS", -60)
    monkeypatch.setattr("gorgond.stores.sql.store.SWEEP_SECONDS", -1.0)
    store.write([write("delete", "d", 1)])
    assert server.run("SELECT id, doc IS NULL, tomb IS NULL FROM items ORDER BY id") == [("b", False, True)]


@pytest.mark.parametrize("url", ["postgresql://host:port/x", "postgresql://a b/x", "postgresql://h/x?nonsense=1"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://user:password@host:port/database"):
        open_store(url)


def test_a_password_is_told_nobody(server: PostgresServer) -> None:
    with pytest.raises(ConfigError) as refused:
        open_store("postgresql://me:se cret/5@host/x")
    assert "cret" not in str(refused.value)
    nowhere = open_store(server.url.replace("/gorgon?", "/nowhere?"))
    with closing(nowhere), pytest.raises(StoreDenied, match="nowhere"):
        nowhere.find([query()])


def test_a_host_that_says_nothing_is_passed_over(server: PostgresServer) -> None:
    # given a primary behind a host that takes connections, and then says nothing
    with tempfile.TemporaryDirectory() as hangs, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{hangs}/.s.PGSQL.5432")
        silent.listen()
        url = server.url.replace("host=", f"host={hangs},") + "&target_session_attrs=read-write"
        with closing(open_store(url)) as store:
            assert store.health()["database"] == "postgresql"
