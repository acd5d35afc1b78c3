"""Commands that README.md and docs/ name within a sentence: the programs, their commands and options are there.

Those in blocks are run: tests/integration/test_shown.py.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import subprocess
from functools import cache
from typing import Any

import pytest

from gorgond import cli, gorgonctl
from gorgond.chaos import cli as chaos
from tests.programs import ROOT
from tests.waiting import HANGS

DOCS = ["README.md", *(f"docs/{each.name}" for each in sorted((ROOT / "docs").glob("*.md")))]
BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
SLIPS = "\n## What proves that the tests can fail"  # it tells of commands that are not there
NAMED = re.compile(r"`((?:tools/[\w.-]+|gorgonctl|gorgond|gorgon-chaos)(?:\s[^`]*)?)`")
PARSERS = {"gorgond": cli, "gorgonctl": gorgonctl, "gorgon-chaos": chaos, "tools/chaos.py": chaos}
PASSED_ON = {"tools/up": ["gorgond", "up"]}  # what follows is for that
STAGES = "lint unit contract integration oldest browser hosts system"
GIVEN = re.compile(r"[A-Z\[].*|.*[@/…].*")  # what the reader puts in its place, or a name of the reader's


def named() -> list[tuple[str, str]]:
    """Each command that a file names, beside the file."""
    return sorted(
        {
            (file, " ".join(command.split()))
            for file in DOCS
            for command in NAMED.findall(BLOCK.sub("", (ROOT / file).read_text()).partition(SLIPS)[0])
        }
    )


def _parser(module: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = module._parser()
    return parser


def unknown(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Those of the words that are no command, and no option of the command before."""
    found = []
    for word in words:
        commands = next((each for each in parser._actions if isinstance(each, argparse._SubParsersAction)), None)
        if word.startswith("--"):
            if word not in parser._option_string_actions:
                found.append(word)
        elif commands and not GIVEN.fullmatch(word):
            if word not in commands.choices:
                return [*found, word]
            parser = commands.choices[word]
    return found


@cache
def described(program: str) -> str:
    """The help of a program."""
    return subprocess.run([ROOT / program, "--help"], capture_output=True, text=True, check=True, timeout=HANGS).stdout


@pytest.mark.parametrize(("file", "command"), named())
def test_a_command_that_is_named_is_there(file: str, command: str) -> None:
    program, *words = command.split()
    program, *before = PASSED_ON.get(program, [program])
    words = [*before, *words]
    if program in PARSERS:
        assert unknown(_parser(PARSERS[program]), words) == [], file
        return
    assert program == "tools/setup.sh" or os.access(ROOT / program, os.X_OK), file
    if program == "tools/prove":
        assert set(words[:1]) <= set(runpy.run_path(str(ROOT / program))["PROOFS"])
    elif program == "tools/test":
        assert set(words[:1]) <= {*STAGES.split(), "--fast"}
    elif program.endswith(".py"):
        assert [word for word in words if word.startswith("--") and word not in described(program)] == []


def test_a_slip_is_seen() -> None:
    parser = _parser(gorgonctl)
    assert unknown(parser, ["restrat", "web"]) == ["restrat"]
    assert unknown(parser, ["dead", "lst"]) == ["lst"]
    assert unknown(parser, ["dead", "list", "QUEUE", "--jsno"]) == ["--jsno"]
    assert unknown(parser, ["dead", "requeue", "QUEUE", "LETTER…"]) == []
