"""Jobs that do nothing, on Dramatiq over Redis.

    dramatiq tools.speed.on_dramatiq --processes 1      the worker
    python -m tools.speed.on_dramatiq COUNT             enqueues them, and prints when it began, as JSON

The broker is the Redis of BENCH_REDIS; what the worker tells is what tools.speed.noop tells.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, cast

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from gorgond.service.systemd import Notifier
from tools.speed.noop import tally

_lock = threading.Lock()


def _say_ready(*_: object) -> None:
    Notifier().ready()


_broker = cast(Any, RedisBroker)(url=os.environ["BENCH_REDIS"])
_broker.add_middleware(type("Ready", (dramatiq.Middleware,), {"after_worker_boot": _say_ready})())
dramatiq.set_broker(_broker)


def do(asked: float) -> None:
    """It does nothing."""
    with _lock:
        tally.begin(asked)


job = cast(Any, dramatiq).actor(do)

if __name__ == "__main__":
    Notifier().ready()
    began = time.monotonic()
    for _ in range(int(sys.argv[1])):
        job.send(time.monotonic())
    print(json.dumps({"at": began}))
