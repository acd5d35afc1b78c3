"""The programs of a checkout can be called as README.md and docs/ write them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT

SHOWN = re.compile(r"(?<![\w./-])tools/[\w.-]+\w")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCED = {"tools/setup.sh"}


def shown() -> list[str]:
    """The programs of tools/ that the documentation names."""
    return sorted({name for file in DOCS for name in SHOWN.findall(file.read_text())} - SOURCED)


@pytest.mark.parametrize("name", shown())
def test_a_program_that_is_shown_can_be_called(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK), f"{name} has no run bit"
    assert (ROOT / name).read_bytes().startswith(b"#!")


@pytest.mark.parametrize("name", [name for name in shown() if name.endswith(".py")])
def test_a_python_program_finds_the_environment_of_its_checkout_from_anywhere(name: str, tmp_path: Path) -> None:
    done = subprocess.run([ROOT / name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
