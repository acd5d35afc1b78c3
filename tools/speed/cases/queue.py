"""queue: messages from one producer to one consumer, which does nothing with them but settle them.

Several consumers are tried, as 2x256: a process with two consumers, each of which takes up to 256 messages at a
time. 1x64 is one consumer by itself. `per_s` is the fastest of them, synchronised every second. Beside each in
the same round is what a socket does without a promise, pipelines of RPUSH and LPOP of the same batch: `of_raw` is the
ratio of the fastest, `always_of_everysec` what is left of its speed when the file is synchronised for each batch.

RabbitMQ (a quorum queue, whose log is synchronised for each batch) and NATS JetStream (in a file that is synchronised
every two minutes) do the same in the same round, where they are installed: with batches of the first consumer's, of a
tenth of the messages. `always_of_rabbitmq` and `everysec_of_jetstream` are how many times as fast that consumer is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from tools.speed.others import has_nats, has_rabbitmq, start_nats, start_rabbitmq
from tools.speed.processes import Crew, Process
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.servers import start_redis
from tools.speed.stage import Stage, say

MESSAGE_BYTES = 300
SLOWEST = 2000  # messages a second; below that something is wrong
TENTH = 10

Start = Callable[[Crew], str]

OTHERS: tuple[tuple[str, str, str, Callable[[], bool], Start], ...] = (
    ("rabbitmq", "amqp", "always", has_rabbitmq, start_rabbitmq),
    ("jetstream", "jetstream", "everysec", has_nats, start_nats),
)
"""What others are called, the program that pumps, what of ours promises as much, whether and how to start them."""


def queue(stage: Stage) -> Result:
    """Messages a second from the first push until the last is settled, for each way to keep the append-only file."""
    kinds = [(fsync, consumer) for consumer in stage.scale.consumers for fsync in ("everysec", "always")]
    speeds: dict[tuple[str, str], list[float]] = {kind: [] for kind in kinds}
    raw: dict[str, list[float]] = {consumer: [] for consumer in stage.scale.consumers}
    cpu: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
    others = {name: list[float]() for name, _, _, has, _ in OTHERS if has()}
    for number in range(stage.scale.rounds):
        say(f"queue: round {number + 1} of {stage.scale.rounds}")
        for kind in kinds:
            speed, used = _round(stage, *kind)
            speeds[kind].append(speed)
            cpu[kind].append(used)
        for consumer, found in raw.items():
            found.append(_round(stage, "everysec", consumer, "raw")[0])
        for name, pump, _, _, start in OTHERS:
            if name in others:
                others[name].append(_other(stage, pump, start))
            else:
                say(f"queue: {name} is not measured: tools/speed/others.py says what to install")
    best = max(stage.scale.consumers, key=lambda consumer: median(speeds["everysec", consumer]))
    fastest = speeds["everysec", best]
    rows = [
        Row("per_s", fastest, "≥ 80000", "queue_per_s"),
        Row("of_raw", _ratios(fastest, raw[best]), "≥ 0.6"),
        Row("always_of_everysec", _ratios(speeds["always", best], fastest), "≥ 0.8"),
    ]
    for name, _, fsync, _, _ in OTHERS:
        if name in others:
            ours = speeds[fsync, stage.scale.consumers[0]]
            rows += [Row(f"{name}_per_s", others[name]), Row(f"{fsync}_of_{name}", _ratios(ours, others[name]))]
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
    count, (consumers, batch) = stage.scale.messages, consumer.split("x")
    produce, consume = ([batch], [batch]) if pump == "raw" else (["1"], ["1", consumers, batch])
    with stage.crew() as crew:
        return run_pumps(crew, start_redis(crew, "redis", fsync), count, pump, produce, consume)


def _other(stage: Stage, pump: str, start: Start) -> float:
    """Messages a second over another broker."""
    batch = stage.scale.consumers[0].split("x")[1]
    with stage.crew() as crew:
        return run_pumps(crew, start(crew), max(1, stage.scale.messages // TENTH), pump, [batch], [batch])[0]


def run_pumps(
    crew: Crew, url: str, count: int, pump: str, produce: Sequence[str], consume: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """The same for so many messages by way of the broker that `crew` has started last."""
    module, broker = f"tools.speed.{pump}", crew.processes[-1]
    puller = crew.python("consumer", module, "consume", url, str(count), *consume)
    before = broker.cpu()
    producer = crew.python("producer", module, "produce", url, str(count), str(MESSAGE_BYTES), *produce)
    began, ended = (_last_line(process, 10 + count / SLOWEST) for process in (producer, puller))
    used = {"producer": began["cpu"], "redis": broker.cpu() - before, "consumer": ended["cpu"]}
    return count / (ended["at"] - began["at"]), {name: seconds / count * 1e6 for name, seconds in used.items()}


def _last_line(process: Process, timeout: float) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(process.output(timeout))
    return told
