"""The picture on the whole terminal, drawn anew each second until q is pressed (or Ctrl-C, or the terminal is gone)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from gorgond.commands.operator.watch import Picture, Watch
from gorgond.errors import GorgonError

PAUSE = 1.0  # seconds between two pictures
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the alternate screen, without a cursor
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_RESET = "\x1b[0m"

Draw = Callable[[Picture], Sequence[str]]


async def live(watch: Watch, draw: Draw) -> None:
    """Show the pictures as `draw` makes them. Raises GorgonError when there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise GorgonError("top needs a terminal; gorgonctl status shows the same once")
    with _terminal():
        await _Live(watch, draw).run()


class _Live:
    def __init__(self, watch: Watch, draw: Draw) -> None:
        self._watch = watch
        self._draw = draw
        self._lines: Sequence[str] = ("looking …",)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGWINCH, self._show)
        loop.add_reader(sys.stdin.fileno(), self._key)
        painting = loop.create_task(self._paint())
        painting.add_done_callback(lambda _: self._stop.set())
        try:
            await self._stop.wait()
        finally:
            loop.remove_reader(sys.stdin.fileno())
            painting.cancel()
            await asyncio.wait({painting})
        if not painting.cancelled():
            painting.result()

    def _key(self) -> None:
        with suppress(OSError):
            if os.read(sys.stdin.fileno(), 100).lower().strip(b"q"):
                return
        self._stop.set()

    async def _paint(self) -> None:
        while True:
            self._show()
            self._lines = self._draw(await self._watch.picture())
            self._show()
            await asyncio.sleep(PAUSE)

    def _show(self) -> None:
        """Show the part that fits into the terminal as it is now."""
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        lines = [*self._lines[: rows - 1], *[""] * (rows - 1 - len(self._lines)), "q quits"]
        text = "\n".join(f"{_cut(line, columns)}{_REST_OF_LINE}" for line in lines[-rows:])
        with suppress(OSError):
            sys.stdout.write(_HOME + text + _REST)
            sys.stdout.flush()


def _cut(line: str, columns: int) -> str:
    """The beginning of a line that has room; what switches colours takes none."""
    shown, room, parts = "", columns, line.split("\x1b[")
    for index, part in enumerate(parts):
        code, switch, visible = part.partition("m") if index else ("", "", part)
        shown += (f"\x1b[{code}{switch}" if index else "") + visible[:room]
        room -= len(visible[:room])
    return shown + _RESET if len(parts) > 1 else shown


@contextmanager
def _terminal() -> Iterator[None]:
    """The terminal for us alone: keys come at once and are not shown."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        sys.stdout.write(_ENTER)
        yield
    finally:
        with suppress(OSError, termios.error):  # it was closed
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
