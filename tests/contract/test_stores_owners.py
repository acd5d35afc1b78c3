"""A registered user's items are written by that user alone: on each store, also while they change hands."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gorgond.auth.users import LOWEST
from gorgond.bounds import REGISTERED
from gorgond.chaos.load import UIDS
from gorgond.errors import StoreRefused
from gorgond.stores.contract import Effect, Kind, Query, Store, Write
from gorgond.stores.ownership import NOBODY

ADA, BOB, SEED = REGISTERED + 1, 2**53 - 1, 5


def write(store: Store, asker: int | None, kind: Kind, id: str, ts: int, **document: Any) -> Effect | int:
    """What becomes of a write: its effect, or the status with which it is refused."""
    [effect] = store.write([Write(kind, "items", id, ts, document, asker)])
    return effect.code if isinstance(effect, StoreRefused) else effect


def stored(store: Store) -> Any:
    [found] = store.find([Query("items", {}, (("id", 1),), 1000)])
    assert isinstance(found, bytes)
    return json.loads(found)


def test_the_stores_know_which_ids_are_registered_users() -> None:
    assert REGISTERED == LOWEST
    # and the drills write for none of them
    assert max(UIDS) <= REGISTERED


def test_what_is_a_users_is_touched_by_nobody_else(store: Store) -> None:
    # given a note of Ada's
    assert write(store, ADA, "insert", "a", 1, userid=ADA, title="hers") == "stored"
    before = stored(store)
    for asker, status in ((NOBODY, 401), (BOB, 403), (SEED, 403)):
        # when others change it, take it or delete it, however new they are; then they are refused
        for kind in ("replace", "patch"):
            assert write(store, asker, kind, "a", 9, title="x") == status
            assert write(store, asker, kind, "a", 9, title="x", userid=SEED) == status
        assert write(store, asker, "patch", "a", 9, userid=None) == status
        assert write(store, asker, "delete", "a", 9) == status
        assert write(store, asker, "insert", "a", 9, title="x", userid=SEED) == status
    # and nothing has changed, and she may write it as before
    assert stored(store) == before
    assert write(store, ADA, "patch", "a", 2, title="still hers") == "stored"
    assert write(store, ADA, "delete", "a", 3) == "deleted"


def test_nobody_writes_in_a_users_name(store: Store) -> None:
    assert write(store, None, "insert", "a", 1, userid=SEED) == "stored"
    for asker, status in ((NOBODY, 401), (BOB, 403)):
        assert write(store, asker, "insert", "b", 2, userid=ADA) == status
        assert write(store, asker, "replace", "a", 2, userid=ADA) == status
        assert write(store, asker, "patch", "a", 2, userid=ADA) == status
        assert write(store, asker, "insert", "c", 2, userid=[SEED, ADA]) == status
    assert [(note["id"], note["userid"]) for note in stored(store)] == [("a", SEED)]


@pytest.mark.parametrize("owner", [str(ADA), "", "a text", [ADA, str(BOB)]])
def test_an_owner_is_no_text_whoever_writes_it(store: Store, owner: Any) -> None:
    # given a text that reads like a user's number, then nobody stores it: it would be nobody's
    for asker in (None, NOBODY, ADA):
        for kind in ("insert", "replace", "patch"):
            assert write(store, asker, kind, "a", 1, userid=owner) == 400
    assert stored(store) == []
    # and in other collections it is what their application says
    [effect] = store.write([Write("insert", "orders", "a", 1, {"userid": owner})])
    assert effect == "stored"


@pytest.mark.parametrize("owner", [SEED, REGISTERED - 1, None, 1.5, True])
def test_what_is_no_registered_users_is_anybodys(store: Store, owner: Any) -> None:
    for asker, id in ((NOBODY, "a"), (BOB, "b")):
        assert write(store, asker, "insert", id, 1, userid=owner) == "stored"
        assert write(store, asker, "replace", id, 2, userid=owner) == "stored"
        assert write(store, asker, "patch", id, 3, title="x") == "stored"
        assert write(store, asker, "delete", id, 4) == "deleted"
        assert write(store, asker, "patch", id, 5, title="x") == "missing"


def test_a_writer_without_an_asker_decides_by_itself(store: Store) -> None:
    assert write(store, None, "insert", "a", 1, userid=ADA) == "stored"
    assert write(store, None, "patch", "a", 2, userid=BOB) == "stored"
    assert write(store, None, "delete", "a", 3) == "deleted"


def test_one_that_is_refused_leaves_its_neighbours_alone(store: Store) -> None:
    assert write(store, None, "insert", "a", 1, userid=ADA) == "stored"
    writes = [
        Write("patch", "items", "a", 2, {"title": "x"}, NOBODY),
        Write("insert", "items", "b", 2, {"userid": SEED}, NOBODY),
        Write("delete", "items", "a", 3, {}, NOBODY),
        Write("patch", "items", "a", 4, {"title": "y"}, ADA),
    ]
    effects = [effect.code if isinstance(effect, StoreRefused) else effect for effect in store.write(writes)]
    assert effects == [401, "stored", 401, "stored"]
    assert [note.get("title") for note in stored(store)] == ["y", None]


@pytest.mark.parametrize("kind", ["patch", "replace", "delete"])
def test_nothing_comes_between_the_look_and_the_write(store: Store, kind: Kind) -> None:
    # given notes that anybody may write
    kept = 0
    for turn in range(60):
        id = f"note{turn}"
        assert write(store, None, "insert", id, 1, userid=SEED) == "stored"
        # when one becomes Ada's while others, whose write is newer, are at it
        together = threading.Barrier(3)
        documents = {} if kind == "delete" else {"title": "meddled"}

        def meddle(id: str = id, together: threading.Barrier = together, document: Any = documents) -> None:
            together.wait()
            write(store, NOBODY, kind, id, 10, **document)

        with ThreadPoolExecutor(2) as pool:
            meddling = [pool.submit(meddle) for _ in range(2)]
            together.wait()
            taken = write(store, ADA, "patch", id, 3, userid=ADA, title="hers")
            for each in meddling:
                each.result()
        # then it is as she was told that it is
        if taken == "stored":
            kept += 1
            assert [note for note in stored(store) if note["id"] == id] == [
                {"id": id, "ts": 3, "userid": ADA, "title": "hers"}
            ]
    assert kept, "she was never the first: this test has tried nothing"
