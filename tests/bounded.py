"""A command that ends within a time, and leaves nothing behind: `python -m tests.bounded SECONDS COMMAND...`.

When the time is over it is told to end (SIGTERM), which has pytest say in which tests it is (hanging.py), and GRACE
seconds later it is killed. Then all is killed that it has started, also what has a session of its own or has lost its
parent: that becomes our child (PR_SET_CHILD_SUBREAPER of prctl(2)). The exit code is the command's, or 124 like that of
timeout(1). After a Ctrl-C we end by SIGINT ourselves, so that the script which called us ends too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

GRACE = 60.0  # seconds to end in good order
KILLED = 10.0  # seconds until what was killed has ended; longer takes only what the kernel holds
LOOK = 0.1  # seconds between two looks whether a child has ended
OVER = 124
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER


def main(seconds: str, *command: str) -> int:
    """Run it; the exit code."""
    ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it
    started = subprocess.Popen(command)
    try:
        return _code(started.pid, float(seconds))
    except TimeoutError:
        print(f"\n{seconds} s are over: ending {' '.join(command)}", file=sys.stderr, flush=True)
        started.terminate()
        with suppress(TimeoutError):
            _code(started.pid, GRACE)
        return OVER
    except KeyboardInterrupt:  # it has heard of that too
        with suppress(TimeoutError):
            _code(started.pid, GRACE)
        raise
    finally:
        _end_all()


def _code(pid: int, seconds: float) -> int:
    """The exit code of this process when it has ended. Raises TimeoutError when it has not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for ended, status in _ended():
            if ended == pid:
                return abs(os.waitstatus_to_exitcode(status))
        time.sleep(LOOK)
    raise TimeoutError


def _ended() -> list[tuple[int, int]]:
    """The children that have ended since the last look, and how: who loses its parent is to be waited for by us."""
    found = []
    with suppress(ChildProcessError):
        while (each := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(each)
    return found


def _end_all() -> None:
    """Kill what is left, and say what that was."""
    end = time.monotonic() + KILLED
    _ended()
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < end:
        for each in left:
            with suppress(psutil.NoSuchProcess):
                if each.status() != psutil.STATUS_ZOMBIE:
                    print(f"left behind, and killed: {each.pid} {' '.join(each.cmdline())[:200]}", file=sys.stderr)
                each.kill()
        time.sleep(LOOK)
        _ended()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
