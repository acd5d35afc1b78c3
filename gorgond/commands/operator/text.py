"""Figures and tables for people."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gorgond.service.plain import plain

Row = Mapping[str, Any]
Figure = Callable[[float], str]

RED, GREEN, YELLOW, BOLD, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[0m"


def coloured() -> bool:
    """Whether standard output is a terminal, and nobody asked for no colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as they must be. A header that begins with `>` is that of a column of figures, which
    stand at its right. No lines without rows. Characters in a cell that are not seen are made visible, or it would be
    wider than it looks."""
    if not rows:
        return []
    right = [title.startswith(">") for title in header]
    lines = [[title.removeprefix(">") for title in header], *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def count(number: float) -> str:
    """4,210"""
    return f"{number:,.0f}"


def rate(per_second: float) -> str:
    """Per second: 0, <0.1, 0.2, 9.5, 1,234."""
    if 0 < per_second < 0.05:
        return "<0.1"
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else count(per_second)


def size(number: float) -> str:
    """Bytes: 512 B, 1.8 kB, 64 MB, 1.2 GB."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    unit = units[0]
    return f"{number:.1f} {unit}" if number < 9.95 and unit != "B" else f"{number:.0f} {unit}"


def duration(seconds: float) -> str:
    """0.3 s, 38 s, 5 min, 3 h 20 min, 12 d."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d"


def latency(microseconds: float) -> str:
    """850 µs, 3.4 ms, 1.2 s."""
    if microseconds < 999.5:
        return f"{microseconds:.0f} µs"
    if microseconds < 999_500:
        milliseconds = microseconds / 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    return f"{microseconds / 1e6:.1f} s"


def clock(milliseconds: int) -> str:
    """A moment, ms since 1970, by the clock of this host: 14:03:07, with the day before it unless that is today."""
    then = time.localtime(milliseconds / 1000)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", then)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)
