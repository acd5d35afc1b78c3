"""What others take of this host's CPUs meanwhile, so that a limit in seconds means the same on a busy machine.

    with Neighbours() as neighbours:
        ...
        assert seconds <= 30 * neighbours.slowdown      on a machine of our own: 30

What we and the machines that we have started use is not others': it slows nothing down here that it would not anywhere.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Self

import psutil

MOST = 0.9  # of the CPUs that others may take; beyond, nothing can be said


class Neighbours:
    """Watches from the beginning of its `with` on."""

    def __enter__(self) -> Self:
        self._since = time.monotonic()
        self._before = _of_others()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def slowdown(self) -> float:
        """How many times as long it took as without the others, at most: 1.0 when there are none."""
        capacity = (time.monotonic() - self._since) * (os.cpu_count() or 1)
        share = (_of_others() - self._before) / capacity
        return 1 / (1 - min(max(share, 0.0), MOST))


def _of_others() -> float:
    """CPU seconds that others have used since the host was booted, the hypervisor's other guests among them."""
    ours = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            ours += sum(process.cpu_times()[:4])  # its own, and what its children had used that have ended
    host = psutil.cpu_times()
    return float(host.user + host.nice + host.system + host.irq + host.softirq + host.steal - ours)
