"""queue: messages from one producer to one consumer, which does nothing with them but settle them.

Several consumers are tried, as 2x256: a process with two lanes, each of which takes up to 256 messages at a time. 1x64
is what a consumer of one lane is by itself. `per_s` is the fastest of them, synchronised every second. Beside each in
the same round is what a socket does without a promise, pipelines of RPUSH and LPOP of the same batch: `of_raw` is the
ratio of the fastest, `always_of_everysec` what is left of its speed when the file is synchronised for each batch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from tools.speed.processes import Crew, Process
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.servers import start_redis
from tools.speed.stage import Stage, say

MESSAGE_BYTES = 300
SLOWEST = 2000  # messages a second; below that something is wrong


def queue(stage: Stage) -> Result:
    """Messages a second from the first push until the last is settled, for each way to keep the append-only file."""
    kinds = [(fsync, consumer) for consumer in stage.scale.consumers for fsync in ("everysec", "always")]
    speeds: dict[tuple[str, str], list[float]] = {kind: [] for kind in kinds}
    raw: dict[str, list[float]] = {consumer: [] for consumer in stage.scale.consumers}
    cpu: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
    for number in range(stage.scale.rounds):
        say(f"queue: round {number + 1} of {stage.scale.rounds}")
        for kind in kinds:
            speed, used = _round(stage, *kind)
            speeds[kind].append(speed)
            cpu[kind].append(used)
        for consumer, found in raw.items():
            found.append(_round(stage, "everysec", consumer, "raw")[0])
    best = max(stage.scale.consumers, key=lambda consumer: median(speeds["everysec", consumer]))
    fastest = speeds["everysec", best]
    rows = [
        Row("per_s", fastest, "≥ 80000", "queue_per_s"),
        Row("of_raw", _ratios(fastest, raw[best]), "≥ 0.6"),
        Row("always_of_everysec", _ratios(speeds["always", best], fastest), "≥ 0.8"),
    ]
    for kind in kinds:
        name = f"{kind[0]}_{kind[1]}"
        rows.append(Row(f"{name}_per_s", speeds[kind]))
        rows += rows_of_cpu(cpu[kind], f"{name}_")
    rows += [Row(f"raw_{consumer}_per_s", found) for consumer, found in raw.items()]
    return Result("queue", rows, {"consumer": best, "messages": stage.scale.messages, "bytes": MESSAGE_BYTES})


def _ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [our / other for our, other in zip(ours, others, strict=True)]


def _round(stage: Stage, fsync: str, consumer: str, pump: str = "pump") -> tuple[float, dict[str, float]]:
    """Messages a second; µs of CPU a message of each process."""
    count, (lanes, batch) = stage.scale.messages, consumer.split("x")
    produce, consume = ([batch], [batch]) if pump == "raw" else (["1"], ["1", lanes, batch])
    with stage.crew() as crew:
        return pumped(crew, start_redis(crew, "redis", fsync), count, pump, produce, consume)


def pumped(
    crew: Crew, url: str, count: int, pump: str, produce: Sequence[str], consume: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """The same for so many messages by way of the Redis that `crew` has started last."""
    module, redis = f"tools.speed.{pump}", crew.processes[-1]
    puller = crew.python("consumer", module, "consume", url, str(count), *consume)
    before = redis.cpu()
    producer = crew.python("producer", module, "produce", url, str(count), str(MESSAGE_BYTES), *produce)
    began, ended = (_told(process, 10 + count / SLOWEST) for process in (producer, puller))
    used = {"producer": began["cpu"], "redis": redis.cpu() - before, "consumer": ended["cpu"]}
    return count / (ended["at"] - began["at"]), {name: seconds / count * 1e6 for name, seconds in used.items()}


def _told(process: Process, timeout: float) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(process.output(timeout))
    return told
