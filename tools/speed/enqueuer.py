"""Enqueues jobs of tools.speed.noop, as a process of its own.

    python -m tools.speed.enqueuer JOB COUNT RATE

JOB is plain or kept; with a RATE above 0 so many a second, else as fast as it goes. It prints one line of JSON: `at`,
the time (of the clock that all processes share) when it began, and `cpu`, the seconds that it used from then on.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from gorgond.app.enqueuing import Outside, Request, enqueue, job_id
from gorgond.config import load
from gorgond.redpill import QueueFull, new_id
from gorgond.service.fabric import connect_fabric
from gorgond.service.loop import run
from gorgond.service.systemd import Notifier
from tools.speed import noop

AT_ONCE = 500  # jobs under way at a time
PAUSE = 0.005  # seconds until a full queue is tried again
TICK = 0.001  # seconds that it sleeps at least, so that it does not take the machine from the worker


async def main(name: str, count: int, rate: int) -> None:
    """Enqueue them."""
    job = {"plain": noop.plain, "kept": noop.kept}[name]

    async def one(asked: float) -> None:
        id, what = job_id(new_id()), Request(job.written({"asked": asked}))
        while True:
            try:
                await enqueue(outside, job, id, what)
            except QueueFull:
                await asyncio.sleep(PAUSE)
            else:
                return

    async with Outside(connect_fabric(load(None, os.environ, {})), "bench") as outside:
        Notifier().ready()
        began, used = time.monotonic(), time.process_time()
        if rate:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    due = began + number / rate
                    if time.monotonic() < due:
                        await asyncio.sleep(max(TICK, due - time.monotonic()))
                    group.create_task(one(due))
        else:
            for first in range(0, count, AT_ONCE):
                some = range(min(AT_ONCE, count - first))
                await asyncio.gather(*(one(time.monotonic()) for _ in some))
    print(json.dumps({"at": began, "cpu": time.process_time() - used}))


if __name__ == "__main__":
    run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
