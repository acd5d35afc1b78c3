"""Three hosts under load whose broker has another master again and again: is anything lost, and how long is nothing
accepted?

    tools/prove failovers                    200 faults of all kinds, in turns, on hosts of their own; as root
    tools/prove failovers --faults 20        fewer
    tools/prove failovers --rate 300         so many requests and so many jobs a second
    tools/prove failovers --copies 0         nothing waits for replicas: it must lose some, so it does not hold
    tools/prove failovers --json FILE        the figures for programs, too

The exit code is 0 when nothing acknowledged was lost or happened twice, only 503 and 504 were answered meanwhile, and
95 of 100 pauses took no longer than is promised. A pause is the longest time without a job being accepted from a fault
until all follow one master again; faults of two hosts at once are left out of that.
"""

from __future__ import annotations

import argparse
import logging
import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from gorgond.chaos import report
from gorgond.chaos.attempts import ACKNOWLEDGED, Attempt
from gorgond.chaos.drill import Options, run_drill
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.drills.hosts import KINDS, failing
from gorgond.chaos.faults import Fault
from gorgond.chaos.hosts.lab import Hosts
from gorgond.chaos.load import Plan
from gorgond.chaos.undo import UndoLog
from gorgond.chaos.verdict import percentile
from tools.proofs import proof
from tools.speed.processes import BenchError

PAUSE = 6.0  # seconds that 95 of 100 may take
EACH = 60.0  # seconds that a fault may take with all that comes after it, on average
RATE = 10.0  # requests of one client a second
JOBS = ("push", "async")
OF_TWO = "off while one lacks"  # hurts two hosts: nothing is accepted until one is back, however long that takes


def main() -> int:
    """Prove it, and tell; the exit code."""
    parser = proof.parser("failovers", __doc__)
    parser.add_argument("--faults", metavar="N", type=int, default=200, help="how many, of all kinds in turns")
    parser.add_argument("--rate", metavar="N", type=int, default=300, help="requests and jobs a second")
    parser.add_argument("--copies", metavar="N", type=int, default=1, help="replicas that must have what is accepted")
    parser.add_argument("--kinds", metavar="KIND", nargs="+", choices=KINDS, default=list(KINDS), help="only of these")
    return proof.main("failovers", parser.parse_args(), _prove)


def _prove(arguments: argparse.Namespace, _: ExitStack, directory: Path) -> proof.Found:
    logging.getLogger("gorgond.redpill").setLevel(logging.ERROR)  # that a broker is away is our own doing
    faults: int = arguments.faults
    # Half of what the queues' clients do are jobs, and a quarter of what those of HTTP do.
    clients, queuers = round(arguments.rate / RATE), round(1.5 * arguments.rate / RATE)
    drill = replace(
        DRILLS["broker-failover"],
        name="failovers",
        body=failing(arguments.kinds, faults),
        plan=Plan(clients=clients, queuers=queuers, rate=RATE),
        cast=Hosts(arguments.copies),
        most=faults * EACH,
    )
    options = Options(arguments.seed, 2, directory)
    with UndoLog(directory / "undo") as journal:
        result = run_drill(drill, None, options, journal, lambda line: print(line, file=sys.stderr, flush=True))
    if result.error is not None:
        raise BenchError(str(result.error))
    found = pauses(result.attempts, [fault for fault in result.faults if fault.kind != OF_TWO])
    figures = result.verdict.figures
    kinds = Counter(fault.kind for fault in result.faults)
    slow = percentile(found, 95)
    return proof.Found(
        {
            **kinds,
            **{name: figures[name] for name in ("acknowledged", "lost", "duplicated", "unbalanced", "failed")},
            "pause p50 s": round(percentile(found, 50), 2),
            "pause p95 s": round(slow, 2),
            "pause max s": round(max(found, default=0), 2),
        },
        result.verdict.passed and slow <= PAUSE,
        report.text(result),
    )


def pauses(attempts: Sequence[Attempt], faults: Sequence[Fault]) -> list[float]:
    """The longest time in each fault without a job being accepted."""
    ends = sorted(each.end for each in attempts if each.result == ACKNOWLEDGED and each.way in JOBS)
    found = []
    for fault in faults:
        first, last = max(bisect_left(ends, fault.begin) - 1, 0), bisect_right(ends, fault.end) + 1
        of = ends[first:last]
        found.append(max((after - before for before, after in pairwise(of)), default=0.0))
    return found


if __name__ == "__main__":
    sys.exit(main())
