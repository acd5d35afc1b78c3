"""A registered user's private items are found by that user alone: on each store, however they are asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gorgond.bounds import REGISTERED
from gorgond.errors import StoreRefused
from gorgond.redpill import Message
from gorgond.stores.contract import Kind, Query, Store, Write
from gorgond.stores.ownership import NOBODY
from gorgond.stores.requests import query_of

ADA, BOB, SEED = REGISTERED + 1, REGISTERED + 2, 5

NOTES: dict[str, dict[str, Any]] = {
    "hers": {"userid": ADA, "private": True},
    "shown": {"userid": ADA, "private": False},
    "both": {"userid": [SEED, ADA], "private": True},
    "his": {"userid": BOB, "private": True},
    "plain": {"userid": BOB},
    "seed": {"userid": SEED, "private": True},  # a number and nobody: there is nobody to whom it could be private
    "none": {"private": True},
}
PUBLIC = ["none", "plain", "seed", "shown"]
SEEN = {
    NOBODY: PUBLIC,
    SEED: sorted([*PUBLIC, "both"]),
    ADA: sorted([*PUBLIC, "hers", "both"]),
    BOB: sorted([*PUBLIC, "his"]),
    None: sorted(NOTES),
}


@pytest.fixture
def notes(store: Store) -> Store:
    store.make_search()
    store.write(
        [
            Write("insert", "items", id, ts, {"title": f"violin {id}", "keywords": ["k"], **fields})
            for ts, (id, fields) in enumerate(NOTES.items(), 1)
        ]
    )
    return store


def found(store: Store, *queries: Query) -> list[list[str]]:
    answers = store.find(queries)
    assert all(isinstance(answer, bytes) for answer in answers), answers
    return [sorted(each["id"] for each in json.loads(answer)) for answer in answers if isinstance(answer, bytes)]


@pytest.mark.parametrize("viewer", list(SEEN))
def test_others_find_nothing_that_is_private(notes: Store, viewer: int | None) -> None:
    seen = SEEN[viewer]
    newest = (("ts", -1),)
    # by whatever it is asked for
    for filter, search in (({}, ""), ({"keywords": "k"}, ""), ({"ts": {"$gt": 0}}, ""), ({}, "violin")):
        query = Query("items", filter, newest, 100, search=search, viewer=viewer)
        assert found(notes, query) == [seen], (filter, search)
        assert notes.count([query]) == [len(seen)], (filter, search)
    # by the id, and by the owner: alone, and several at a time, as stores ask together
    ids = [Query("items", {"id": id}, limit=1, viewer=viewer) for id in NOTES]
    assert [each for query in ids for each in found(notes, query)] == [[id] if id in seen else [] for id in NOTES]
    assert found(notes, *ids) == [[id] if id in seen else [] for id in NOTES]
    owners = [Query("items", {"userid": owner}, newest, 100, viewer=viewer) for owner in (ADA, BOB, SEED)]
    of = [["both", "hers", "shown"], ["his", "plain"], ["both", "seed"]]
    assert found(notes, *owners) == [[id for id in each if id in seen] for each in of]
    # and a page is as full as it can be
    page = [Query("items", {}, newest, 2, skip, viewer=viewer) for skip in range(0, 8, 2)]
    assert sum(map(len, found(notes, *page))) == len(seen)


def test_those_who_ask_at_the_same_time_get_each_their_own(notes: Store) -> None:
    for filter in ({"id": "hers"}, {"userid": ADA}):
        queries = [Query("items", filter, viewer=viewer) for viewer in (NOBODY, ADA, BOB, ADA, NOBODY)]
        assert ["hers" in ids for ids in found(notes, *queries)] == [False, True, False, True, False]


def test_it_is_so_or_not(notes: Store) -> None:
    for value in ("yes", 1, [True], {"a": True}):
        for kind in ("insert", "replace", "patch"):
            [refused] = notes.write([Write(kind, "items", "hers", 99, {"private": value, "userid": ADA})])
            assert isinstance(refused, StoreRefused)
            assert (refused.code, refused.field) == (400, "private")
    # another collection's field of that name is its application's business, and hides nothing
    notes.write([Write("insert", "orders", "a", 1, {"private": "yes", "userid": ADA})])
    assert found(notes, Query("orders", {}, viewer=None)) == [["a"]]


def test_it_can_be_taken_back(notes: Store) -> None:
    for ts, back in enumerate((None, False), 100):
        for change, shown in ((True, False), (back, True)):
            notes.write([Write("patch", "items", "hers", ts, {"private": change})])
            assert ("hers" in found(notes, Query("items", {}, viewer=NOBODY))[0]) is shown


@pytest.mark.parametrize(
    ("user", "viewer"),
    [
        (None, NOBODY),
        ({"id": str(ADA)}, NOBODY),
        ({"id": str(ADA), "writes": "own"}, NOBODY),
        ({"id": str(ADA), "reads": "own"}, ADA),
        ({"id": "", "reads": "own"}, NOBODY),
        ({"id": "x1", "reads": "own"}, NOBODY),
        ({"reads": "own"}, NOBODY),
    ],
)
def test_a_message_says_for_whom_it_reads(user: dict[str, Any] | None, viewer: int) -> None:
    for op in ("items.find", "items.count"):
        assert query_of(Message(op, {}, user=user), "store_get")[1].viewer == viewer
    assert query_of(Message("orders.find", {}, user=user), "store_get")[1].viewer is None


@pytest.mark.parametrize("asker", [NOBODY, BOB, SEED + 1])
def test_who_writes_to_it_is_told_no_more_than_of_any_id(notes: Store, asker: int) -> None:
    # given a note that is private to another, and ids that are taken by others, or by none
    def told(kind: Kind, id: str, ts: int = 99) -> Any:
        dated = kind != "delete"
        [done] = notes.write([Write(kind, "items", id, ts, {"title": "x"}, asker, dated)])
        return done

    before = notes.find([Query("items", {}, (("id", 1),), 100)])
    # when somebody else changes or deletes it, then there is none; when they make one of its id, that is taken
    assert (told("patch", "hers"), told("delete", "hers")) == (told("patch", "unknown"), "missing")
    assert told("insert", "hers") == told("insert", "seed") == "conflict"
    assert told("replace", "hers") == told("replace", "plain" if asker == BOB else "none", 0) == "stale"
    # and another's that is for all is refused as before
    if asker != ADA:
        assert told("patch", "shown").code in (401, 403)
    assert notes.find([Query("items", {}, (("id", 1),), 100)]) == before
    # and its owner may
    assert notes.write([Write("patch", "items", "hers", 100, {"title": "y"}, ADA)]) == ["stored"]
