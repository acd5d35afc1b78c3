"""`gorgond new`: what it writes works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gorgond.commands.new import new
from gorgond.errors import GorgonError
from tests.programs import gorgond
from tests.waiting import HANGS


def test_the_new_application_passes_its_own_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a new application
    monkeypatch.chdir(tmp_path)
    directory = new("ta_fresh")
    assert sorted(path.name for path in directory.iterdir()) == ["README.md", "ta_fresh.py", "test_ta_fresh.py"]
    # then its own test passes, with no warning
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=directory, check=False, capture_output=True, text=True, timeout=HANGS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # and it is not written over
    with pytest.raises(GorgonError, match="File exists"):
        new("ta_fresh")


@pytest.mark.parametrize("name", ["", "Shop", "my-shop", "1a", "class", "a" * 33, "../x", "json"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GorgonError):
        new(name)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_says_what_to_read() -> None:
    assert "cannot be called 'No'" in gorgond("new", "No").stderr
