"""A broker has no room, on its disk or in its memory, or loses the end of its file, or all that it has."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from gorgond.chaos.attempts import ACKNOWLEDGED, read
from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.drills.broker import AWAY
from gorgond.chaos.errors import Aborted
from gorgond.chaos.load import Plan
from gorgond.chaos.stage import Cast
from gorgond.chaos.verdict import Limits

FULL = AWAY | {"QueueFull", "BrokerRefused"}
ROOM = 3 * 1024 * 1024  # bytes that the broker's memory may still grow
CUT = 40  # transactions cut off an append-only file
DISK = 24  # megabytes
TOLD = 20.0  # seconds within which the stats server must know

_EXEC = b"*1\r\n$4\r\nEXEC\r\n"  # the end of a transaction in an append-only file
_MARK = re.compile(rb'"chaos": ?"([^"]+)"')

JOBS = Plan(clients=12, queuers=0, ways=("async",))  # what is acknowledged before it is stored


def _memory(run: Run) -> None:
    broker = run.servers["broker"]
    stores = run.victims("store")
    for store in stores:
        run.faults.stop(store.name)
    run.faults.configure(broker, "maxmemory", str(broker.info("used_memory") + ROOM))
    run.wait_for_refusals(within=60)
    for store in stores:
        run.faults.start(store.name)
    run.wait_until_drained("broker")
    # It takes jobs again, with no more memory than before.
    before = run.book.kinds["202"]
    run.until(lambda: run.book.kinds["202"] > before + 10, 20, "jobs are taken again")
    run.faults.reset(broker, "maxmemory")


def _disk(run: Run) -> None:
    # The small disk is there for the fabric alone; this is how others see it.
    files = Path(f"/proc/{run.stage.pid}/root{run.stage.target.files('broker')}")
    ballast = files / "ballast"
    run.faults.begin("disk full", "broker", lambda: _fill(ballast))
    run.wait_for_refusals(within=60)
    run.faults.end("disk full", "broker", ballast.unlink)
    run.until(run.servers["broker"].answers, 30, "the broker is back")


def _fill(ballast: Path) -> None:
    """Take all the room there is."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os.fsync(file.fileno())


def _cut(run: Run) -> None:
    stores = run.victims("store")
    for store in stores:
        run.faults.stop(store.name)
    run.sleep(run.seconds(4, 2))
    run.faults.stop("broker")
    run.sleep(1)  # what was answered is in the book by then
    acknowledged = {each.mark for each in read(run.book.path) if each.result == ACKNOWLEDGED}
    files = run.stage.target.files("broker")
    run.given_up = _cut_copy(files, files.with_name("broker.whole")) & acknowledged
    run.check("cut", bool(run.given_up), f"{len(run.given_up)} acknowledged effects were in what was cut off")
    run.faults.start("broker")
    run.until(run.servers["broker"].answers, 20, "the broker is back")
    for store in stores:
        run.faults.start(store.name)
    run.wait_until_drained("broker")


def _cut_copy(files: Path, whole: Path) -> set[str]:
    """Put a copy in the place of a broker's files whose end is missing, in the middle of a transaction: the marks that
    were in it. The files as they were are kept as `whole`."""
    files.rename(whole)
    shutil.copytree(whole, files)
    aof = max(files.glob("appendonlydir/*.incr.aof"), key=lambda each: each.stat().st_size)
    data = aof.read_bytes()
    ends = [found.end() for found in re.finditer(re.escape(_EXEC), data)]
    if len(ends) <= CUT:
        raise Aborted(f"{aof} has too few transactions to cut some off")
    boundary = ends[-CUT - 1]
    aof.write_bytes(data[: boundary + 9])
    return {mark.decode() for mark in _MARK.findall(data[boundary:])}


def _empty(run: Run) -> None:
    stats, broker = run.stage.target.stats, run.servers["broker"]
    run.until(lambda: _count_accepted(stats) > 0, TOLD, "the stats server knows what the broker has accepted")
    run.faults.begin("emptied", "broker", broker.redis.flushall)
    run.until(lambda: "has less than it had accepted" in _picture(stats)["verdict"]["text"], TOLD, "the loss is told")
    run.faults.over("emptied", "broker")


def _picture(stats: str) -> dict[str, Any]:
    """The picture of the stats server there."""
    with urlopen(f"{stats}/api/stats.json", timeout=TOLD) as answer:  # noqa: S310
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _count_accepted(stats: str) -> int:
    """How many messages store_put has accepted, as far as it knows."""
    return sum(row["accepted"] for row in _picture(stats)["queues"] if row["name"] == "store_put")


DRILLS = (
    Drill(
        "redis-full",
        "the broker's maxmemory reached while no store runs",
        _memory,
        Limits(expected=FULL, recovery=60.0),
        Plan(clients=12, queuers=0, body=20_000, ways=("async",)),
        roles=("store",),
    ),
    Drill(
        "disk-full",
        "no room on the broker's disk",
        _disk,
        Limits(expected=FULL, recovery=10.0),
        # Each client tries again what was refused, and only jobs are refused with 503: some must be at one.
        Plan(ways=("async", "async", "async", "post", "get")),
        Cast(tmpfs=DISK),
        alone=True,
    ),
    Drill(
        "redis-truncated",
        "the end of the broker's append-only file cut off on a copy: is the loss reported?",
        _cut,
        Limits(expected=AWAY, recovery=30.0),
        JOBS,
        alone=True,
    ),
    Drill(
        "redis-emptied",
        "FLUSHALL of the durable broker: is the loss reported?",
        _empty,
        # The list of consumers is gone too: what lies on a desk nobody sees until its consumer takes it anew.
        Limits(unseen=frozenset({"emptied"}), recovery=30.0),
        Plan(queuers=0, ways=("post", "get")),  # calls alone: a job that waits in that moment is lost
        Cast(flags=("--rate", "50", "--count", "1000000")),
        alone=True,
    ),
)
