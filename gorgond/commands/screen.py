"""What `gorgond up` writes: lines that stay, and below them, on a terminal, a table that is drawn anew."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress

from gorgond.service.plain import plain


class Screen:
    """Standard output. It is a stream too, so that the log can be written to it. Of a table that is taller than the
    terminal the first lines are drawn: what has left its upper edge could not be erased."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self._table: Sequence[str] = ()
        self._height = 0  # lines that are drawn

    def write(self, text: str) -> None:
        """Write lines above the table."""
        self._print(self._erase() + text + self._table_text())

    def say(self, line: str) -> None:
        """Write one line above the table."""
        self.write(line + "\n")

    def show(self, table: Sequence[str]) -> None:
        """Draw the table anew."""
        erased, self._table = self._erase(), list(map(plain, table))
        self._print(erased + self._table_text())

    def flush(self) -> None:
        """Nothing is kept back."""

    def _erase(self) -> str:
        height = min(self._height, shutil.get_terminal_size().lines - 1)  # it may have become lower since
        return f"\r\x1b[{height}A\x1b[J" if height else ""

    def _table_text(self) -> str:
        columns, rows = shutil.get_terminal_size()
        shown = list(self._table)
        if len(shown) >= rows > 1:
            left = len(shown) - rows + 2
            shown[rows - 2 :] = [f"… {left} lines more in a taller terminal, or with gorgonctl top"]
        self._height = len(shown)
        return "".join(f"{line[: columns - 1]}\n" for line in shown)

    def _print(self, text: str) -> None:
        with suppress(OSError):  # the terminal was closed: what runs is to end in order all the same
            sys.stdout.write(text)
            sys.stdout.flush()
