"""The clock of gorgond's processes on a host, which can be set while they run: libfaketime.

Redis and mongod there keep the clock of this machine. The monotonic clock is right in all of them, as a kernel's is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gorgond.chaos.errors import Refused


def faketime() -> str:
    """The library. Raises Refused where it is not installed."""
    found = next((str(each) for each in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if found is None:
        raise Refused("libfaketime is not installed: a clock that can be set needs it")
    return found


class Clock:
    """That of the processes that are started in its `environment`. At first it is right. `file` is how it is set."""

    def __init__(self, library: str, file: Path) -> None:
        self._file = file
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: float) -> None:
        """Be so many seconds ahead from now on."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+g}s\n")
        fresh.replace(self._file)
