"""How a process keeps the memory that a batch of messages takes, for the next one.

Left alone, Python looks for cycles of garbage after each 700 objects, of which 500 messages are ten times as many, and
the C library gives memory back to the system after each batch, to fetch it again for the next, a page at a time. The
two took a quarter of a writing store's CPU.
"""

from __future__ import annotations

import ctypes
import gc

YOUNG = 20_000  # objects that are made, and not freed, between two looks for garbage
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 8 * 1024 * 1024  # bytes that are not given back
APART = 4 * 1024 * 1024  # bytes of one object that is given back by itself


def keep_memory() -> None:
    """Do so from now on; what is there by now is taken for what stays."""
    gc.freeze()
    gc.set_threshold(YOUNG)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # others than glibc have none, and their own ways
    if mallopt is not None:
        for what, value in ((TRIM_THRESHOLD, KEPT), (MMAP_THRESHOLD, APART)):
            mallopt(what, value)
