"""The names of the instances that are there or are missed, in a file, so that the next stats server of this host misses
those of them that it does not hear.

It is in the directory that all stats servers of a host share, and written when one comes, goes or is missed. What is in
it does not reach the database: it is to be known at once, also by a stats server that was killed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gorgond.redpill import dumps, loads
from gorgond.stats.instances import Expected

FILE = "instances.json"

log = logging.getLogger("gorgond.stats")


class Roster:
    """The file in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._written: dict[str, str] | None = None  # the states that are in the file

    def read(self) -> list[Expected]:
        """Those that were written last; nobody where there is no such file, or it cannot be read."""
        try:
            return [Expected.of(**row) for row in loads(self._file.read_bytes())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            log.warning("who is to be missed is not known from before: %s: %r", self._file, error)
            return []

    def write(self, expected: Sequence[Expected]) -> None:
        """Write these, if there are others than before, or one is in another state."""
        states = {each.name: each.state for each in expected}
        if states == self._written:
            return
        self._written = states
        fresh = self._file.with_name(f".{FILE}.{os.getpid()}")
        try:
            fresh.write_bytes(dumps([asdict(each) for each in expected]))
            fresh.replace(self._file)
        except OSError as error:
            log.warning("who is to be missed is not known to the next stats server: %s: %s", fresh, error.strerror)
