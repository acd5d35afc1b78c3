"""tools/release: the version is set once, in every place that says it, and nothing is begun that cannot be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.waiting import HANGS

PARTS = ("gorgond/__init__.py", "debian/changelog", "CHANGELOG.md", "tools/release")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with what a release changes; instead of building, its tools note that they were to."""
    directory = tmp_path / "checkout"
    for part in PARTS:
        (directory / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, directory / part)
    changes = directory / "CHANGELOG.md"
    if "## Unreleased\n" not in changes.read_text():
        changes.write_text("# Changes\n\n## Unreleased\n\n- Something.\n")
    for tool in ("tools/build-deb", ".venv/bin/python"):
        (directory / tool).parent.mkdir(parents=True, exist_ok=True)
        (directory / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>"{tmp_path}/built"\n')
        (directory / tool).chmod(0o755)
    git(directory, "init", "-q")
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "All")
    return directory


def git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=environ(),
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    ).stdout


def environ() -> dict[str, str]:
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    return {**os.environ, **dict.fromkeys(names, "test")}


def release(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(directory / "tools/release"), *arguments]
    return subprocess.run(command, env=environ(), capture_output=True, text=True, check=False, timeout=HANGS)


def test_the_version_is_set_everywhere_and_all_is_built(checkout: Path, tmp_path: Path) -> None:
    done = release(checkout, "77.0.0", "--output", str(tmp_path / "out"), "--suite", "bookworm", "--suite", "trixie")
    assert done.returncode == 0, done.stderr
    # then each place says it, in a commit that has its tag
    assert '__version__ = "77.0.0"\n' in (checkout / "gorgond/__init__.py").read_text()
    assert "\n## 77.0.0\n" in (checkout / "CHANGELOG.md").read_text()
    assert re.match(r"gorgond \(77\.0\.0\) unstable; ", (checkout / "debian/changelog").read_text())
    assert git(checkout, "tag", "--points-at", "HEAD") == "v77.0.0\n"
    assert git(checkout, "status", "--porcelain") == ""
    # and the packages and the wheel are built
    built = (tmp_path / "built").read_text().splitlines()
    assert [line.split()[0] for line in built] == ["tools/build-deb", "tools/build-deb", ".venv/bin/python"]
    assert [line.split()[-1] for line in built[:2]] == ["bookworm", "trixie"]
    # and the same version is not made twice
    assert "a v77.0.0 already" in release(checkout, "77.0.0", "--output", str(tmp_path)).stderr


@pytest.mark.parametrize(
    ("version", "change", "said"),
    [
        ("0.0.0", "", "0.0.0 is lower than"),
        ("77", "", "tools/release 0.2.0 --output DIR"),
        ("77.0.0", "CHANGELOG.md", "changes that are not committed"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(
    checkout: Path, tmp_path: Path, version: str, change: str, said: str
) -> None:
    if change:
        (checkout / change).write_text("changed")
    done = release(checkout, version, "--output", str(tmp_path))
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert git(checkout, "rev-list", "--count", "HEAD") == "1\n"
    assert not (tmp_path / "built").exists()
