"""`gorgond load`: fills a database, and goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gorgond.commands.load import BATCH, THREADS, Loading
from gorgond.errors import StoreRefused
from gorgond.providers.random import RandomItems
from gorgond.stores import open_store
from gorgond.stores.contract import Effect, Query, Store, Write
from gorgond.stores.sqlite import SqliteStore
from tests.programs import gorgond


class CountingStore(SqliteStore):
    """Counts what is written to it, and breaks at the write with number `breaks`."""

    written = 0
    breaks = -1

    def write(self, writes: Sequence[Write]) -> list[Effect | StoreRefused]:
        self.breaks -= 1
        if self.breaks == 0:
            raise StoreRefused("enough")
        self.written += len(writes)
        return super().write(writes)


def count(store: Store) -> int | StoreRefused:
    return store.count([Query("items", {})])[0]


@pytest.fixture
def source() -> RandomItems:
    return RandomItems(0, 10, 20)


def test_fills_skips_and_goes_on(tmp_path: Path, source: RandomItems) -> None:
    # given a load that breaks in the middle
    store = CountingStore(f"sqlite:///{tmp_path / 'test.db'}")
    store.breaks = 6
    with pytest.raises(StoreRefused, match="enough"):
        Loading(store, source).run(20_500)
    there = count(store)
    assert isinstance(there, int)
    assert 4000 <= there < 20_500
    # when it runs again
    store.written = 0
    loading = Loading(store, source)
    loading.run(20_500)
    # then it has written what was missing, and hardly more
    assert count(store) == 20_500
    assert loading.stored == 20_500 - there
    assert store.written <= loading.stored + (THREADS + 1) * BATCH
    # and when all is there, hardly anything is sent
    store.written = 0
    Loading(store, source).run(20_500)
    assert store.written <= THREADS * BATCH
    # and a larger data set goes on from there
    loading = Loading(store, source)
    loading.run(22_000)
    assert (loading.stored, count(store)) == (1500, 22_000)
    store.close()


def test_a_hole_near_the_end_is_filled(tmp_path: Path, source: RandomItems) -> None:
    # given a load that was killed when its second-last batch was written and the one before was not
    store = open_store(f"sqlite:///{tmp_path / 'test.db'}")
    Loading(store, source).run(5 * BATCH)
    later = [source.item(n) for n in range(6 * BATCH, 7 * BATCH)]
    store.write([Write("insert", "items", item["id"], item["ts"], item) for item in later])
    # when it goes on
    Loading(store, source).run(8 * BATCH)
    # then nothing is missing
    assert count(store) == 8 * BATCH
    store.close()


def test_on_mongodb(mongod_url: str, source: RandomItems) -> None:
    store = open_store(f"{mongod_url}load")
    for stored in (3000, 0):
        loading = Loading(store, source)
        loading.run(3000)
        assert (loading.stored, count(store)) == (stored, 3000)
    store.close()


def test_as_a_command(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    first = gorgond("load", "--items", "1200", "--users", "3", "--store", url)
    again = gorgond("load", "--items", "1200", "--users", "3", "--store", url)
    assert first.stdout.startswith("1,200 notes: stored 1,200 in ")
    assert again.stdout.endswith(", 1,200 were there\n")
    assert (first.returncode, first.stderr, again.returncode) == (0, "", 0)


def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ran = gorgond("load", "--items", "1", "--store", f"sqlite:///{tmp_path}/file/x.db")

    assert ran.returncode == 78
    assert "check owner and permissions" in ran.stderr
