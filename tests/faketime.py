"""Processes whose clock is off: libfaketime. Their monotonic clock is right. One that can be set while they run is in
gorgond/chaos/hosts/clock.py.

A Redis with jemalloc does not start under libfaketime. It asks nothing but gettimeofday for the time, so a library of a
few lines is enough for it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.waiting import HANGS

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
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True, timeout=HANGS)
    return str(library)


def off_by(library: str, seconds: str) -> dict[str, str]:
    """The environment of a process whose clock is so much ahead."""
    return {"LD_PRELOAD": library, "FAKETIME": f"{seconds}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
