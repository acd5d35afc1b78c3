"""The table of `gorgond up`: drawn below its log, never more of it than the terminal has room for."""

from __future__ import annotations

import os
import re

import pytest

from gorgond.commands.screen import Screen


class Terminal:
    """As much of one as a screen uses: text, line feeds, up, erase below. `gone` are lines that left its upper edge."""

    def __init__(self, rows: int) -> None:
        self.rows, self.at = rows, 0
        self.lines = [""]
        self.gone: list[str] = []

    def write(self, text: str) -> int:
        for word in re.findall(r"\x1b\[\d*[AJ]|\n|\r|[^\n\r\x1b]+", text):
            if word == "\n":
                self.at += 1
                self.lines += [""] * (self.at + 1 - len(self.lines))
                if len(self.lines) > self.rows:
                    self.gone.append(self.lines.pop(0))
                    self.at -= 1
            elif word.endswith("A"):
                self.at = max(0, self.at - int(word[2:-1]))
            elif word == "\x1b[J":
                self.lines[self.at :] = [""]
            elif word != "\r":
                self.lines[self.at] += word
        return len(text)

    def flush(self) -> None:
        """It is all there."""


def screen_on(monkeypatch: pytest.MonkeyPatch) -> tuple[Screen, Terminal]:
    terminal = Terminal(8)
    made = Screen()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, terminal.rows)))
    return made, terminal


def test_a_table_is_drawn_anew_below_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, terminal = screen_on(monkeypatch)
    for number in range(3):
        shown.show([f"web@1 {number}", f"web@2 {number}"])
        shown.say(f"line {number}")
    assert terminal.lines == ["line 0", "line 1", "line 2", "web@1 2", "web@2 2", ""]


@pytest.mark.parametrize("height", [7, 8, 9, 30])
def test_of_a_table_taller_than_the_terminal_a_part_is_drawn(monkeypatch: pytest.MonkeyPatch, height: int) -> None:
    shown, terminal = screen_on(monkeypatch)
    # when it is drawn again and again, with a line of the log in between
    for number in range(5):
        shown.show([f"row {row} {number}" for row in range(height)])
        if number == 2:
            shown.say("a line that stays")
    # then nothing of an earlier one is left, neither here nor above
    assert terminal.gone in ([], ["a line that stays"])
    drawn = [line for line in terminal.lines if line and line != "a line that stays"]
    if height == 7:
        assert drawn == [f"row {row} 4" for row in range(7)]
    else:
        assert drawn[:-1] == [f"row {row} 4" for row in range(6)]
        assert drawn[-1].startswith(f"… {height - 6} lines more in a taller termin")


def test_a_terminal_that_becomes_lower_is_drawn_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, terminal = screen_on(monkeypatch)
    shown.show([f"row {row}" for row in range(6)])
    terminal.gone, terminal.lines = terminal.lines[:3], terminal.lines[3:]
    terminal.rows, terminal.at = 4, 3
    shown.show([f"row {row} again" for row in range(6)])
    assert terminal.lines == ["row 0 again", "row 1 again", "… 4 lines more in a taller terminal, or", ""]
