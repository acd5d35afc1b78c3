"""jobs: jobs that do nothing, from the first that is enqueued until the last is begun, with one worker: an app server.

Dramatiq (one process, eight threads, as it does by itself) and BullMQ (as many at the same time as an app server does)
do the same in the same round, where they are installed. All three have a Redis of their own whose append-only file is
synchronised every second; `always_per_s` is gorgond's speed where it is synchronised for each batch, as it is unless
configured. gorgond stores a status of each job in SQLite, with a store that shares the machine; BullMQ keeps one in
Redis, Dramatiq has none. `plain_per_s` is gorgond's speed without.

`status_cost` is the CPU of all processes for a job with a status, until that is stored, as a part of that for one
without.
`wait_p99_ms` is how long a job waits where half as many are enqueued as one worker can do.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.speed.flow import wait_until_settled
from tools.speed.others import has_bullmq, has_dramatiq, start_bullmq, start_dramatiq
from tools.speed.processes import Crew, Process
from tools.speed.report import Result, Row
from tools.speed.servers import start_redis
from tools.speed.site import Layout, Site
from tools.speed.stage import Stage, say

SLOWEST = 200  # jobs a second; below that something is wrong
PAUSE = 0.02  # seconds between two looks whether all have begun
WARM = 2.5  # seconds that an app server runs before: of what was enqueued before it listened it asks who cancelled it

Start = Callable[[Crew, str, int, Path], Process]

OTHERS: tuple[tuple[str, Callable[[], bool], Start, str], ...] = (
    ("dramatiq", has_dramatiq, start_dramatiq, "≥ 5"),
    ("bullmq", has_bullmq, start_bullmq, "≥ 3"),
)
"""What others are called, whether they can be measured, how to start them, how many times as fast gorgond is to be."""


def jobs(stage: Stage) -> Result:
    """Jobs a second, the wait at half load, the cost of a status."""
    kinds = {
        "per_s": ("one-everysec", "kept"),
        "plain_per_s": ("one-everysec", "plain"),
        "always_per_s": ("two", "kept"),
    }
    speeds = {name: list[float]() for name in kinds}
    cpu = {name: list[dict[str, float]]() for name in kinds}
    others = {name: list[float]() for name, has, _, _ in OTHERS if has()}
    waits = list[tuple[float, float]]()
    for number in range(stage.scale.rounds):
        say(f"jobs: round {number + 1} of {stage.scale.rounds}")
        for name, (brokers, job) in kinds.items():
            told, used = _gorgond(stage, brokers, job, stage.scale.jobs, 0)
            speeds[name].append(stage.scale.jobs / (told["at"] - told["began"]))
            cpu[name].append({each: seconds / stage.scale.jobs * 1e6 for each, seconds in used.items()})
        for name, _, start, _ in OTHERS:
            if name in others:
                others[name].append(_other(stage, start))
            else:
                say(f"jobs: {name} is not measured: tools/speed/others.py says what to install")
        rate = max(1, int(speeds["per_s"][-1] / 2))
        told, _ = _gorgond(stage, "one-everysec", "kept", min(rate * stage.scale.seconds, stage.scale.jobs), rate)
        waits.append((told["waits"][0] * 1e3, told["waits"][1] * 1e3))
    ours = speeds["per_s"]
    costs = {name: [sum(each.values()) for each in used] for name, used in cpu.items()}
    rows = [Row("per_s", ours, "", "jobs_per_s"), Row("plain_per_s", speeds["plain_per_s"])]
    rows.append(Row("always_per_s", speeds["always_per_s"]))
    for name, _, _, must in OTHERS:
        if name in others:
            rows += [Row(f"{name}_per_s", others[name]), Row(f"of_{name}", _ratios(ours, others[name]), must)]
    rows += [
        Row("wait_p50_ms", [p50 for p50, _ in waits]),
        Row("wait_p99_ms", [p99 for _, p99 in waits], "≤ 20"),
        Row("status_cost", _ratios(costs["per_s"], costs["plain_per_s"]), "≤ 1.3"),
    ]
    for name, kind in (("per_s", "kept"), ("plain_per_s", "plain")):
        rows += [Row(f"{kind}_{each}_cpu_us", [used[each] for used in cpu[name]]) for each in cpu[name][-1]]
    return Result("jobs", rows, {"jobs": stage.scale.jobs})


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def _gorgond(stage: Stage, brokers: str, job: str, count: int, rate: int) -> tuple[dict[str, Any], dict[str, float]]:
    """When they began, and what the app server told of them; the seconds of CPU of each process."""
    with stage.crew() as crew:
        file = crew.directory / "told"
        store = f"sqlite:///{crew.directory}/store.db"
        site = Site(crew, Layout(web=0), brokers, store, module="tools.speed.noop")
        settings = {"BENCH_COUNT": str(count), "BENCH_FILE": str(file)}
        site.gorgond("app", "--instance", "0", settings=settings)
        time.sleep(WARM)
        before = crew.cpu()
        enqueuer = site.python("enqueuer", "tools.speed.enqueuer", job, str(count), str(rate))
        told = _told(enqueuer, file, 20 + count / (rate / 2 or SLOWEST))
        if job == "kept":
            asyncio.run(wait_until_settled(site.durable, "store_put", 1))
        used = {name: seconds - before.get(name, 0.0) for name, seconds in crew.cpu().items()}
        return told, used | {"enqueuer": told["cpu"]}


def _other(stage: Stage, start: Start) -> float:
    """Jobs a second of another one."""
    count = stage.scale.jobs
    with stage.crew() as crew:
        file = crew.directory / "told"
        enqueuer = start(crew, start_redis(crew, "redis", "everysec"), count, file)
        told = _told(enqueuer, file, 20 + count / SLOWEST)
        seconds: float = told["at"] - told["began"]
        return count / seconds


def _told(enqueuer: Process, file: Path, timeout: float) -> dict[str, Any]:
    """What the worker tells when all have begun, and when the first was enqueued."""
    end = time.monotonic() + timeout
    enqueued: dict[str, Any] = json.loads(enqueuer.output(timeout))
    while not file.exists():
        if time.monotonic() > end:
            raise enqueuer.failed()
        time.sleep(PAUSE)
    return {"began": enqueued["at"], "cpu": enqueued.get("cpu", 0.0), **json.loads(file.read_text())}
