"""load: how long people wait while the fabric is at work: many clients, few requests each, inserts going on.

The requests come at times laid down beforehand, and each is measured from the time it was due. CPU is that of all
processes but the clients', for the two inserts beside each request too.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tools.speed.flow import counts
from tools.speed.measure import cpu_us
from tools.speed.others import start_tornado
from tools.speed.processes import ROOT, BenchError, environ
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.site import Layout, Site
from tools.speed.stage import Stage, say

INSERTS, REQUESTS = 1000, 500  # a second
BASELINE_PROCESSES = 2
SETTLE = 2.0  # seconds until the inserts flow evenly
PARTS = 5  # of a soak
SEED = 2  # of what is inserted


def load(stage: Stage, brokers: str = "two") -> Result:
    """Median and slowest hundredth of the answers; the latter also as a ratio to that of Tornado straight on the same
    database, into which the same is inserted meanwhile."""
    found, beside = [], []
    with _inserting(stage, brokers) as site, stage.crew() as crew:
        tornado = start_tornado(crew, BASELINE_PROCESSES, "inline", stage.store)
        for number in range(stage.scale.rounds):
            say(f"load, {brokers}: round {number + 1} of {stage.scale.rounds}")
            found.append(_clients(stage, site, site.url, stage.scale.seconds))
            beside.append(_clients(stage, site, tornado, stage.scale.seconds))
    slowest = [[each["latency_ms"]["p99"] for each in rounds] for rounds in (found, beside)]
    cpu = [sum(used for name, used in each["cpu_us"].items() if name != "mongod") for each in found]
    rows = [
        Row("p50_ms", [each["latency_ms"]["p50"] for each in found], "≤ 5", "load_p50_ms"),
        Row("p99_ms", slowest[0], "≤ 25", "load_p99_ms"),
        Row("p99_of_tornado", [our / their for our, their in zip(*slowest, strict=True)], "≤ 1.5"),
        Row("cpu_us", cpu, "≤ 1600"),
        Row("max_ms", [each["latency_ms"]["max"] for each in found]),
        Row("client_late_p99_ms", [each["late_ms"]["p99"] for each in found]),
        Row("requests_per_s", [each["throughput"] for each in found]),
        Row("inserts_per_s", [each["inserts_per_s"] for each in found]),
        *rows_of_cpu([each["cpu_us"] for each in found]),
    ]
    return Result("load", rows, {"brokers": brokers, "clients": stage.scale.clients})


def soak(stage: Stage) -> Result:
    """The same for minutes, whether a process grows: its memory after a fifth of the time and at the end.

    All clients leave and come anew after each fifth.
    """
    minutes = stage.scale.soak
    memory: dict[str, list[float]] = {}
    with _inserting(stage, "two") as site:
        for part in range(PARTS):
            say(f"soak: part {part + 1} of {PARTS}, {minutes / PARTS:g} minutes each")
            _clients(stage, site, site.url, minutes * 60 / PARTS)
            for process in site.crew.processes:
                memory.setdefault(process.name, []).append(process.rss())
    rows = [Row(f"{name}_mb", sizes) for name, sizes in memory.items()]
    grown = [Row(f"{name}_growth_mb", [memory[name][-1] - memory[name][0]], "≤ 2") for name in ("web", "store")]
    return Result("soak", rows + grown, {"minutes": minutes})


@contextmanager
def _inserting(stage: Stage, brokers: str) -> Iterator[Site]:
    """A site into which a provider pushes all the time; what it stored is removed afterwards."""
    with stage.site(Layout(web=1, stores=1), brokers) as site:
        users = str(stage.scale.users)
        site.gorgond("provider", f"--rate={INSERTS}", "--count=0", f"--users={users}", f"--seed={SEED}")
        time.sleep(SETTLE)
        yield site
    stage.remove(SEED)


def _clients(stage: Stage, site: Site, url: str, seconds: float) -> dict[str, Any]:
    """What `gorgond client` found, and how many inserts a second were settled meanwhile."""
    command = [sys.executable, "-m", "gorgond", "client", "--json", f"--url={url}", f"--rate={REQUESTS}"]
    command += [f"--clients={stage.scale.clients}", f"--users={stage.scale.users}", f"--duration={seconds:g}"]
    crews = [site.crew, stage.mongod]
    began, before = time.monotonic(), asyncio.run(counts(site.durable, "store_put")).done
    used = [crew.cpu() for crew in crews]
    ran = subprocess.run(command, cwd=ROOT, env=environ(), capture_output=True, text=True, check=False)
    after = asyncio.run(counts(site.durable, "store_put")).done
    if ran.returncode != 0:
        raise BenchError(f"not every request was answered:\n{ran.stdout[:2000]}{ran.stderr}")
    found: dict[str, Any] = json.loads(ran.stdout)
    cpu = cpu_us(used, [crew.cpu() for crew in crews], found["answers"])
    return found | {"inserts_per_s": (after - before) / (time.monotonic() - began), "cpu_us": cpu}
