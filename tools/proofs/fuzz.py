"""Fuzzes a whole gorgond over HTTP: nothing that is sent may end in a 500, a hang or the end of an instance.

    tools/prove fuzz                       50,000 requests, of them some thousands by schemathesis
    tools/prove fuzz --requests 3000       fewer
    tools/prove fuzz --only 17             only our own case of this number, what is sent and what is answered
    tools/prove fuzz --json FILE           the figures for programs, too

Two attack web → auth → app → store on a Redis and a database of their own, with the tokens of users: our own fuzzer
sends raw bytes (broken request lines, headers and chunks, JSON that is none, fields of other types, injections,
forms, credentials, requests that are cut off, mutated, pipelined), and in between good ones, which have to be answered
well; schemathesis sends what /openapi.json allows and what it does not, and compares each answer with the description.
The exit code is 0 when nothing was found. The same seed sends the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from tools.proofs.fuzzing.attack import Found as Attacked
from tools.proofs.fuzzing.attack import attack
from tools.proofs.fuzzing.cases import Cases
from tools.proofs.fuzzing.described import Described, schemathesis
from tools.proofs.proof import Found, main, parser
from tools.speed.flow import counts
from tools.speed.people import register
from tools.speed.processes import Crew
from tools.speed.site import Layout, Site

USERS = 5  # the last one's session ends before our own requests
QUEUES = ("store_search", "auth_get", "auth_put", "web_get", "store_get", "store_put")
DEADLINE = "60s"  # a slow machine is no fault


def prove(arguments: argparse.Namespace, closing: ExitStack, directory: Path) -> Found:
    """Attack."""
    crew = closing.enter_context(Crew(directory / "crew", {}))
    site = Site(crew, Layout(), store=f"sqlite:///{directory}/fuzz.db", deadline=DEADLINE)
    for role in ("auth", "app"):
        site.gorgond(role, "--instance", "0")
    people = register(site.url, USERS)
    with urlopen(f"{site.url}/openapi.json", timeout=60) as description:  # noqa: S310 - our own server
        cases = Cases(json.load(description), people[:-1], arguments.seed)
    if arguments.only is not None:
        print(cases.case(arguments.only).data)
        numbers = range(arguments.only, arguments.only + 1)
        described = Described()
    else:
        say("schemathesis attacks")
        described = schemathesis(site.url, people, arguments.requests, arguments.seed, directory)
        numbers = range(max(arguments.requests - described.requests, 0))
    say(f"{len(numbers)} requests of our own")
    found = asyncio.run(attack(site.port, cases, numbers, say))
    faults = found.faults + described.faults + asyncio.run(_leftovers(site)) + _instances(crew)
    figures = {
        "requests": len(numbers) + described.requests,
        "own": len(numbers),
        "schemathesis": described.requests,
        "faults": dict(faults),
    }
    return Found(figures, not faults, _table(found, described))


async def _leftovers(site: Site) -> Counter[str]:
    """The messages that the queues should not hold when all is answered."""
    found: Counter[str] = Counter()
    for broker in {site.calls, site.durable}:
        for queue in QUEUES:
            there = await counts(broker, queue)
            found[f"dead letters of {queue}"] += there.dead
    return +found


def _instances(crew: Crew) -> Counter[str]:
    """Instances that have ended, and what they have logged: nothing that is sent is worth a warning."""
    found: Counter[str] = Counter()
    for process in crew.processes:
        if process.popen.poll() is not None:
            found[f"{process.name} has ended"] += 1
        for line in process.log.read_text(errors="replace").splitlines():
            if line.startswith("Traceback") or "Error:" in line:
                found[f"log of {process.name}: {line[:150]}"] += 1
    return found


def _table(found: Attacked, described: Described) -> str:
    ends = {**found.ends, **({"schemathesis": described.ends} if described.ends else {})}
    columns = sorted({end for some in ends.values() for end in some})
    lines = [f"{'':14}" + "".join(f"{column:>8}" for column in columns)]
    lines += [f"{kind:14}" + "".join(f"{some[column] or '':>8}" for column in columns) for kind, some in ends.items()]
    return "\n".join([*lines, "", *found.examples, *described.examples, ""])


def say(text: str) -> None:
    """Tell the person who waits how far we are."""
    print(f"fuzz: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    made = parser("fuzz", __doc__)
    made.add_argument("--requests", metavar="N", type=int, default=50_000, help="how many in all, at least")
    made.add_argument("--only", metavar="N", type=int, help="only our own case of this number")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main("fuzz", _arguments(), prove))
