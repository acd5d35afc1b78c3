"""The cases: each measures one thing in several rounds and returns what it found."""

from __future__ import annotations

from collections.abc import Callable

from tools.speed.cases.flow import flow
from tools.speed.cases.growth import growth
from tools.speed.cases.info import info
from tools.speed.cases.ingest import ingest
from tools.speed.cases.jobs import jobs
from tools.speed.cases.load import load
from tools.speed.cases.queue import queue
from tools.speed.cases.rpc import rpc
from tools.speed.cases.stats import stats
from tools.speed.report import Result
from tools.speed.stage import Stage

CASES: dict[str, Callable[[Stage], Result]] = {
    "info": info,
    "flow": flow,
    "rpc": rpc,
    "load": load,
    "ingest": ingest,
    "queue": queue,
    "jobs": jobs,
    "stats": stats,
    "growth": growth,
}

DURABILITY: tuple[Callable[[Stage, str], Result], ...] = (rpc, load, ingest)
"""The cases that a choice of brokers makes a difference to; they take its name."""
