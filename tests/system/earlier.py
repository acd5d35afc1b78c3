"""The package of an earlier state of this repository, as somebody may still run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.system.machine import kept
from tests.waiting import HANGS

EARLIER = "1933fd07b963df908e43f7d4bbd44e8f8b5bacdd"
"""The commit whose package is upgraded from. A later one may take its place when nobody runs it any more."""


def build(suite: str) -> Path:
    """The path of the package, built with the tools it had then. It is always the same, so it is kept like the roots.
    Without that commit the test fails and says so."""
    (file,) = kept(f"earlier-{suite}", EARLIER, lambda fresh: _build(suite, fresh)).glob("package/*.deb")
    return file


def _build(suite: str, directory: Path) -> None:
    sources = directory / "sources"
    sources.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=False, timeout=HANGS)
    if packed.returncode != 0:
        pytest.fail(
            f"an upgrade needs the history, with commit {EARLIER}: git fetch --unshallow; {packed.stderr.decode()}"
        )
    subprocess.run(["tar", "-x", "-C", sources], input=packed.stdout, check=True, timeout=HANGS)
    command = [str(sources / "tools/build-deb"), "--output", str(directory / "package"), "--suite", suite]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stderr[-3000:]
