"""Texts that others wrote do nothing to the terminal on which they are shown."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from gorgond.chaos import cli as chaos
from gorgond.commands.operator.letters import Letter, letter_lines, letter_table
from gorgond.commands.operator.text import table
from gorgond.commands.screen import Screen
from gorgond.gorgonctl import main
from gorgond.redpill import Message
from gorgond.redpill.broker import DeadLetter
from gorgond.service.plain import plain, plain_lines, unseen

BAD = "\x1b]0;owned\x07\x9b2J\u202e\u200b\x7f\r"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""), ("store@1 is up: 5/s", "store@1 is up: 5/s"),
        ("Ärger & 日本 🍏 \u00a0\u3000", "Ärger & 日本 🍏 \u00a0\u3000"),
        ("\x1b[31mred", "\\u001b[31mred"), ("\x9b2J", "\\u009b2J"), ("a\u202eb", "a\\u202eb"), ("a\nb\t", "a\\nb\\t"),
        ("\U000e0041", "\\udb40\\udc41"), ("\u2028", "\\u2028"), ("\x00\x7f", "\\u0000\\u007f"),
    ],
)  # fmt: skip
def test_what_is_not_seen_is_made_visible(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_nothing_that_does_something_is_left() -> None:
    all = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {unicodedata.category(each) for each in plain(all)}
    assert not left & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert [each for each in map(chr, range(0xA0)) if unseen(each)] == [
        *map(chr, range(32)),
        *map(chr, range(127, 160)),
    ]


def test_json_stays_json() -> None:
    value = {"id": BAD, "why": ["\n", "ü"]}
    assert json.loads(plain(json.dumps(value, ensure_ascii=False))) == value


def test_lines_stay_lines() -> None:
    assert plain_lines("a\n\x1bb\n") == "a\n\\u001bb\n"


def letter() -> Letter:
    message = Message(f"items.{BAD}", {"a": BAD}, BAD)
    return Letter(f"q{BAD}", "durable", DeadLetter(1, 1_700_000_000_000, BAD, 1, message.encode()))


def printed(text: str) -> bool:
    """Whether there is nothing in it that is not seen but ends of lines."""
    return all(line.isprintable() for line in text.split("\n"))


def test_tables_and_letters_are_for_people_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("\n".join(table(("x",), [(BAD,)])))
    assert printed("\n".join(letter_table([letter()])))
    assert printed("\n".join(map(plain, letter_lines(letter()))))
    screen = Screen()
    screen.show([BAD])
    assert printed(capsys.readouterr().out)


def test_errors_are_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    for command in (["trace", "\udc9b"], ["roles", "\udc9b@b"], ["roles", "a@b", "\udc9b"]):
        with pytest.raises(SystemExit):
            main(command)
    assert main(["trace", BAD, "--data", f"/nowhere{BAD}"]) != 0
    assert main(["dead", "list", "--json", "--data", f"/nowhere{BAD}"]) != 0
    chaos._complain(BAD)
    chaos._say(BAD)
    error = capsys.readouterr().err
    assert "\\u001b]0;owned" in error
    assert printed(error)
