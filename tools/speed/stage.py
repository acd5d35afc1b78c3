"""The stage on which all cases stand: how much is measured, a directory, the data set in a mongod."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeAlias

from pymongo import MongoClient
from pymongo.collection import Collection

from gorgond.stores import open_store
from tools.speed.processes import ROOT, BenchError, Crew, environ
from tools.speed.servers import start_mongod
from tools.speed.site import Layout, Site

Items: TypeAlias = "Collection[dict[str, Any]]"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    items: int = 1_000_000
    users: int = 10_000
    rounds: int = 5
    seconds: int = 10  # of a round
    layouts: tuple[str, ...] = ("1x1x1", "1x1x2", "1x2x1", "1x2x2", "2x1x1", "2x2x1")
    clients: int = 1000  # of the case load
    ingest: int = 200_000  # items pushed in a round
    messages: int = 300_000  # of a round of the case queue
    consumers: tuple[str, ...] = ("1x64", "1x256", "2x256")  # of the case queue: how many x messages each takes
    jobs: int = 30_000  # of a round of the case jobs
    stores: tuple[int, ...] = (1, 2)  # tried in the case ingest
    grown: tuple[int, ...] = (1, 2, 4, 8, 16)  # instances, in the case growth
    soak: float = 0.0  # minutes


QUICK = Scale(
    items=50_000,
    users=500,
    rounds=1,
    seconds=1,
    layouts=("1x1x1",),
    ingest=10_000,
    messages=20_000,
    consumers=("1x64",),
    jobs=2_000,
    stores=(1,),
    grown=(1, 4, 16),
)


class Stage:
    """Use it with `with`: everything it started has ended afterwards.

    `data` is where the data set is kept; without it, it is made anew and goes with everything else.
    """

    def __init__(self, scale: Scale, data: Path | None) -> None:
        self.scale = scale
        self.peaks: dict[str, float] = {}
        self._data = data
        self._name = f"bench_{scale.items}_{scale.users}"
        self._crews = 0
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        self._directory = Path(self._closing.enter_context(TemporaryDirectory(prefix="gorgond-bench-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @contextmanager
    def crew(self) -> Iterator[Crew]:
        """A crew with a directory of its own."""
        self._crews += 1
        with Crew(self._directory / str(self._crews), self.peaks) as crew:
            yield crew

    @contextmanager
    def site(self, layout: Layout, brokers: str = "two", store: bool = True) -> Iterator[Site]:
        """A gorgond, on the data set if it has real stores; its notes are not indexed for searches."""
        url = self.store if store else ""
        with self.crew() as crew:
            yield Site(crew, layout, brokers, url)

    @contextmanager
    def site_with_search(self, layout: Layout, brokers: str) -> Iterator[Site]:
        """A gorgond whose notes are indexed for searches, on an empty database of its own."""
        url = f"{self.store}_searched"
        with self.crew() as crew, _items(url) as items, closing(open_store(url)) as store:
            store.make_search()
            try:
                yield Site(crew, layout, brokers, url, search=True)
            finally:
                items.database.client.drop_database(items.database.name)

    @cached_property
    def _database(self) -> tuple[Crew, str]:
        """mongod with the data set, which is made where it is missing and read into memory once; its URL."""
        mongod = self._closing.enter_context(self.crew())
        url = start_mongod(mongod, self._data or self._directory / "data") + self._name
        say("filling mongod")
        _fill(url, self.scale)
        return mongod, url

    @property
    def mongod(self) -> Crew:
        """The process of mongod."""
        return self._database[0]

    @property
    def store(self) -> str:
        """The URL of the database with the data set."""
        return self._database[1]

    def items(self) -> AbstractContextManager[Items]:
        """The data set."""
        return _items(self.store)

    def remove(self, seed: int) -> None:
        """Remove the notes of one seed again; the data set has seed 0."""
        with self.items() as items:
            items.delete_many({"_id": {"$regex": f"^random:{seed}-"}})

    def forget(self, users: Sequence[int]) -> None:
        """Remove these users, who were registered, and their notes."""
        with self.items() as items:
            items.delete_many({"userid": {"$in": users}})
            for collection, key in (("users", "_id"), ("sessions", "userid")):
                items.database[collection].delete_many({key: {"$in": [str(user) for user in users]}})


@contextmanager
def _items(url: str) -> Iterator[Items]:
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with client:
        yield client.get_default_database()["items"]


def _fill(url: str, scale: Scale) -> None:
    command = [sys.executable, "-m", "gorgond", "load", "--store", url]
    command += ["--items", str(scale.items), "--users", str(scale.users)]
    subprocess.run(command, cwd=ROOT, env=environ(), check=True, stdout=sys.stderr)
    with _items(url) as items:
        # Remove what a run that was killed may have left.
        items.delete_many({"_id": {"$not": {"$regex": "^random:0-"}}})
        read = {"$group": {"_id": None, "count": {"$sum": 1}, "bytes": {"$avg": {"$bsonSize": "$$ROOT"}}}}
        [there] = items.aggregate([read])
    if there["count"] != scale.items:
        raise BenchError(f"the data set has {there['count']} notes instead of {scale.items}")
    say(f"{there['count']:,} notes of {there['bytes']:,.0f} bytes")


def say(text: str) -> None:
    """Tell the person who waits how far we are."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
