"""A power failure: what was answered with 201 or 202 is there afterwards, and the broker starts on what is left.

The disk is a file system of its own that forgets what was not fsynced (tools/proofs/disk.py). The long form is
tools/prove power.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gorgond.commands.appendonly import cut_zeros
from tests.conftest import RedisServer
from tests.programs import ROOT
from tests.waiting import HANGS
from tools.proofs.disk import Disk
from tools.speed.processes import BenchError


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with ExitStack() as closing:
        try:
            disk = closing.enter_context(Disk(tmp_path))
        except BenchError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        yield disk


def test_the_disk_forgets_what_was_not_fsynced(disk: Disk) -> None:
    # given files and names that were brought to the disk
    for name in ("kept", "appended", "shortened", "renamed", "removed"):
        _write(disk.path / name, b"old", sync=True)
    _write(disk.path / "replacement", b"new", sync=False)
    os.sync()
    # when they are changed, others are made, and the power fails
    _write(disk.path / "synced", b"new", sync=True)
    _write(disk.path / "appended", b"new", sync=False)
    _write(disk.path / "unsynced", b"new", sync=False)
    os.truncate(disk.path / "shortened", 1)
    (disk.path / "renamed").rename(disk.path / "elsewhere")
    (disk.path / "removed").unlink()
    (disk.path / "replacement").rename(disk.path / "kept")
    disk.fail()
    disk.restore()
    # then nothing of it has happened but what was synced
    found = {file.name: file.read_bytes().rstrip(b"\0") for file in disk.path.iterdir() if file.is_file()}
    old = dict.fromkeys(("kept", "appended", "shortened", "renamed", "removed"), b"old")
    assert found == {**old, "replacement": b"new", "synced": b"new"}


def _write(path: Path, data: bytes, sync: bool) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


@pytest.mark.parametrize(("store", "brokers"), [("sqlite", "one-always"), ("sqlite", "two"), ("mongodb", "one-always")])
@pytest.mark.usefixtures("redis_binary", "mongod_binary", "disk")
def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path, store: str, brokers: str) -> None:
    code, figures = power(tmp_path, "--store", store, "--brokers", brokers, "--failures", "4")
    assert figures["failures"] == 4
    assert figures["stored"] > 0
    assert figures["queued"] > 0
    assert (code, figures["lost_stored"], figures["lost_queued"], figures["difference"]) == (0, 0, 0, 0)


@pytest.mark.usefixtures("redis_binary", "disk")
def test_the_proof_can_fail(tmp_path: Path) -> None:
    # when queues are kept as no promise allows
    code, figures = power(tmp_path, "--brokers", "one-everysec", "--failures", "2")
    # then it sees that jobs are lost
    assert code == 1
    assert figures["lost_queued"] > 0


def power(directory: Path, *arguments: str) -> tuple[int, dict[str, int]]:
    """Run tools/prove power: its exit code and figures."""
    file = directory / "figures.json"
    command = [sys.executable, "tools/prove", "power", "--json", str(file), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGS, check=False)
    assert file.exists(), done.stderr
    figures: dict[str, int] = json.loads(file.read_text())
    return done.returncode, figures


@pytest.mark.parametrize("zeros", [1, 4096, 200_000])
@pytest.mark.parametrize("torn", [b"", b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$9\r\n12\0\0"])
def test_a_broker_starts_although_its_file_ends_in_zeros(
    redis_factory: Callable[..., RedisServer], torn: bytes, zeros: int
) -> None:
    # given a Redis whose file has a command, and behind it what a power failure leaves
    server = redis_factory(appendonly="yes", appendfsync="always")
    server.cli("SET", "kept", "1")
    server.kill()
    [file] = server.data.glob("appendonlydir/*.incr.aof")
    whole = file.read_bytes()
    file.write_bytes(whole + torn + bytes(zeros))
    # when the zeros are cut off
    [line] = cut_zeros(server.data)
    # then it is told, Redis starts, has what was there, and the second time there is nothing to cut
    assert str(file) in line
    assert file.read_bytes() == whole + torn.rstrip(b"\0")
    server.start()
    assert server.cli("GET", "kept") == "1"
    server.stop()
    assert cut_zeros(server.data) == []


def test_files_without_zeros_at_their_end_stay_as_they_are(tmp_path: Path) -> None:
    # given no files at all, or some that are in order or empty
    assert cut_zeros(tmp_path) == []
    (tmp_path / "appendonlydir").mkdir()
    files = {"appendonly.aof.1.incr.aof": b"*1\r\n$2\r\n\0\0\r\n", "appendonly.aof.2.incr.aof": b""}
    for name, data in files.items():
        (tmp_path / "appendonlydir" / name).write_bytes(data)
    # then nothing is cut
    assert cut_zeros(tmp_path) == []
    assert {file.name: file.read_bytes() for file in (tmp_path / "appendonlydir").iterdir()} == files
