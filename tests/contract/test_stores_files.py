"""A SQLite database whose files are taken away while stores use it: nothing is stored where nobody will find it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gorgond.errors import StoreAway
from gorgond.stores import open_store, sqlite_files
from gorgond.stores.contract import Store
from tests.contract.stores import found, ids, query, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a ?%20#b.db"


@pytest.fixture
def stores(path: Path) -> Iterator[tuple[Store, Store]]:
    """Two of one file, as two processes have it, with a document in it."""
    name = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    with closing(open_store(f"sqlite:///{name}")) as one, closing(open_store(f"sqlite:///{name}")) as other:
        one.prepare()
        assert other.write([write("insert", "a", 1)]) == ["stored"]
        yield one, other


def refuse(stores: tuple[Store, ...], why: str) -> None:
    """Stores wait for their database, whatever is asked of them."""
    for store in stores:
        attempts: list[Callable[[], Any]] = [
            lambda store=store: store.write([write("insert", "lost", 1)]),  # type: ignore[misc]
            lambda store=store: store.find([query()]),  # type: ignore[misc]
            store.prepare,
            store.health,
        ]
        for attempt in attempts:
            with pytest.raises(StoreAway, match=why):
                attempt()


def test_a_file_that_was_removed_is_waited_for_and_not_made_anew(path: Path, stores: tuple[Store, Store]) -> None:
    # when the file is moved away
    away = path.rename(path.with_name("away.db"))
    # then nothing is stored, read or made
    refuse(stores, r"its file was removed: put it back")
    assert not path.exists()
    # when it is back, then all goes on, with all that was stored
    away.rename(path)
    for store, id in zip(stores, "bc", strict=True):
        assert store.write([write("insert", id, 1)]) == ["stored"]
    assert sorted(ids(found(stores[0], query()))) == ["a", "b", "c"]


def test_a_file_that_was_replaced_is_not_taken_for_ours(path: Path, stores: tuple[Store, Store]) -> None:
    # when a copy takes its place, as restoring a backup does
    away = path.rename(path.with_name("away.db"))
    shutil.copy(away, path)
    # then nobody writes into either
    refuse(stores, r"its file was replaced: put the old one back")
    # until the old one is back
    away.rename(path)
    assert stores[0].write([write("insert", "b", 1)]) == ["stored"]
    assert sorted(ids(found(stores[1], query()))) == ["a", "b"]


def test_a_file_that_goes_while_it_is_written(
    path: Path, stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a file that is moved away between the look before a batch and the one after
    looks: Iterator[Callable[[], object]] = iter([lambda: None, lambda: path.rename(path.with_name("away.db"))])
    see = sqlite_files.Files.see

    def seen(self: sqlite_files.Files, database_alone: bool = False) -> None:
        next(looks, lambda: None)()
        see(self, database_alone)

    monkeypatch.setattr(sqlite_files.Files, "see", seen)
    # then the batch is not reported as stored
    with pytest.raises(StoreAway, match="removed"):
        stores[0].write([write("insert", "b", 1)])
    # and repeated when the file is back, it is there once
    path.with_name("away.db").rename(path)
    assert stores[0].write([write("insert", "b", 1)]) == ["exists"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_log_that_was_removed_is_saved_by_stopping(path: Path, suffix: str) -> None:
    url = f"sqlite:///{str(path).replace('%', '%25')}"
    with closing(open_store(url)) as one, closing(open_store(url)) as other:
        assert one.write([write("insert", "a", 1)]) == other.write([write("insert", "b", 1)]) == ["stored"]
        # when the log, or what its users share, is removed
        Path(f"{path}{suffix}").unlink()
        # then they wait
        refuse((one, other), f"its {suffix} was removed or replaced: stop all stores")
    # when all have stopped, and one starts, then everything is there
    with closing(open_store(url)) as store:
        assert sorted(ids(found(store, query()))) == ["a", "b"]
        assert store.write([write("insert", "c", 1)]) == ["stored"]
