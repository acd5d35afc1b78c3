"""Writes that come again are told from others: inserts by their first content, changes by their message."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gorgond.errors import StoreRefused
from gorgond.stores import open_store
from gorgond.stores.contract import Effect, Kind, Once, Query, Store, Write, Written
from gorgond.stores.mongo_commands import FIRST
from gorgond.stores.repeats import MARKS_MAX
from tests.contract.stores import found, ids, mongo_client, query, write
from tests.databases import EARLIER

KINDS: list[Kind] = ["insert", "replace", "patch", "delete"]
_numbers = count()


def message() -> str:
    """The id of one more message. Several threads may ask at once."""
    return f"message {next(_numbers)}"


def undated(kind: Kind, id: str, sent: int, by: str = "", /, **document: Any) -> Write:
    """A write that comes after whatever is there, of a message of its own."""
    return Write(kind, "items", id, sent, document, dated=False, by=by or message())


def done(store: Store, *writes: Write) -> list[Effect | int]:
    """The effect of each and the `ts` after it, one behind the other."""
    told: list[Effect | int] = []
    for one in store.change(writes):
        assert isinstance(one, Written), one
        told += [one.effect, one.ts]
    return told


# ---- inserts


def test_the_same_content_again_is_no_second_item_and_other_content_a_conflict(store: Store) -> None:
    # given a note, that was edited since
    first = undated("insert", "a", 5, title="a", n=1.5, deep={"x": [1, {"y": 1e-7, "b": 2}]}, userid=5)
    assert done(store, first) == ["stored", 5]
    assert done(store, undated("patch", "a", 6, title="b"), undated("replace", "a", 7, title="c")) == [
        "stored", 6, "stored", 7,
    ]  # fmt: skip
    # when it is written again, of another time and with its fields in another order
    again = undated("insert", "a", 9, deep={"x": [1, {"b": 2, "y": 1e-7}]}, userid=5, n=1.5, title="a")
    # then it exists, and stays as it is
    assert done(store, again) == ["exists", 7]
    # when anything in it is other, then it is a conflict
    others: list[dict[str, Any]] = [{"title": "c"}, {"userid": 6}, {"n": 1.25}, {"more": None}, {"deep": {}}]
    for changes in others:
        assert store.write([undated("insert", "a", 9, **{**first.document, **changes})]) == ["conflict"], changes
    assert found(store, query()) == [{"id": "a", "ts": 7, "title": "c"}]


def test_a_key_is_one_requests(store: Store) -> None:
    # given a request under a key, then it is that one's, also when it comes again, with others and side by side
    assert store.claim([Once("k", "a")]) == [True]
    assert store.claim([Once("k", "a"), Once("k", "b"), Once("l", "b"), Once("k", "a")]) == [True, False, True, True]
    with ThreadPoolExecutor(8) as pool:
        claims = [Once("m", "ab"[n % 2]) for n in range(40)]
        firsts = pool.map(lambda one: store.claim([one]), claims)
        [won] = {one.said for one, [first] in zip(claims, firsts, strict=True) if first}
    assert store.claim(claims) == [one.said == won for one in claims]
    # and it has nothing to do with what is stored
    assert found(store, query()) == []


def test_a_key_is_free_again_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/x.db")) as store:
        assert store.claim([Once("k", "a"), Once("k", "b")]) == [True, False]
        monkeypatch.setattr("gorgond.stores.sqlite_writes.TOMBSTONE_SECONDS", -1)
        assert store.claim([Once("k", "b")]) == [True]


def test_a_ts_that_the_writer_chose_belongs_to_the_content(store: Store) -> None:
    assert store.write([write("insert", "a", 5), write("insert", "a", 5), write("insert", "a", 6)]) == [
        "stored", "exists", "conflict",
    ]  # fmt: skip
    assert store.write([undated("insert", "a", 5)]) == ["conflict"]


def test_what_a_replace_made_is_its_first_content(store: Store) -> None:
    store.write([undated("replace", "a", 5, x=1), undated("replace", "a", 6, x=2)])
    assert store.write([undated("insert", "a", 7, x=1), undated("insert", "a", 7, x=2)]) == ["exists", "conflict"]


@pytest.mark.parametrize("url", EARLIER, indirect=True)
def test_documents_of_an_older_version_are_compared_by_what_they_are(store: Store, url: str) -> None:
    # given a note of which nobody kept what it was first
    store.write([write("insert", "a", 5, x=[1.5], userid=1)])
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("UPDATE items SET first = NULL")
    else:
        with mongo_client(url) as client:
            client.get_default_database().items.update_one({}, {"$unset": {FIRST: ""}})
    # then
    assert store.write([write("insert", "a", 5, userid=1, x=[1.5]), undated("insert", "a", 9, userid=1, x=[1.5])]) == [
        "exists", "exists",
    ]  # fmt: skip
    assert store.write([write("insert", "a", 5, x=[1.5], userid=2), write("insert", "a", 6, x=[1.5], userid=1)]) == [
        "conflict", "conflict",
    ]  # fmt: skip


def test_a_sqlite_file_of_an_older_version_is_written_as_it_is(tmp_path: Path) -> None:
    # given the tables as they were
    path = tmp_path / "test.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE items (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, ts INTEGER NOT NULL,"
                           " doc TEXT NOT NULL)")  # fmt: skip
        connection.execute("""INSERT INTO items VALUES (1, 'a', 5, '{"x":1,"id":"a","ts":5}')""")
        connection.execute(
            "CREATE TABLE tombstones (collection TEXT, id TEXT, ts INTEGER NOT NULL, at REAL NOT NULL,"
            " known INTEGER NOT NULL, PRIMARY KEY (collection, id)) WITHOUT ROWID"
        )
        connection.execute("INSERT INTO tombstones VALUES ('items', 'b', 7, 9e9, 1)")
    with closing(open_store(f"sqlite:///{path}")) as store:
        # when they are read, then written
        assert found(store, query()) == [{"x": 1, "id": "a", "ts": 5}]
        writes = [write("insert", "a", 5, x=1), write("insert", "a", 5, x=2), write("insert", "b", 6)]
        # then all is as it should be
        assert store.write([*writes, undated("delete", "a", 3)]) == ["exists", "conflict", "stale", "deleted"]
        assert done(store, undated("insert", "a", 3, x=2), undated("insert", "b", 3)) == ["stored", 7, "stored", 8]


def test_one_of_many_inserts_of_an_id_wins_and_its_repeats(store: Store) -> None:
    for id in map(str, range(20)):
        inserts = [[undated("insert", id, n, title=n % 5)] for n in range(20)]
        with ThreadPoolExecutor(8) as threads:
            effects = [effect for [effect] in threads.map(store.write, inserts)]
        [stored] = found(store, query({"id": id}))
        assert effects.count("stored") == 1
        for n, effect in enumerate(effects):
            assert effect in (("stored", "exists") if n % 5 == stored["title"] else ("conflict",))


def test_what_is_kept_with_a_document_is_not_shown(store: Store) -> None:
    store.write([undated("insert", id, 1, userid=1, x=1) for id in "ab"] + [undated("patch", "a", 1, x=2)])
    shown = [{"id": "a", "ts": 2, "userid": 1, "x": 2}, {"id": "b", "ts": 1, "userid": 1, "x": 1}]
    by_id = (("id", 1),)
    asked = [query(sort=by_id), query({"userid": 1}, sort=by_id), query({"userid": 1, "x": {"$gt": 0}}, sort=by_id)]
    assert found(store, *asked) == [shown] * 3
    assert found(store, query({"userid": 1}, sort=by_id), query({"userid": 2}, sort=by_id)) == [shown, []]
    assert found(store, query({"id": "a"}), query({"id": "b"})) == [[each] for each in shown]


# ---- what comes after whatever is there


def test_a_write_without_a_ts_comes_after_what_is_there(store: Store) -> None:
    # given a note of a clock that is far ahead
    assert done(store, write("insert", "a", 1000, x=1)) == ["stored", 1000]
    # when it is changed by others, then each comes after the one before
    writes = [undated("patch", "a", 5, y=1), undated("replace", "a", 6, y=2), undated("patch", "a", 2000, y=3)]
    assert done(store, *writes) == ["stored", 1001, "stored", 1002, "stored", 2000]
    assert done(store, undated("patch", "a", 2000, y=4)) == ["stored", 2001]
    # and who chose a ts is late
    assert store.write([write("patch", "a", 2000, y=5), write("delete", "a", 2000)]) == ["stale", "stale"]
    assert found(store, query()) == [{"id": "a", "ts": 2001, "y": 4}]
    # and a delete comes last, and what is made after it, after that
    assert done(store, undated("delete", "a", 7)) == ["deleted", 2002]
    assert done(store, undated("patch", "a", 7, y=6)) == ["missing", 7]
    assert done(store, undated("insert", "a", 7, y=7)) == ["stored", 2003]
    assert found(store, query()) == [{"id": "a", "ts": 2003, "y": 7}]
    assert store.write([undated("delete", "a", 7)]) == ["deleted"]
    assert done(store, undated("replace", "a", 7, y=8)) == ["stored", 2005]


def test_after_the_last_ts_there_is_nothing_comes_and_nobody_else_is_touched(store: Store) -> None:
    # given documents of the last time there is, one of them deleted
    last = 2**63 - 1
    store.write([write("insert", id, last) for id in "ab"] + [write("delete", "b", last), write("insert", "c", 1)])
    # when they are changed, then that alone is refused
    changes = [undated(kind, "a", 5) for kind in ("replace", "patch", "delete")] + [undated("insert", "b", 5)]
    *refused, effect = store.write([*changes, undated("patch", "c", 5)])
    assert effect == "stored"
    assert all(isinstance(one, StoreRefused) and one.code == 409 for one in refused), refused
    # but for changes of that time
    assert store.write([write("patch", "a", last, x=1), write("delete", "a", last)]) == ["stored", "deleted"]


@pytest.mark.parametrize("ts", [float("inf"), float("nan"), 1e300, -5, "text", None])
def test_a_ts_that_somebody_else_put_there_stops_nobody(mongod_url: str, ts: object) -> None:
    with mongo_client(mongod_url) as client, closing(open_store(mongod_url + "foreign_ts")) as store:
        client.foreign_ts.items.insert_one({"_id": "a", "ts": ts})
        effects = store.write([undated("patch", "a", 5, x=1), undated("insert", "b", 5), undated("delete", "a", 6)])
        assert effects[1] == "stored"
        assert all(isinstance(one, StoreRefused) for one in effects[::2]) == (ts in (float("inf"), 1e300))
        client.drop_database("foreign_ts")


def test_what_is_dated_stays_as_it_was(store: Store) -> None:
    store.write([write("insert", "a", 5, x=1), undated("delete", "a", 7)])
    # when it comes again it was there once, and others are too old
    assert store.write([write("insert", "a", 5, x=1), write("insert", "a", 6, x=1)]) == ["deleted", "stale"]
    assert store.write([write("insert", "a", 8, x=1)]) == ["stored"]


def test_of_several_who_change_what_they_found_one_succeeds(store: Store) -> None:
    # given a document that several have found as it is
    store.write([write("insert", "a", 5, x=0)])
    found_at_5 = [Write("patch", "items", "a", 6, {"x": n}, by=message(), unchanged=5) for n in range(1, 9)]
    # when they change it, one after the other and side by side
    assert store.write([found_at_5[0], found_at_5[0], found_at_5[1]]) == ["stored", "stored", "stale"]
    with ThreadPoolExecutor(8) as pool:
        assert [effect for [effect] in pool.map(lambda one: store.write([one]), found_at_5[2:])] == ["stale"] * 6
    # then the first one's is there, and who finds that changes it
    assert found(store, query()) == [{"id": "a", "ts": 6, "x": 1}]
    found_at_6 = [Write("patch", "items", "a", 7, {"x": n}, by=message(), unchanged=6) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sorted(str(effect) for [effect] in pool.map(lambda one: store.write([one]), found_at_6)) == [
            *["stale"] * 7, "stored",
        ]  # fmt: skip
    # and what is gone is missing
    assert store.write([Write("patch", "items", "b", 7, {"x": 1}, unchanged=6)]) == ["missing"]


def test_many_change_one_document_at_the_same_time(store: Store) -> None:
    store.write([write("insert", "a", 1)])

    def patch(n: int) -> tuple[Effect, int]:
        [one] = store.change([undated("patch", "a", 0, **{f"f{n}": n})])
        assert isinstance(one, Written)
        return one.effect, one.ts

    with ThreadPoolExecutor(8) as threads:
        effects = list(threads.map(patch, range(40)))
    # then each was done, each after another
    assert sorted(effects) == [("stored", ts) for ts in range(2, 42)]
    assert found(store, query()) == [{"id": "a", "ts": 41, **{f"f{n}": n for n in range(40)}}]


def test_a_delete_that_comes_last_leaves_nothing(store: Store) -> None:
    # when a document is changed and deleted at the same time
    for id in map(str, range(40)):
        store.write([write("insert", id, 1)])
        changes = [undated("patch", id, 0, n=n) for n in range(3)]
        with ThreadPoolExecutor(4) as threads:
            effects = [
                effect for [effect] in threads.map(store.write, [[one] for one in (*changes, undated("delete", id, 0))])
            ]
        # then it is gone, and who changed it did so before
        assert effects[3] == "deleted"
        assert set(effects[:3]) <= {"stored", "missing"}
    assert found(store, query()) == []


# ---- what comes again


def test_a_message_that_several_handle_at_the_same_time_is_done_once(store: Store) -> None:
    store.write([write("insert", "a", 1)])
    # when each of twenty changes is done by three at the same time, as a consumer does whose messages were given to
    # others
    changes = [[undated("patch", "a", 0, **{f"f{n}": n})] for n in range(20)]
    with ThreadPoolExecutor(6) as threads:
        effects = list(threads.map(store.write, [one for one in changes for _ in range(3)]))
    # then each is done once: a change is one millisecond
    assert effects == [["stored"]] * 60
    assert found(store, query()) == [{"id": "a", "ts": 21, **{f"f{n}": n for n in range(20)}}]


@pytest.mark.parametrize("kind", ["patch", "replace"])
def test_a_change_that_comes_again_does_nothing_more(store: Store, kind: Kind) -> None:
    store.write([undated("insert", "a", 1, title="first")])
    change = undated(kind, "a", 2, title="ours")
    assert done(store, change) == ["stored", 2]
    # when others changed it since
    assert done(store, undated("patch", "a", 3, title="theirs")) == ["stored", 3]
    # then it is answered as before, and theirs stays
    assert done(store, change, change) == ["stored", 3, "stored", 3]
    assert found(store, query()) == [{"id": "a", "ts": 3, "title": "theirs"}]
    # when it was deleted since, then it stays deleted
    store.write([undated("delete", "a", 4)])
    assert store.write([change]) == ["deleted"]
    assert found(store, query()) == []
    # when it was made anew since, then it is not touched
    store.write([undated("insert", "a", 5, title="new")])
    store.write([change])
    assert [each["title"] for each in found(store, query())] == ["new"]


@pytest.mark.parametrize("kind", ["patch", "replace"])
def test_a_dated_change_that_comes_again_does_not_undo_another_one_of_its_time(store: Store, kind: Kind) -> None:
    # given two changes of the same ts, the later one on top
    ours, theirs = (Write(kind, "items", "a", 5, {"title": by}, by=by) for by in ("ours", "theirs"))
    assert store.write([write("insert", "a", 1), ours, theirs]) == ["stored"] * 3
    # when the first comes again, then the later one stays
    assert store.write([ours]) == ["stored"]
    assert found(store, query())[0]["title"] == "theirs"


def test_an_insert_that_comes_again_does_not_bring_back_what_was_deleted(store: Store) -> None:
    insert, repeat = undated("insert", "a", 9, x=1), undated("insert", "a", 9, x=1)
    assert store.write([insert, repeat, undated("delete", "a", 1)]) == ["stored", "exists", "deleted"]
    assert store.write([insert, repeat]) == ["deleted", "deleted"]
    assert found(store, query()) == []
    # and what others make of that id then is theirs
    assert store.write([undated("insert", "a", 1, x=2)]) == ["stored"]
    assert store.write([insert]) == ["deleted"]
    assert [each["x"] for each in found(store, query())] == [2]


def test_a_delete_that_comes_again_does_not_touch_what_was_made_since(store: Store) -> None:
    delete, vain = undated("delete", "a", 5), undated("delete", "b", 5)
    store.write([write("insert", "a", 1)])
    assert store.write([delete, vain, delete, vain]) == ["deleted", "missing", "deleted", "missing"]
    store.write([undated("insert", "a", 1, x=1), undated("replace", "b", 1, x=1)])
    assert store.write([delete, vain]) == ["deleted", "missing"]
    assert sorted(ids(found(store, query()))) == ["a", "b"]


def test_as_many_changes_are_remembered_as_documented(store: Store) -> None:
    store.write([write("insert", "a", 1)])
    ours = undated("patch", "a", 2, title="ours")
    store.write([ours, *(undated("patch", "a", 2, title=n) for n in range(MARKS_MAX - 1))])
    store.write([ours])
    assert found(store, query())[0]["title"] == MARKS_MAX - 2


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_again_whenever_changes_nothing(store: Store, seed: int) -> None:
    random = Random(seed)
    plain: list[Write] = []
    for n in range(100):
        # given writes by clocks that differ
        kind, id = random.choice(KINDS), random.choice("abc")
        document = {} if kind == "delete" else {random.choice("xyz"): random.randrange(3)}
        one = Write(kind, "plain", id, random.randrange(100), document, dated=False, by=f"{seed} {n}")
        twice = Write(kind, "again", id, one.ts, document, dated=False, by=one.by)
        effects = store.write([twice])
        assert store.write([one]) == effects
        if effects[0] in ("stored", "exists", "deleted"):
            plain.append(twice)
        # when some of what was done before comes again, in any order
        store.write(random.choices(plain, k=random.choice([0, 0, 1, 5])) if plain else [])
        # then all is as if it had not
        [once, more] = store.find([Query(name, {}, sort=(("id", 1),)) for name in ("plain", "again")])
        assert once == more, one
