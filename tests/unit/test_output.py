"""The output of a command that is closed, full, or read by somebody who has seen enough."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.waiting import HANGS

PROGRAMS = {"gorgond": "gorgond.cli", "gorgonctl": "gorgond.gorgonctl", "gorgon-chaos": "gorgond.chaos.cli"}
# What argparse prints, which drops errors, and what a command prints.
PRINTED = [(program, "--help") for program in PROGRAMS] + [
    ("gorgond", "config --show"),
    ("gorgonctl", "status --data /nowhere"),
    ("gorgon-chaos", "drill --list"),
]


def run(program: str, arguments: str, output: int, redirect: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end, its standard output a descriptor of ours, or redirected by a shell."""
    script = f"import sys; from {PROGRAMS[program]} import main; sys.exit(main())"
    command = ["sh", "-c", f'exec "$0" "$@" {redirect}', sys.executable, "-c", script, *arguments.split()]
    environ = os.environ | {"GORGOND_CONFIG": os.devnull}
    return subprocess.run(
        command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.PIPE, text=True, timeout=HANGS, check=False
    )


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("flag", "code"), [("--version", 0), ("--nonsense", 2)])
def test_a_command_whose_output_is_closed_ends_as_it_does_otherwise(program: str, flag: str, code: int) -> None:
    # given a program that is started with standard output closed
    done = run(program, flag, subprocess.DEVNULL, ">&-")
    # then it says no more than otherwise
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


@pytest.mark.parametrize(("program", "arguments"), PRINTED)
def test_a_command_whose_reader_has_seen_enough_ends_well_and_without_a_word(program: str, arguments: str) -> None:
    # given a pipe that nobody reads any more, as that of `| head -1`
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(program, arguments, writer)
    finally:
        os.close(writer)
    # then there is nothing to complain about
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("program", "arguments"), PRINTED)
def test_a_command_that_cannot_write_says_so_in_a_line(program: str, arguments: str) -> None:
    # given a disk that is full
    with Path("/dev/full").open("w") as full:
        done = run(program, arguments, full.fileno())
    # then its user is told what the exit code means
    assert (done.returncode, done.stderr) == (74, f"{program}: the output is not complete: No space left on device\n")
