"""What a command prints, to a reader who may have seen enough: `gorgonctl dead list | head`."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path


def until_seen(command: Callable[[], int]) -> int:
    """Run a command; its exit code, or 0 when the reader of its output has gone."""
    if sys.stdout is None:  # it was closed by whoever has called us: `gorgond config --check >&-`
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    try:
        try:
            return command()
        finally:  # also of --help, which ends by SystemExit
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads(sys.stdout.fileno()):  # it is another pipe
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return 0


def _nobody_reads(output: int) -> bool:
    """Whether a pipe has no reader any more."""
    poll = select.poll()
    poll.register(output, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
