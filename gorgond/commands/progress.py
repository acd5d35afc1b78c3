"""A progress bar: one line on stderr, drawn anew a few times a second; nothing when stderr is no terminal."""

from __future__ import annotations

import shutil
import sys
import time

PAUSE = 0.1  # seconds between two drawings
WIDTH = 30  # characters of the bar itself


class Bar:
    """Shows how much of something is done, how fast, and how long the rest takes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._first: tuple[float, int] | None = None  # when and where it began: what was done before is no merit
        self._next = 0.0

    def show(self, done: int, of: int) -> None:
        """It is at `done` of `of`; of 0 is without end."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        finished = 0 < of <= done
        if self._shown and (finished or now >= self._next):
            self._next = now + PAUSE
            line = self._line(done, of, (done - self._first[1]) / max(now - self._first[0], 0.001))
            columns = shutil.get_terminal_size().columns
            print(f"\r\x1b[K{line[: columns - 1]}", end="\n" if finished else "", file=sys.stderr, flush=True)

    def _line(self, done: int, of: int, rate: float) -> str:
        if not of:
            return f"{self._what} {done:,}, {rate:,.0f}/s"
        bar = "#" * (WIDTH * done // of)
        left = f", {(of - done) / rate:,.0f} s left" if rate and done < of else ""
        return f"{self._what} [{bar:.<{WIDTH}}] {100 * done // of:3} %  {done:,} of {of:,}, {rate:,.0f}/s{left}"
