"""The package of an earlier state of this repository, as somebody may still run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT

EARLIER = "1933fd07b963df908e43f7d4bbd44e8f8b5bacdd"
"""The commit whose package is upgraded from. A later one may take its place when nobody runs it any more."""


def build(suite: str, directory: Path) -> Path:
    """Build it with the tools it had then; the path of the package. Without that commit the test fails and says so."""
    sources = directory / "sources"
    sources.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.fail(
            f"an upgrade needs the history, with commit {EARLIER}: git fetch --unshallow; {packed.stderr.decode()}"
        )
    subprocess.run(["tar", "-x", "-C", sources], input=packed.stdout, check=True)
    made = directory / "package"
    done = subprocess.run(
        [sources / "tools/build-deb", "--output", made, "--suite", suite], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = made.glob("*.deb")
    return file
