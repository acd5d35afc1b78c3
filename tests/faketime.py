"""Processes whose clock is off, or is set while they run: libfaketime. Their monotonic clock is right.

A Redis with jemalloc does not start under libfaketime. It asks nothing but gettimeofday for the time, so a library of a
few lines is enough for it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_GETTIMEOFDAY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *now, void *zone) {
  int done = syscall(SYS_gettimeofday, now, zone);
  FILE *file = fopen(getenv("FAKETIME_TIMESTAMP_FILE"), "r");
  long ahead = 0;
  if (file) {
    if (fscanf(file, "%ld", &ahead) == 1) now->tv_sec += ahead;
    fclose(file);
  }
  return done;
}
"""


def for_redis(compiler: str, directory: Path) -> str:
    """The library for a Redis, made there."""
    source, library = directory / "gettimeofday.c", directory / "gettimeofday.so"
    source.write_text(_GETTIMEOFDAY)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


def off_by(library: str, seconds: str) -> dict[str, str]:
    """The environment of a process whose clock is so much ahead."""
    return {"LD_PRELOAD": library, "FAKETIME": f"{seconds}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class Settable:
    """A clock that can be set while processes run by it, those that are started in its `environment`. At first it is
    right."""

    def __init__(self, library: str, file: Path) -> None:
        self._file = file
        self.environment = {
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
