"""The undo journal: what must be done to make good what was done, written down before it is done.

One JSON object a line, each on the disk before the fault happens: {"n": 1, "undo": "resume", "name": "store@2"}, and
{"n": 1, "done": true} when it is made good. `gorgon-chaos undo` makes good what a killed run has left there, the last
thing first. The file is locked while a run has it, so there is one run at a time.

    start NAME       it was stopped                resume NAME            it was paused
    remove NAME      it was added                  configure NAME KEY VALUE     a Redis' setting, as it was before
    rename FROM TO   a file, back in its place     clear DIRECTORY        a temporary one
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError

from gorgond.chaos.errors import Refused
from gorgond.errors import GorgonError

Step = list[str]


class UndoLog:
    """The journal at `path`. Raises Refused when another run has it, or left something in it unless `leftovers`."""

    def __init__(self, path: Path, leftovers: bool = False) -> None:
        self.path = path
        self._pending: dict[int, Step] = {}
        self.next = 1
        self._leftovers = leftovers
        self._file = -1

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise Refused(f"another gorgon-chaos is at work: it holds {self.path}") from None
        self._read()
        if self._pending and not self._leftovers:
            os.close(self._file)
            raise Refused(f"an earlier run left {len(self._pending)} things to undo: gorgon-chaos undo")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._pending:
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def _read(self) -> None:
        for line in self.path.read_text().splitlines():
            try:
                entry: dict[str, Any] = json.loads(line)
            except ValueError:  # the line that a crash cut off: what it tells of was not done
                continue
            if "done" in entry:
                self._pending.pop(entry["n"], None)
            else:
                self._pending[entry["n"]] = entry["undo"]
            self.next = entry["n"] + 1 if entry["n"] >= self.next else self.next

    def before(self, *step: str) -> int:
        """Write down the step that undoes what is about to be done; its number."""
        number, self.next = self.next, self.next + 1
        self._write({"n": number, "undo": step})
        self._pending[number] = list(step)
        return number

    def mark_done(self, number: int) -> None:
        """It is made good."""
        if self._pending.pop(number, None) is not None:
            self._write({"n": number, "done": True})

    def settle(self, *step: str) -> None:
        """This step was done otherwise."""
        for number in [number for number, pending in self._pending.items() if pending == list(step)]:
            self.mark_done(number)

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")
        os.fsync(self._file)

    @property
    def pending(self) -> list[Step]:
        """The steps that are still to be made good, the last one first."""
        return [step for _, step in sorted(self._pending.items(), reverse=True)]

    def undo(self, perform: Callable[[Step], None], since: int = 0) -> list[str]:
        """Make good everything from number `since` on, the last thing first; why what could not be. That stays in the
        journal."""
        failures = []
        for number, step in sorted(self._pending.items(), reverse=True):
            if number < since:
                break
            try:
                perform(step)
            except (OSError, ValueError, GorgonError, RedisError) as error:
                failures.append(f"{' '.join(step)}: {error}")
            else:
                self.mark_done(number)
        return failures
