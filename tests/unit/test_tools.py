"""The programs of a checkout can be called as README.md and docs/ write them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
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


def requirements(root: Path) -> str:
    """What an environment of this checkout depends on."""
    done = subprocess.run(
        ["bash", "-c", ". tools/setup.sh; requirements"], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_an_environment_is_made_anew_when_other_things_are_required_and_not_else(tmp_path: Path) -> None:
    # given a checkout
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/setup.sh", tmp_path / "tools")
    setup = tmp_path / "setup.cfg"
    setup.write_text((ROOT / "setup.cfg").read_text())
    before = requirements(tmp_path)
    assert "tornado" in before
    # when something else in setup.cfg changes, then nothing else is required
    setup.write_text(setup.read_text().replace("faulthandler_timeout = 120", "faulthandler_timeout = 300"))
    assert requirements(tmp_path) == before
    # when a library does, then it is
    setup.write_text(setup.read_text().replace("tornado >= 6.2", "tornado >= 6.3"))
    assert requirements(tmp_path) != before


def test_the_proofs_are_listed_with_their_length_and_have_a_short_form() -> None:
    listed = subprocess.run([ROOT / "tools/prove"], capture_output=True, text=True, check=True).stdout
    proofs = runpy.run_path(str(ROOT / "tools/prove"))["PROOFS"]
    assert re.findall(r"^(\w+) +\d+ min  ", listed, re.MULTILINE) == list(proofs)
    assert [name for name, proof in proofs.items() if not (ROOT / proof.short).is_file()] == []
