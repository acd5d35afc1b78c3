"""Whose words `gorgond up` takes for those of a service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gorgond.commands.notices import Notices

SAY = """
import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1\\nSTATUS=well", sys.argv[1])
print(flush=True)
sys.stdin.read()
"""
ITSELF = ["-c", SAY]
BY_ANOTHER = ["-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SAY!r}, sys.argv[1]])"]


@contextmanager
def saying(words: list[str], notices: Notices) -> Iterator[int]:
    """A service, a session of its own as `gorgond up` gives it, that has just said how it is; which process it is."""
    with subprocess.Popen(
        [sys.executable, *words, str(notices.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


@pytest.mark.parametrize("words", [ITSELF, BY_ANOTHER], ids=["itself", "by another process of its session"])
async def test_a_service_is_heard(tmp_path: Path, words: list[str]) -> None:
    heard: list[Mapping[str, str]] = []
    # given a service that says how it is
    with closing(Notices(tmp_path / "notify")) as notices, saying(words, notices) as pid:
        # when it is followed
        notices.follow(pid, heard.append)
        notices.read()
    # then that is heard
    assert heard == [{"READY": "1", "STATUS": "well"}]


@pytest.mark.parametrize("words", [ITSELF, BY_ANOTHER], ids=["itself", "by another process of its session"])
async def test_a_stranger_is_not(tmp_path: Path, words: list[str]) -> None:
    heard: list[Mapping[str, str]] = []
    # given two services
    with closing(Notices(tmp_path / "notify")) as notices, saying(ITSELF, notices) as pid:
        notices.read()
        notices.follow(pid, heard.append)
        # when the one that is not followed says how it is
        with saying(words, notices):
            notices.read()
    # then nothing is heard
    assert heard == []


async def test_one_that_has_ended_is_heard_to_the_last(tmp_path: Path) -> None:
    heard: list[Mapping[str, str]] = []
    with closing(Notices(tmp_path / "notify")) as notices:
        # given a service that has ended, with a last word that was not read
        with saying(ITSELF, notices) as pid:
            notices.follow(pid, heard.append)
        # when it is forgotten, then it was heard first
        notices.forget(pid)
    assert heard == [{"READY": "1", "STATUS": "well"}]
