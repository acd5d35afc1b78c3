#!/usr/bin/env -S sh -c 'exec "${0%/*}/python" "$0" "$@"'
"""Measures gorgond on this machine: real Redis, real mongod, real processes, started fresh and ended afterwards.

    tools/bench.py                  every case on 1,000,000 notes of 2 kB, about a quarter of an hour
    tools/bench.py --quick          every case on 50,000 notes, under a minute: whether all is well
    tools/bench.py --data DIR       keep the data set there, so that it is made only once
    tools/bench.py --case rpc       only this one; may be given several times
    tools/bench.py --json FILE      the figures for programs, too
    tools/bench.py --durability     what each way to keep the queues costs, for rpc, load and ingest
    tools/bench.py --soak 10        whether web servers and stores grow under ten minutes of load

    info      notes of a user, the best layout against Tornado straight on pymongo with two processes
    flow      the whole way through auth server and application, against the direct one to the store
    rpc       CPU of web server, store and Redis for a request that needs no database
    load      how long 1,000 clients wait that ask 500 times a second in all, while 1,000 notes a second are inserted
    ingest    notes a second from a provider through store_put into mongod, journaled, none lost
    stats     what it costs that instances tell what they do, and that 50 people look at it
    queue     messages a second from one producer to one consumer
    jobs      jobs that do nothing, from the first enqueued until the last is begun, beside Dramatiq and BullMQ
    growth    the same requests with up to 16 stores or app servers, many queues, a fabric that has nothing to do

Beside these it tells the most memory that any web server or store had in all of them.
Figures are medians of the rounds, with the smallest and the largest: where these are far apart the machine had other
things to do. CPU is that of all threads of a process, in microseconds a request. The servers that are compared were
running at the same time and were asked in turns. It needs redis-server, mongod and wrk, and a Python with gorgond's
libraries: tools/test installs all of it, the Python is .venv/bin/python then. Run it with nothing else going on.
info and rpc measure Starlette and Moleculer too, queue RabbitMQ and NATS, jobs Dramatiq and BullMQ, where these are
installed; tools/speed/others.py says how.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from gorgond.redpill import BATCH_MAX
from gorgond.service.output import run_command
from tools.speed.cases import CASES, DURABILITY
from tools.speed.cases.load import soak
from tools.speed.processes import BenchError
from tools.speed.report import Result, Row, as_json, circumstances, table
from tools.speed.site import BROKERS, Layout
from tools.speed.stage import QUICK, Scale, Stage

MEMORY_MAX = 60  # MB


def main() -> int:
    """Measure and tell; the exit code says whether it could be measured, not how good it is."""
    arguments = _arguments()
    scale = _scale(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that our processes end with us
    try:
        around = circumstances()
        with Stage(scale, arguments.data) as stage:
            results = list(_measure(stage, arguments))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(results, around, asdict(scale)))
    if arguments.json:
        arguments.json.write_text(as_json(results, around, asdict(scale)))
    return 0


def _measure(stage: Stage, arguments: argparse.Namespace) -> Iterator[Result]:
    if arguments.durability:
        for brokers in BROKERS:
            for compared in DURABILITY:
                result = compared(stage, brokers)
                # A headline is of what `gorgond up` runs, two brokers; the cases by themselves measure that.
                yield replace(
                    result, case=f"{result.case} {brokers}", rows=[replace(row, headline="") for row in result.rows]
                )
    elif stage.scale.soak:
        yield soak(stage)
    else:
        for name in arguments.case or CASES:
            yield CASES[name](stage)
    peaks = {name: peak for name, peak in stage.peaks.items() if name in ("web", "store")}
    if peaks:
        yield Result("memory", [Row(f"{name}_max_mb", [peak], f"≤ {MEMORY_MAX}") for name, peak in peaks.items()])


def _arguments() -> argparse.Namespace:
    """The arguments on the command line."""
    manual = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=manual[0], epilog=manual[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, action="append", help="only this one")
    parser.add_argument("--durability", action="store_true", help="compare the ways to keep the queues")
    parser.add_argument("--quick", action="store_true", help="a small data set and short rounds")
    parser.add_argument("--data", metavar="DIR", type=Path, help="keep the data set there")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument(
        "--layouts", metavar="L", type=_layout, nargs="+", help="of gorgond in info: WEBxSTORESxLANES …"
    )
    parser.add_argument(
        "--stores", metavar="N", type=_whole, nargs="+", help="how many in ingest, each number is tried"
    )
    parser.add_argument(
        "--grown", metavar="N", type=_whole, nargs="+", help="numbers of instances in growth, from the least"
    )
    parser.add_argument("--consumers", metavar="C", type=_consumer, nargs="+", help="of the case queue: NUMBERxBATCH …")
    parser.add_argument("--soak", metavar="MINUTES", type=float, help="watch the memory for so long, nothing else")
    for name, what in (
        ("items", "notes in the data set"),
        ("users", "users they belong to"),
        ("rounds", "how often each is measured"),
        ("clients", "of the case load"),
        ("ingest", "notes pushed in a round of ingest"),
        ("messages", "in a round of queue"),
        ("jobs", "in a round of jobs"),
    ):
        parser.add_argument(f"--{name}", metavar="N", type=_whole, help=what)
    parser.add_argument("--seconds", metavar="S", type=_whole, help="of a round of info, rpc and load")
    return parser.parse_args()


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def _layout(text: str) -> str:
    try:
        return str(Layout.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _consumer(text: str) -> str:
    consumers, _, batch = text.partition("x")
    if not (consumers.isdecimal() and batch.isdecimal() and int(consumers) > 0 and 0 < int(batch) <= BATCH_MAX):
        raise argparse.ArgumentTypeError(f"must be NUMBERxBATCH, as 2x256, a batch at most {BATCH_MAX}")
    return text


def _scale(arguments: argparse.Namespace) -> Scale:
    """Quick or whole, with what was given on the command line."""
    scale = QUICK if arguments.quick else Scale()
    given: dict[str, Any] = {name: getattr(arguments, name) for name in asdict(scale)}
    return replace(scale, **{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    sys.exit(run_command("tools/bench.py", main))
