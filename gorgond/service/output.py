"""What a command prints, to a reader who may have seen enough: `gorgonctl dead list | head`."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable


def until_seen(command: Callable[[], int]) -> int:
    """Run a command; its exit code, or 0 when the reader of its output has gone."""
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
