"""The programs of a checkout can be called as README.md and docs/ write them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oldest import touches
from tests.programs import ROOT
from tests.waiting import HANGS
from tools.speed.cases import CASES

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
    done = subprocess.run(
        [ROOT / name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize(
    "name", [name for name in shown() if (ROOT / name).read_bytes().startswith(b"#!/usr/bin/env -S")]
)
def test_a_python_program_of_a_checkout_without_environment_says_what_makes_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    for each in (name, "tools/python"):
        shutil.copy(ROOT / each, tmp_path / "tools")
    done = subprocess.run([tmp_path / name, "--help"], capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / name}: call tools/test or tools/up first, they make .venv\n"


@pytest.mark.parametrize(
    "command",
    [
        "-m gorgond.chaos.cli drill --list",
        "-m gorgond config --show",
        "-m gorgond --help",
        "-m gorgond.gorgonctl --help",
        "tools/bench.py --help",
    ],
)
def test_a_reader_who_has_seen_enough_is_no_error(command: str) -> None:
    # given a pipe of which nobody reads any more
    nobody, end = os.pipe()
    os.close(nobody)
    # when a command tells something, then it ends well, and says nothing about that
    with os.fdopen(end, "wb") as output:
        done = subprocess.run(
            [sys.executable, *command.split()],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
            timeout=HANGS,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_cases_that_the_benchmark_tells_of_are_those_that_there_are() -> None:
    source = (ROOT / "tools/bench.py").read_text()
    told = re.findall(r"^    (\w+) {2,}\w", source.partition('"""\n\n')[0], re.MULTILINE)
    assert sorted(told) == sorted(CASES)


def requirements(root: Path) -> str:
    """What an environment of this checkout depends on."""
    done = subprocess.run(
        ["bash", "-c", ". tools/setup.sh; requirements"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
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
    setup.write_text(setup.read_text().replace("xfail_strict = true", "xfail_strict = false"))
    assert requirements(tmp_path) == before
    # when a library does, then it is
    setup.write_text(setup.read_text().replace("tornado >= 6.2", "tornado >= 6.3"))
    assert requirements(tmp_path) != before


@pytest.mark.parametrize(
    ("arguments", "there", "said"),
    [
        ((), "dpkg-checkbuilddeps", ("missing: debhelper python3-all", "apt-get build-dep ./", "--suite")),
        ((), "", ("missing: dpkg-dev", "apt-get build-dep ./", "--suite")),
        (("--suite", "trixie"), "", ("mmdebstrap is not installed", "apt-get install mmdebstrap")),
    ],
)
def test_a_package_that_cannot_be_built_here_says_what_to_install(
    arguments: tuple[str, ...], there: str, said: tuple[str, ...], tmp_path: Path
) -> None:
    # given a host, where we are root, without what building wants
    unmet = "dpkg-checkbuilddeps: error: Unmet build dependencies: debhelper python3-all"
    programs = {
        "dpkg-checkbuilddeps": f"echo '{unmet}' >&2; exit 1",
        "id": "echo 0",
    }
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("bash", "dirname", "mkdir", "mktemp", "rm", "sed", "cat", "date", "sha256sum", "cut"):
        (bin / name).symlink_to(str(shutil.which(name)))
    for name in {"id", there} - {""}:
        (bin / name).write_text(f"#!/bin/bash\n{programs[name]}\n")
        (bin / name).chmod(0o755)
    # when it is built, then that fails and says what helps
    command = [str(ROOT / "tools/build-deb"), "--output", str(tmp_path / "out"), *arguments]
    done = subprocess.run(
        command,
        env={"PATH": str(bin), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 1
    assert [words for words in said if words not in done.stderr] == []


def test_the_oldest_libraries_are_met_by_the_tests_of_what_imports_them_and_by_no_others() -> None:
    unit = ROOT / "tests/unit"
    # croniter is imported by a module that the test imports, Tornado by one that it has from a package
    assert [touches(unit / f"test_{name}.py") for name in ("cron", "stream", "pace", "times")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_proofs_are_listed_with_their_length_and_have_a_short_form() -> None:
    listed = subprocess.run([ROOT / "tools/prove"], capture_output=True, text=True, check=True, timeout=HANGS).stdout
    proofs = runpy.run_path(str(ROOT / "tools/prove"))["PROOFS"]
    assert re.findall(r"^(\w+) +\d+ min  ", listed, re.MULTILINE) == list(proofs)
    assert [name for name, proof in proofs.items() if not (ROOT / proof.short).is_file()] == []


def run_sourced(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command after tools/setup.sh of a checkout."""
    return subprocess.run(
        ["bash", "-euc", f". tools/setup.sh; {command}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )


def test_who_cannot_install_what_is_missing_is_told_what_to_install() -> None:
    done = run_sourced(ROOT, "id() { echo 1000; }; PATH=/nonexistent; packages redis-server python3-venv")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "these Debian packages are missing: redis-server python3-venv",
        "as root: apt-get install --no-install-recommends redis-server python3-venv",
        "then call this again",
    ]


def test_an_environment_that_is_made_says_so_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a checkout that has none, and a pip that installs something
    for name in ("tools", "setup.cfg"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "bin").mkdir()
    pip = "#!/bin/sh\nprintf '%s\\n' 'Collecting tornado' '  Using a cached one' 'Installing it'\nsleep $SILENT\n"
    venv = f'#!/bin/bash\n[ "$1" = --version ] || [ "$1" = -c ] && exec {sys.executable} "$@"\n'
    venv += f"mkdir -p $3/bin; cp {tmp_path}/pip $3/bin/python\n"
    for path, text in ((tmp_path / "pip", pip), (tmp_path / "bin/python3", venv)):
        path.write_text(text)
        path.chmod(0o755)
    prepare = f"root={tmp_path}; python={tmp_path}/bin/python3; environment .venv tornado"
    monkeypatch.setenv("SILENT", "0")
    # when it is made, then what comes next is told, and what pip does
    assert run_sourced(tmp_path, prepare).stderr.splitlines() == [
        f"preparing {tmp_path}/.venv, the first time for a minute or two",
        "  Collecting tornado",
        "  Installing it",
        f"{tmp_path}/.venv is ready",
    ]
    # and nothing the second time
    assert run_sourced(tmp_path, prepare).stderr == ""
    # when pip is long silent, then it is told that it goes on
    monkeypatch.setenv("SILENT", "3")
    again = run_sourced(tmp_path, f"sign_of_life=0.5; {prepare} starlette").stderr
    assert re.search("Installing it\n  … [0-9]+ s\n", again)


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_each_table_has_a_head(file: Path) -> None:
    lines = file.read_text().splitlines()
    heads = [lines[number - 1] for number, line in enumerate(lines) if re.fullmatch(r"\|(-+\|)+", line)]
    assert [head for head in heads if not head.strip("| ")] == []
