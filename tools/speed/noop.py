"""The application of the case jobs: jobs that do nothing, with a status and without.

The app server that has begun BENCH_COUNT of them writes to BENCH_FILE one line of JSON: `at`, when it began the last
(of the clock that all processes share), `waits`, the median and the slowest hundredth of the seconds that they waited.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from gorgond import App

app = App("bench")


class Tally:
    """Counts jobs that begin. The file is there when all have begun."""

    def __init__(self) -> None:
        self._left = int(os.environ.get("BENCH_COUNT", "0"))
        self._waits: list[float] = []

    def begin(self, asked: float) -> None:
        """One begins that was enqueued at this time."""
        now = time.monotonic()
        self._waits.append(now - asked)
        if len(self._waits) == self._left:
            self._waits.sort()
            waits = [self._waits[self._left * percent // 100] for percent in (50, 99)]
            file = Path(os.environ["BENCH_FILE"])
            file.with_suffix(".new").write_text(json.dumps({"at": now, "waits": waits}))
            file.with_suffix(".new").rename(file)


tally = Tally()


@app.job(keep=0)
async def plain(_: object, asked: float) -> None:
    """One of which nothing is stored."""
    tally.begin(asked)


@app.job()
async def kept(_: object, asked: float) -> None:
    """One whose status is kept."""
    tally.begin(asked)
