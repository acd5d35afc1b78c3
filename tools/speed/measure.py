"""Asking over HTTP, and what it costs the processes that answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.speed.processes import BenchError, Crew
from tools.speed.servers import program

CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Answers:
    """One round: how fast, and µs of CPU a request by the names of the processes."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]


def ask(url: str, path: str, users: int, seconds: int, crews: Sequence[Crew], people: Path | None = None) -> Answers:
    """Ask for `path`, a random user in place of its UID, as fast as it is answered. `people` is a file of who else the
    users may be, with their tokens."""
    script = str(Path(__file__).with_name("uids.lua"))
    command = [program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", script, url, "--", path, str(users)]
    command += [str(people)] if people else []
    before = [crew.cpu() for crew in crews]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    after = [crew.cpu() for crew in crews]
    line = next((line for line in run.stdout.splitlines() if line.startswith("{")), None)
    if line is None:
        raise BenchError(f"wrk failed:\n{run.stdout}{run.stderr}")
    figures = json.loads(line)
    if figures["errors"] or not figures["requests"]:
        raise BenchError(f"{url}{path}: {figures['errors']} errors in {figures['requests']} requests")
    cpu = cpu_us(before, after, figures["requests"])
    return Answers(figures["requests"] / figures["seconds"], figures["p50_ms"], figures["p99_ms"], cpu)


def cpu_us(before: Sequence[dict[str, float]], after: Sequence[dict[str, float]], number: int) -> dict[str, float]:
    """µs of CPU for each of `number` things, by the names of the processes."""
    return {
        name: (used - first.get(name, 0.0)) / number * 1e6
        for first, last in zip(before, after, strict=True)
        for name, used in last.items()
    }
