"""The index for searches has the words of what is there, and no others: after a change, a delete, a death, an
upgrade."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from gorgond.stores import mongo_indexing, mongo_sweep, mongo_writes, open_store
from gorgond.stores.contract import Store, Write
from gorgond.stores.mongo import MongoStore
from gorgond.stores.mongo_commands import PUT, bulk
from gorgond.stores.mongo_words import Note, Words, entries_of
from gorgond.stores.sql.store import SqlStore
from gorgond.stores.sqlite import SqliteStore
from gorgond.stores.words import words_in
from tests.contract.stores import found, ids, mongo_client, query, write

WORDS = [f"word{n:02}" for n in range(30)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep waits for nobody, and is done by one call of keep_search."""
    monkeypatch.setattr(mongo_sweep, "GRACE", 0.0)
    monkeypatch.setattr(mongo_indexing, "SWEPT", 600.0)


@pytest.fixture
def mongo(mongod_url: str) -> Iterator[MongoStore]:
    with mongo_client(mongod_url) as client:
        client.drop_database("sweep")
        with closing(_another(mongod_url)) as store:
            yield store
        client.drop_database("sweep")


def _another(mongod_url: str) -> MongoStore:
    store = open_store(mongod_url + "sweep")
    assert isinstance(store, MongoStore)
    store.prepare()
    store.make_search()
    return store


def in_index(store: Store) -> dict[str, set[str]]:
    """The words that are in the index, and of which notes."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    if isinstance(store, MongoStore):
        words = store._db["items.words"]
        blocks = {each["_id"]: each for each in words.find({"ids": {"$exists": True}})}
        for segment in words.find({"tier": {"$exists": True}}):
            for word, entries in segment["words"].items():
                for key, places in entries_of(entries):
                    assert not set(places).intersection(blocks[key].get("gone", b""))
                    found[word].update(blocks[key]["ids"][place] for place in places)
        return found
    if isinstance(store, SqlStore):
        with store._session() as session:
            rows = session.run('SELECT d.id, w.words FROM "items.words" w JOIN items d ON d.n = w.n')
        for id, lexemes in rows:
            for word in lexemes.replace("'", "").split():
                found[word].add(id)
        return found
    assert isinstance(store, SqliteStore)
    with store._connection() as connection:
        connection.execute('CREATE VIRTUAL TABLE temp.all_words USING fts5vocab(main, "items.text", instance)')
        ids = dict(connection.execute("SELECT n, id FROM items").fetchall())
        for word, n in connection.execute("SELECT term, doc FROM temp.all_words"):
            found[word].add(ids[n])
        connection.execute("DROP TABLE temp.all_words")
    return found


def in_notes(store: Store) -> dict[str, set[str]]:
    """What is to be in it."""
    words = defaultdict(set)
    for note in found(store, query(limit=1000)):
        for word in words_in(f"{note.get('title', '')} {note.get('body', '')}"):
            words[word].add(note["id"])
    return words


def says_what_is(store: Store, some: list[str]) -> bool:
    """Whether searches for some words find what is there and only that."""
    there = in_notes(store)
    return all(sorted(ids(found(store, query(search=word, limit=1000)))) == sorted(there[word]) for word in some)


def batches(seed: int) -> Iterator[list[Write]]:
    """Changes of all kinds of few notes, one of which is changed most of the time; some batches come twice."""
    chance = random.Random(seed)
    for ts in range(1, 60):
        batch = []
        for n in range(chance.randrange(1, 12)):
            kind = chance.choices(("insert", "replace", "patch", "delete"), (3, 3, 2, 1))[0]
            id = "often" if chance.random() < 0.2 else f"{chance.randrange(50)}"
            text = " ".join(chance.sample(WORDS, 3))
            document = {} if kind == "delete" else {"title": text, "body": f"only{ts}x{n}"}
            batch.append(Write(kind, "items", id, ts, document, by=f"{ts} {n}"))  # type: ignore[arg-type]
        yield from [batch] * chance.choice((1, 1, 1, 2))


@pytest.mark.parametrize("seed", range(5))
def test_what_was_changed_leaves_the_index(store: Store, seed: int) -> None:
    # given notes that were changed and deleted in all ways
    for batch in batches(seed):
        store.change(batch)
    some = random.Random(seed).sample(WORDS, 5)
    assert says_what_is(store, some)
    # when what is too much was swept out
    store.keep_search()
    # then the index has the words of the notes that are there, and searches find them
    assert in_index(store) == in_notes(store)
    assert says_what_is(store, some)
    # as one that is made anew has
    store.drop_search()
    store.make_search()
    assert in_index(store) == in_notes(store)


def test_a_note_that_is_edited_very_often_is_in_the_index_once(mongo: MongoStore) -> None:
    mongo.write([write("insert", f"{n}", 1, title="fox") for n in range(100)])
    for n in range(300):
        mongo.write([write("replace", f"{n % 3}", 2 + n, title=f"fox{n}")])
    before = sum(len(each["ids"]) for each in mongo._db["items.words"].find({"ids": {"$exists": True}}))
    mongo.keep_search()
    words = mongo._db["items.words"]
    assert before == 400
    assert words.count_documents({"ids": {"$exists": True}}) == 1 + 3
    assert in_index(mongo) == in_notes(mongo)


def test_what_is_left_of_a_block_moves(mongo: MongoStore) -> None:
    # given many notes written together, of which few are left
    mongo.write([write("insert", f"{n}", 1, title=f"fox {n}") for n in range(100)])
    mongo.write([write("delete", f"{n}", 2) for n in range(90)])
    # then the block of all of them goes
    for _ in range(2):
        mongo.keep_search()
    [block] = mongo._db["items.words"].find({"ids": {"$exists": True}})
    assert sorted(block["ids"]) == [f"{n}" for n in range(90, 100)]
    assert in_index(mongo) == in_notes(mongo)


@pytest.mark.parametrize("death", range(10))
def test_a_sweep_may_end_anywhere(
    mongo: MongoStore, mongod_url: str, monkeypatch: pytest.MonkeyPatch, death: int
) -> None:
    # given notes that were changed, and a store that is killed at some write of its sweep
    for batch in batches(death):
        mongo.change(batch)
    monkeypatch.setattr(mongo_sweep, "BLOCKS", 3)
    writes = iter(range(1000))

    def dies(*args: object) -> object:
        if next(writes) == 3 * death:
            raise KeyboardInterrupt
        return bulk(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("gorgond.stores.mongo_sweep.bulk", dies)
    with pytest.raises(KeyboardInterrupt):
        mongo.keep_search()
    # then searches find what is there
    assert says_what_is(mongo, WORDS[:5])
    # and another store that begins, or the same one, sweeps out the rest
    monkeypatch.setattr("gorgond.stores.mongo_sweep.bulk", bulk)
    mongo._db["items.words"].delete_one({"_id": "turn"})
    if death % 2:
        mongo.keep_search()
        assert in_index(mongo) == in_notes(mongo)
    else:
        with closing(_another(mongod_url)) as other:
            other.keep_search()
            assert in_index(other) == in_notes(other)


def _between(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Do this when a batch was put into the index, before it is written."""
    run = mongo_writes._Changes.run

    def interrupted(changes: mongo_writes._Changes) -> object:
        monkeypatch.setattr(mongo_writes._Changes, "run", run)
        then()
        return run(changes)

    monkeypatch.setattr(mongo_writes._Changes, "run", interrupted)


def test_what_is_still_to_be_written_is_not_taken_for_gone(mongo: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a store that has put a note into the index, and a sweep that has begun before it writes the note
    monkeypatch.setattr(mongo_sweep, "GRACE", 600.0)
    _between(monkeypatch, mongo.keep_search)
    mongo.write([write("insert", "a", 1, title="fox")])
    # when the note is written, and the sweep goes on after its GRACE
    monkeypatch.setattr("time.monotonic", lambda: 1e9)
    mongo.keep_search()
    monkeypatch.undo()
    # then the note is in the index, and in its block as before
    assert ids(found(mongo, query(search="fox"))) == ["a"]
    assert in_index(mongo) == {"fox": {"a"}}
    assert mongo._db["items.words"].count_documents({"ids": {"$exists": True}}) == 1


def test_a_writer_that_is_later_than_a_sweep_waits_has_its_notes_put_in_anew(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a store that is stopped between index and notes for so long that a sweep takes them for gone
    monkeypatch.setattr(mongo_writes, "SURE", -1.0)
    _between(monkeypatch, mongo.keep_search)
    assert mongo.write([write("insert", "a", 1, title="fox")]) == ["stored"]
    # then they are found all the same, and put in
    assert ids(found(mongo, query(search="fox"))) == ["a"]
    monkeypatch.setattr(mongo_writes, "SURE", 60.0)
    mongo.keep_search()
    assert in_index(mongo) == {"fox": {"a"}}


def test_what_a_store_put_in_before_there_were_sweeps_is_put_in_anew(mongo: MongoStore, mongod_url: str) -> None:
    # given notes marked as such a store does it, one with words that it took apart in another way
    mongo.write([write("insert", f"{n}", n, title="fox") for n in range(500)])
    Words(mongo._db, "items").put([Note("greek", 1, "somethingelse")])
    mongo._db.items.insert_one({"_id": "greek", "ts": 1, "title": "ΣΊΣ", PUT: True})
    mongo._db.items.update_many({}, {"$set": {PUT: True}})
    assert len(ids(found(mongo, query(search="fox", limit=1000)))) == 500
    # when a store of today begins
    with closing(_another(mongod_url)) as store:
        mongo._db["items.words"].delete_one({"_id": "turn"})
        store.keep_search()
        # then it has the words of today, and only those
        assert ids(found(store, query(search="σίσ"))) == ["greek"]
        assert in_index(store) == in_notes(store)
        assert mongo._db.items.count_documents({PUT: True}) == 0


def test_one_store_sweeps_what_another_one_has_changed(mongo: MongoStore, mongod_url: str) -> None:
    with closing(_another(mongod_url)) as other:
        # given a sweep that was done when both had begun, by the store whose turn it is
        mongo.keep_search()
        other.keep_search()
        mongo.keep_search()
        assert mongo._db["items.words"].find_one({"_id": "due"}) is None
        # when another one deletes a note
        other.write([write("insert", "a", 1, title="fox"), write("delete", "a", 2)])
        other.keep_search()
        mongo.keep_search()
        # then its words go
        assert in_index(mongo) == {}
        assert mongo._db["items.words"].count_documents({"ids": {"$exists": True}}) == 0


def test_stores_that_only_insert_sweep_nothing(mongo: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    mongo.keep_search()
    mongo.write([write("insert", f"{n}", n, title="fox") for n in range(10)])
    monkeypatch.setattr(mongo_sweep.Sweep, "steps", None)
    mongo.keep_search()
