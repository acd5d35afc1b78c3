"""Searches: what is found is what is stored, whoever wrote it and however much there is; in the order asked for."""

from __future__ import annotations

import random
import threading
import tracemalloc
from contextlib import closing
from itertools import pairwise

import pytest

from gorgond.bounds import DOCUMENT_ID_MAX
from gorgond.errors import StoreAway, StoreRefused
from gorgond.stores import mongo_search, mongo_words, mongo_writes, open_store
from gorgond.stores.contract import Query, Store, Write
from gorgond.stores.mongo import MongoStore
from gorgond.stores.mongo_commands import PUT
from gorgond.stores.mongo_words import FAN, Note, Words
from tests.contract.stores import found, ids, mongo_client, query, write

NEWEST = (("ts", -1),)


def everything(store: Store, search: str, limit: int = 7, **rest: object) -> list[str]:
    """The ids of all that is found, page by page."""
    pages: list[str] = []
    while more := ids(found(store, query(search=search, limit=limit, skip=len(pages), **rest))):  # type: ignore[arg-type]
        pages += more
    return pages


def test_pages_of_what_is_found_have_each_once_the_newest_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # given notes of times in any order, some of the same, written in many batches, and an index that is looked into
    # a few at a time
    monkeypatch.setattr(mongo_search, "FIRST_LOOK", 3)
    chance = random.Random(3)
    times = {f"{n}": chance.randrange(60) for n in range(200)}
    for n in range(0, 200, 5):
        store.write([write("insert", f"{k}", times[f"{k}"], title="fox", userid=k % 2) for k in range(n, n + 5)])
    # then page after page has each, the newest first
    for filter in ({}, {"userid": 1}, {"url": None}):
        pages = everything(store, "fox", filter=filter, sort=NEWEST)
        assert sorted(pages) == sorted(id for id in times if not filter.get("userid") or int(id) % 2)
        assert all(times[one] >= times[other] for one, other in pairwise(pages))
    # and so it is by another order
    assert everything(store, "fox", sort=(("id", 1),)) == sorted(times)
    assert store.count([query(search="fox"), query({"userid": 1}, search="fox")]) == [200, 100]


def test_what_was_changed_is_found_where_its_new_time_belongs(store: Store) -> None:
    # given notes of which some were patched, replaced and deleted
    store.write([write("insert", f"{n}", n, title="fox") for n in range(300)])
    store.write(
        [write("patch", "7", 900, url="x"), write("replace", "8", 901, title="fox"), write("delete", "299", 902)]
    )
    store.write([write("patch", "9", 903, title="wolf"), write("insert", "299", 904, title="hare")])
    # then they are found at the times of their changes
    assert ids(found(store, query(search="fox", sort=NEWEST, limit=4))) == ["8", "7", "298", "297"]
    assert ids(found(store, query(search="wolf"))) == ["9"]
    assert ids(found(store, query(search="hare"))) == ["299"]
    assert store.count([query(search="fox")]) == [298]
    # and after the index was tidied up, too
    store.keep_search()
    assert ids(found(store, query(search="fox", sort=NEWEST, limit=4))) == ["8", "7", "298", "297"]
    assert ids(found(store, query(search="wolf"))) == ["9"]


@pytest.mark.parametrize("sort", [NEWEST, (("id", 1),), ()])
def test_many_changes_at_once_hide_nothing(store: Store, sort: tuple[tuple[str, int], ...]) -> None:
    # given more changes than are put into an index at a time, of what had other words and of what had the same
    for title, changed in (("hare", "fox"), ("fox", "fox")):
        store.write([write("insert", f"{title}{n}", n, title=title) for n in range(1100)])
        store.write([write("patch", f"{title}{n}", 2000 + n, title=changed, url="x") for n in range(1100)])
    # and notes of before that have a word for themselves
    store.write([write("insert", "wolf", 1, title="wolf")])
    # then each is found, once, as it is now
    assert ids(found(store, query(search="wolf", sort=sort))) == ["wolf"]
    assert ids(found(store, query(search="hare", sort=sort))) == []
    assert store.count([query(search="fox")]) == [2200]
    if sort:
        assert len(set(everything(store, "fox", 400, sort=sort))) == 2200
    if sort == NEWEST:
        assert {each["ts"] for each in found(store, query(search="fox", sort=sort, limit=2))} == {3099}


def test_what_is_gone_or_is_not_asked_for_crowds_out_nothing(store: Store) -> None:
    # given an old and a new note with the word, and many between them, of which half were deleted
    store.write([write("insert", "old", 1, title="fox", colour="red")])
    store.write([write("insert", f"{n}", 2 + n, title="fox", colour="grey") for n in range(2400)])
    store.write([write("insert", "new", 8000, title="fox", colour="red")])
    store.write([write("delete", f"{n}", 9000) for n in range(1200, 2400)])
    # then the best are found among those that are asked for
    assert sorted(ids(found(store, query({"colour": "red"}, search="fox")))) == ["new", "old"]
    assert len(found(store, query(search="fox", limit=20))) == 20


def test_a_change_that_comes_after_a_newer_one_is_found_at_its_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a note that is newer than the clock says, and one a little older; the index is looked into note by note
    monkeypatch.setattr(mongo_search, "FIRST_LOOK", 1)
    store.write([write("insert", "a", 1000, title="fox")])
    store.write([write("insert", "b", 999, title="hare")])
    # when another change of the first one comes, without a time of its own
    assert store.write([Write("replace", "items", "a", 5, {"title": "hare"}, dated=False)]) == ["stored"]
    # then it is the newest
    assert ids(found(store, query(search="hare", sort=NEWEST, limit=1))) == ["a"]


def test_words_that_are_very_long_or_have_accents_are_found(store: Store) -> None:
    store.write([write("insert", "long", 1, title="x" * 3000), write("insert", "accents", 1, body="Ärger im Café")])
    for search, id in (("x" * 900, "long"), ("arger", "accents"), ("CAFÉ", "accents"), ("cafe", "accents")):
        assert ids(found(store, query(search=search))) == [id]


def test_accents_that_are_characters_of_their_own_part_no_word(store: Store) -> None:
    # given notes with an accent of either kind, and one with what a word has before its accent
    titles = {"one": "Se\u00f1or", "own": "Sen\u0303or", "part": "sen"}
    store.write([write("insert", id, 1, title=title) for id, title in titles.items()])
    # then both are found by both
    for search in ("se\u00f1or", "sen\u0303or", "SEN\u0303O"):
        assert sorted(ids(found(store, query(search=search)))) == ["one", "own"]


@pytest.fixture
def mongo(mongod_url: str) -> object:
    with closing(open_store(mongod_url + "words")) as store, mongo_client(mongod_url) as client:
        client.drop_database("words")
        store.prepare()
        store.make_search()
        yield store
        client.drop_database("words")


def test_segments_are_merged_and_nothing_is_missing(mongo: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # given more batches than one tier has segments, and segments that are cut
    monkeypatch.setattr(mongo_words, "SEGMENT_BYTES", 200)
    for n in range(FAN * FAN + 3):
        mongo.write([write("insert", f"{n}", n, body=" ".join(f"w{n % 7}x{k} every{k}" for k in range(20)))])
    before = {word: everything(mongo, word, 50, sort=NEWEST) for word in ("every3", "w3x5", "eve", "w3")}
    words = mongo._db["items.words"]
    # when they are merged
    mongo.keep_search()
    # then few are left in each bucket of a tier, in more than two tiers, and all is found as before
    assert len(words.distinct("tier")) >= 2
    group = {"$group": {"_id": {"tier": "$tier", "bucket": "$bucket"}, "n": {"$sum": 1}}}
    assert all(each["n"] < FAN for each in words.aggregate([{"$match": {"tier": {"$lt": 4}}}, group]))
    assert {word: everything(mongo, word, 50, sort=NEWEST) for word in before} == before
    assert len(before["every3"]) == FAN * FAN + 3


def test_a_word_of_very_many_notes_is_cut_too(mongo: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a word with more entries than a segment is to have
    monkeypatch.setattr(mongo_words, "SEGMENT_BYTES", 200)
    notes = 3 * FAN * FAN
    for n in range(notes):
        mongo.write([write("insert", f"{n}", n, title="fox", body=f"w{n}")])
    # when segments of it are merged
    mongo.keep_search()
    # then none is much larger, and all is found
    words = mongo._db["items.words"]
    assert max(len(each["words"].get("fox", b"")) for each in words.find({"tier": {"$gt": 0}})) < 300
    assert everything(mongo, "fox", 100, sort=NEWEST) == [f"{n}" for n in reversed(range(notes))]


def test_what_others_write_is_found_and_put_into_the_index(mongo: MongoStore) -> None:
    # given a note that somebody else has written, and one that an older store replaced, which knows no mark
    mongo.write([write("insert", "b", 1, title="fox")])
    mongo._db.items.insert_one({"_id": "a", "ts": 5, "title": "fox"})
    mongo._db.items.replace_one({"_id": "b"}, {"_id": "b", "ts": 6, "title": "hare"})
    # then they are found, before and after the index has them
    for _ in range(2):
        assert ids(found(mongo, query(search="fox", sort=NEWEST))) == ["a"]
        assert ids(found(mongo, query(search="hare"))) == ["b"]
        mongo.keep_search()
    assert mongo._db.items.count_documents({PUT: None}) == 0


def test_the_index_says_more_than_there_is_never_less(mongo: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a store that died between the index and the notes, and another one that does the same writes again
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gorgond.stores.mongo_writes._Changes.run", dies)
    writes = [write("insert", "a", 1, title="fox")]
    with pytest.raises(KeyboardInterrupt):
        mongo.write(writes)
    monkeypatch.undo()
    # then nothing is found that is not there, and what is there once
    assert ids(found(mongo, query(search="fox"))) == []
    assert mongo.write(writes) == ["stored"]
    assert ids(found(mongo, query(search="fox", sort=NEWEST))) == ids(found(mongo, query(search="fox"))) == ["a"]
    assert mongo.count([query(search="fox")]) == [1]


def test_too_much_to_be_sorted_by_anything_but_time_is_refused(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_search, "SORTED_MAX", 3)
    mongo.write([write("insert", f"{n}", n, title="fox") for n in range(4)])
    [refused] = mongo.find([query(search="fox", sort=(("title", 1),))])
    assert isinstance(refused, StoreRefused)
    assert "sort by ts" in str(refused)


def test_the_notes_of_a_user_are_searched_without_the_index(mongo: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    mongo.write([write("insert", f"{n}", n, title="fox", userid=n) for n in range(4)])
    monkeypatch.setattr("gorgond.stores.mongo_words.Words.blocks", None)
    assert ids(found(mongo, Query("items", {"userid": 2}, search="fox", sort=NEWEST))) == ["2"]


def test_an_index_that_cannot_be_written_is_waited_for(mongo: MongoStore) -> None:
    # given a database that refuses what is written into the index, as one whose disk is full refuses all
    mongo._db.command("collMod", "items.words", validator={"tier": {"$exists": False}})
    # then the batch is tried again, and nothing of it is stored without being in the index
    with pytest.raises(StoreAway):
        mongo.write([write("insert", "a", 1, title="fox")])
    assert ids(found(mongo, query())) == []
    mongo._db.command("collMod", "items.words", validator={})
    assert mongo.write([write("insert", "a", 1, title="fox")]) == ["stored"]
    assert ids(found(mongo, query(search="fox"))) == ["a"]


@pytest.mark.usefixtures("mongo")
def test_an_index_that_is_begun_within_a_batch_misses_nothing(mongod_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a store that begins to keep the index between two rounds of writes
    run = mongo_writes._Changes.run
    with closing(open_store(mongod_url + "words")) as other:

        def begins(changes: mongo_writes._Changes) -> object:
            done = run(changes)
            thread = threading.Thread(target=other.make_search)
            thread.start()
            thread.join()
            return done

        monkeypatch.setattr(mongo_writes._Changes, "run", begins)
        other.write([write("insert", "a", 1, title="hare"), write("replace", "a", 2, title="fox")])
        # then what the second wrote is found
        assert ids(found(other, query(search="fox"))) == ["a"]


def test_with_too_much_that_is_not_in_the_index_searches_are_told_to_wait(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given more notes of somebody else's than are looked at one by one
    monkeypatch.setattr(mongo_search, "LATE_MAX", 3)
    mongo._db.items.insert_many([{"_id": f"{n}", "ts": n, "title": "fox"} for n in range(4)])
    # then nothing is left out without a word
    [refused] = mongo.find([query(search="fox", sort=NEWEST)])
    assert isinstance(refused, StoreRefused)
    assert refused.code == 503
    # and when they were put in, they are found
    mongo.keep_search()
    assert ids(found(mongo, query(search="fox", sort=NEWEST))) == ["3", "2", "1", "0"]


def test_an_index_whose_words_are_gone_is_made_anew(mongo: MongoStore) -> None:
    # given an index whose collection somebody has dropped, or has left out of a backup
    mongo.write([write("insert", "a", 1, title="fox")])
    mongo._db.drop_collection("items.words")
    # when a store begins
    mongo.make_search()
    # then what is marked as being in it is found
    assert ids(found(mongo, query(search="fox"))) == ["a"]


def test_a_word_that_every_note_has_takes_a_search_few_bytes_a_note() -> None:
    # given the entries of a word for many blocks, and of another one for the same
    full = bytes(range(mongo_words.BLOCK))
    keys = [n.to_bytes(mongo_words.KEY) for n in range(500)]
    entries = b"".join(key + full[-1:] + full for key in keys)
    found: dict[bytes, bytes] = {}
    # when both are read
    tracemalloc.start()
    mongo_words._read(entries, found)
    mongo_words._read(b"".join(key + b"\1\0\7" for key in keys), found)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # then each note is there once
    assert {key: sorted(places) for key, places in found.items()} == {key: list(full) for key in keys}
    assert size < 3 * len(entries)


def test_more_than_a_question_can_name_is_refused(mongo: MongoStore) -> None:
    # given many notes with the word, more than MongoDB can be asked for at once, and none that is asked for
    notes = [Note(f"{n}".zfill(DOCUMENT_ID_MAX), n, "fox") for n in range(130_000)]
    Words(mongo._db, "items").put(notes)
    [refused] = mongo.find([query({"colour": "red"}, search="fox", sort=NEWEST)])
    # then that is said
    assert isinstance(refused, StoreRefused)
    assert "may have these words" in str(refused)


def test_a_search_reads_no_more_of_the_index_than_may_have_its_words(mongo: MongoStore) -> None:
    # given an index with many segments, also of other words
    for n in range(FAN * FAN):
        mongo.write([write("insert", f"{n}", n, title=f"fox x{n}")])
    mongo.keep_search()
    words = mongo._db["items.words"]
    # when those are asked for in which a word may be
    asked = words.find({"tier": 2, "bucket": {"$in": [mongo_words._bucket("fox", 2)]}})
    examined = asked.explain()["executionStats"]["totalDocsExamined"]
    # then no others are looked at
    assert examined == words.count_documents({"tier": 2, "bucket": mongo_words._bucket("fox", 2)}) > 0
    assert words.count_documents({}) > 10 * examined
