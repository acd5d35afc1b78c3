"""How databases are set up: what is told of them, and what lets no store start."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gorgond import cli
from gorgond.config import load
from gorgond.errors import ConfigError
from gorgond.redpill import Room
from gorgond.redpill.memory import MemoryBroker
from gorgond.roles.store import DataStore
from gorgond.service.fabric import Fabric
from gorgond.stores import open_store, sqlite_check
from gorgond.stores.contract import Store
from gorgond.stores.findings import Finding, demand_safe
from gorgond.stores.mongo_check import _told, judged
from tests.contract.stores import mongo_client


def test_those_of_the_tests_are_safe(store: Store, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = [*store.check()]
    # then nothing breaks a promise, and version and size are told
    demand_safe(found)
    assert {"version", "size"} <= {each.about for each in found}
    # and so does the command
    assert cli.main(["store", "--check", "--store", url.replace(" ", "%20")]) == 0
    told = capsys.readouterr().out
    assert all(each.about in told for each in found)
    assert "NOT SAFE" not in told


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["store", "--check", "--store", f"sqlite:///{tmp_path}/new.db"]) == 0
    assert "the first store makes it" in capsys.readouterr().out
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("kind", "safe"), [("nfs4", False), ("fuse.sshfs", False), ("tmpfs", True), ("ext4", True)])
def test_a_file_is_on_a_disk_of_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, safe: bool
) -> None:
    # given a database in a directory with a blank in its name, on which such a file system is mounted
    place = tmp_path / "a b"
    place.mkdir()
    mounts = tmp_path / "mountinfo"
    there = str(place).replace(" ", "\\040")
    mounts.write_text(
        f"1 0 8:1 / / rw - xfs /dev/sda1 rw\n2 1 0:9 / {there} rw shared:1 - {kind} x rw\n"
        f"3 1 0:9 / {there}c rw - nfs x rw\n"
    )
    monkeypatch.setattr(sqlite_check, "MOUNTS", mounts)
    url = f"sqlite:///{place}/test.db".replace(" ", "%20")
    with closing(open_store(url)) as store:
        store.prepare()
        [found] = [each for each in store.check() if each.about == "file system"]
    assert (found.found, found.breaks) == (kind, not safe)
    # when a store starts there, then it says what to change if that is not safe, and so does the command
    config = load(None, {}, {"store.url": url})
    broker = MemoryBroker()
    service = DataStore(config, Fabric(broker, broker, Room(10, 10)), "1")
    if safe:
        asyncio.run(service._enter())
    else:
        with pytest.raises(ConfigError, match=rf"\[store\] url: its file system is {kind}: SQLite needs a disk"):
            asyncio.run(service._enter())
    service.store.close()
    assert cli.main(["store", "--check", "--store", url]) == (0 if safe else 1)
    assert ("NOT SAFE" in capsys.readouterr().out) == (not safe)


WELL: dict[str, Any] = {
    "about": {"version": "8.0.4", "versionArray": [8, 0, 4, 0]},
    "hello": {"setName": "rs0", "hosts": ["a", "b", "c"]},
    "status": {"storageEngine": {"name": "wiredTiger", "persistent": True}},
    "options": {"parsed": {}},
}


@pytest.mark.parametrize(
    ("other", "about", "breaks"),
    [
        ({"about": {"version": "4.0.28", "versionArray": [4, 0, 28, 0]}}, "version", True),
        ({"status": {"storageEngine": {"name": "inMemory", "persistent": False}}}, "storage", True),
        ({"options": {"parsed": {"storage": {"journal": {"enabled": False}}}}}, "journal", True),
        ({"hello": {"setName": "rs0", "hosts": ["a", "b"], "arbiters": ["c"]}}, "replica set", False),
        ({"hello": {}}, "replica set", False),
        ({"status": None}, "storage", False),
    ],
)
def test_what_is_told_of_a_mongodb(other: dict[str, Any], about: str, breaks: bool) -> None:
    assert not [each for each in judged(**WELL) if each.advice]
    [found] = [each for each in judged(**WELL | other) if each.advice]
    assert (found.about, found.breaks) == (about, breaks)


def test_all_that_breaks_a_promise_is_told() -> None:
    found = [Finding("a", "1"), Finding("b", "2", "mend it", True), Finding("c", "3", "better", False)]
    with pytest.raises(ConfigError, match=r"^its b is 2: mend it$"):
        demand_safe(found)


def test_a_server_that_does_not_tell_is_no_obstacle(mongod_url: str) -> None:
    with mongo_client(mongod_url) as client:
        assert _told(client.admin, "aCommandOfOthers") is None
