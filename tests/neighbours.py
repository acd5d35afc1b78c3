"""How much slower this host is than one that is ours alone, so that a limit in seconds means the same on a busy one.

    with Neighbours() as neighbours:
        ...
        assert seconds <= 30 * neighbours.slowdown      on a machine of our own: 30

Two things are measured: which part of the CPUs others take on the average (what we and the machines that we have
started use is not others': it slows nothing down here that it would not anywhere), and how long a small piece of work
takes at the worst moment, since an average hides the moment at which everything had to wait.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Self

import psutil

MOST = 0.9  # of the CPUs that others may take; beyond, nothing can be said
WORK = 0.0125  # seconds that `_work` takes at most on a host that is ours alone
EVERY = 0.25  # seconds between two looks


class Neighbours:
    """Watches from the beginning of its `with` to its end."""

    def __enter__(self) -> Self:
        self._since = time.monotonic()
        self._before = _of_others()
        self._worst = WORK
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            began = time.monotonic()
            _work()
            self._worst = max(self._worst, time.monotonic() - began)

    @property
    def slowdown(self) -> float:
        """How many times as long it took as on a host of our own, at most: 1.0 there."""
        capacity = (time.monotonic() - self._since) * (os.cpu_count() or 1)
        share = (_of_others() - self._before) / capacity
        return self._worst / WORK / (1 - min(max(share, 0.0), MOST))


def _work() -> int:
    return sum(number * number for number in range(200_000))


def _of_others() -> float:
    """CPU seconds that others have used since the host was booted, the hypervisor's other guests among them."""
    ours = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            ours += sum(process.cpu_times()[:4])  # its own, and what its children had used that have ended
    host = psutil.cpu_times()
    return float(host.user + host.nice + host.system + host.irq + host.softirq + host.steal - ours)
