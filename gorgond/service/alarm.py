"""An alarm clock for threads, which one that works puts off again and again at no cost to the one that waits.

The kernel keeps it (timerfd_create(2)): a thread that waits does so outside of the interpreter and wakes when it rings,
not each time it is set. Python has it from 3.13 on.
"""

from __future__ import annotations

import ctypes
import os
import time

_libc = ctypes.CDLL(None, use_errno=True)
_Spec = ctypes.c_long * 4  # struct itimerspec: the interval, then the first time, each in seconds and nanoseconds


class Alarm:
    """Rings when it was `set` to, unless it was set again before. Raises OSError when the kernel has none to give."""

    def __init__(self) -> None:
        self._clock = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
        if self._clock < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def set(self, first: float, every: float) -> None:
        """Ring in `first` seconds from now, and then every so many seconds. 0 is at once."""
        spec = _Spec(*_parts(every), *_parts(first))
        _libc.timerfd_settime(self._clock, 0, ctypes.byref(spec), None)

    def wait(self) -> None:
        """Wait until it rings."""
        os.read(self._clock, 8)

    def close(self) -> None:
        """Let go of it; nobody may wait for it any more."""
        os.close(self._clock)


def _parts(seconds: float) -> tuple[int, int]:
    return divmod(max(int(seconds * 1e9), 1), 1_000_000_000)  # 0 would stop it
