"""queue: messages from one producer to one consumer, which does nothing with them but settle them.

Several consumers are tried, as 2x256: a process with two lanes, each of which takes up to 256 messages at a time. 1x64
is what a consumer of one lane is by itself. `per_s` is the fastest of them, synchronised every second.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from tools.speed.processes import Process
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.servers import start_redis
from tools.speed.stage import Stage, say

MESSAGE_BYTES = 300
SLOWEST = 2000  # messages a second; below that something is wrong


def queue(stage: Stage) -> Result:
    """Messages a second from the first push until the last is settled, for each way to keep the append-only file."""
    kinds = [(fsync, consumer) for consumer in stage.scale.consumers for fsync in ("everysec", "always")]
    speeds: dict[tuple[str, str], list[float]] = {kind: [] for kind in kinds}
    cpu: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
    for number in range(stage.scale.rounds):
        say(f"queue: round {number + 1} of {stage.scale.rounds}")
        for kind in kinds:
            speed, used = _round(stage, *kind)
            speeds[kind].append(speed)
            cpu[kind].append(used)
    best = max(stage.scale.consumers, key=lambda consumer: median(speeds["everysec", consumer]))
    rows = [Row("per_s", speeds["everysec", best], "≥ 80000", "queue_per_s")]
    for kind in kinds:
        name = f"{kind[0]}_{kind[1]}"
        rows.append(Row(f"{name}_per_s", speeds[kind]))
        rows += rows_of_cpu(cpu[kind], f"{name}_")
    return Result("queue", rows, {"consumer": best, "messages": stage.scale.messages, "bytes": MESSAGE_BYTES})


def _round(stage: Stage, fsync: str, consumer: str) -> tuple[float, dict[str, float]]:
    """Messages a second; µs of CPU a message of each process."""
    count = stage.scale.messages
    with stage.crew() as crew:
        url = start_redis(crew, "redis", fsync)
        redis = crew.processes[-1]
        puller = crew.python("consumer", "tools.speed.pump", "consume", url, str(count), *consumer.split("x"))
        before = redis.cpu()
        producer = crew.python("producer", "tools.speed.pump", "produce", url, str(count), str(MESSAGE_BYTES))
        began, ended = (_told(process, 10 + count / SLOWEST) for process in (producer, puller))
        used = {"producer": began["cpu"], "redis": redis.cpu() - before, "consumer": ended["cpu"]}
    return count / (ended["at"] - began["at"]), {name: seconds / count * 1e6 for name, seconds in used.items()}


def _told(process: Process, timeout: float) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(process.output(timeout))
    return told
