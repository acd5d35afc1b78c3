#!/usr/bin/env -S sh -c 'exec "${0%/*}/python" "$0" "$@"'
"""The cost of a copy on another host: pushes, and notes that are stored, with copies=1 and with copies=0 in turns.

    tools/copies.py                  0.2 ms between the hosts, there and back; as root
    tools/copies.py --delay 1        so many ms
    tools/copies.py --notes 20000    more in each round

It is the three hosts of a drill (docs/chaos.md), whose disk is one and the same, with a cable to each replica that
passes on late. The cable is a program, too: the time that it takes itself is found and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles

from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from gorgond.chaos.errors import Aborted
from gorgond.chaos.hosts.host import Host
from gorgond.chaos.hosts.lab import Hosts, Lab
from gorgond.chaos.servers import Server
from gorgond.providers.pushing import BATCH
from gorgond.redpill import Message, Producer, Room, connect, new_id
from gorgond.service.output import run_command

ROOM = Room(10**6, 10**12)
PUSHES = 200  # of a round, one after another
SIZE = 2000  # bytes of a note
PINGS = 200


def main() -> int:
    """Measure and tell; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", metavar="MS", type=float, default=0.2, help="there and back (%(default)s)")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="with and without (%(default)s)")
    parser.add_argument("--notes", metavar="N", type=int, default=6000, help="in a round (%(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    with Lab(Hosts()) as lab:
        told = lengthen(lab, arguments.delay)
        print(f"{told:.2f} ms from a host to a replica and back", flush=True)
        measured(1, arguments.notes)  # and not counted: all is warm then
        found = [measured(copies, arguments.notes) for copies in (0, 1) * arguments.rounds]
    figures = {"between ms": round(told, 3), **summed(found[::2], found[1::2])}
    print("\n".join(f"{name:16}{figure:>10}" for name, figure in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures) + "\n")
    return 0


def lengthen(lab: Lab, delay: float) -> float:
    """Make it so many ms to each replica and back: how many it is."""
    master = lab.sentinels.master()
    replicas = [host for host in lab.hosts if host is not master]
    plain = median(map(pinged, replicas))
    for host in replicas:
        host.worsen()
    own = median(map(pinged, replicas)) - plain
    for host in replicas:
        host.worsen(delay=max(delay - own, 0.0) / 2000)
    end = time.monotonic() + 60
    while not lab.sentinels.in_step():  # their cables were pulled for a moment
        if time.monotonic() > end:
            raise Aborted("the replicas do not follow the master by these cables")
        time.sleep(0.1)
    return median(map(pinged, replicas)) - plain


def pinged(host: Host) -> float:
    """The ms that the quickest tenth of some questions to the Redis there take at most: others wait for the machine."""
    with Redis(host.address, 6379) as redis:
        return 1000 * quantiles(timed(redis.ping, PINGS), n=10)[0]


def timed(call: Callable[[], object], times: int) -> Iterator[float]:
    """The seconds that each takes."""
    for _ in range(times):
        began = time.monotonic()
        call()
        yield time.monotonic() - began


def measured(copies: int, notes: int) -> dict[str, float]:
    """A round: ms for a push, notes that are stored a second."""
    url = Hosts(copies).broker
    with closing(Server("broker", url)) as server:
        figures = asyncio.run(_pushed(url))
        before, began = server.count_settled("store_put"), time.monotonic()
        asyncio.run(_brought(url, notes))
        while server.count_settled("store_put") < before + notes:
            time.sleep(0.01)
        figures["notes/s"] = notes / (time.monotonic() - began)
    print(f"copies={copies}", {name: round(figure, 2) for name, figure in figures.items()}, flush=True)
    return figures


async def _pushed(url: str) -> dict[str, float]:
    message, took = Message("copies.keep", {"text": "x" * 240}), list[float]()
    async with Producer(connect(url, durable=False), "copies", ROOM) as producer:
        for _ in range(PUSHES):
            began = time.monotonic()
            await producer.push("copies", message)
            took.append(1000 * (time.monotonic() - began))
    return {"p50 ms": median(took)}


async def _brought(url: str, notes: int) -> None:
    """Notes as a provider brings them: a batch, then its events."""
    note = {"title": "a note", "body": "x" * (SIZE - 200), "userid": 5}
    async with Producer(connect(url, durable=False), "copies-notes", ROOM) as producer:
        for first in range(0, notes, BATCH):
            ids = [new_id() for _ in range(min(BATCH, notes - first))]
            raws = [Message("items.insert", {"documents": [{**note, "id": each}]}, each).encode() for each in ids]
            await producer.push_encoded("store_put", raws)
            await producer.publish("provider_data", *(Message("copies.arrived", {"id": each}) for each in ids))


def summed(without: Sequence[dict[str, float]], having: Sequence[dict[str, float]]) -> dict[str, float]:
    """The figures of all rounds: the medians, and of the notes that of the ratios of neighbours."""
    plain, kept = (median(each["p50 ms"] for each in some) for some in (without, having))
    ratios = [one["notes/s"] / other["notes/s"] for one, other in zip(having, without, strict=True)]
    figures = {"push ms": plain, "with a copy": kept, "more": kept - plain}
    figures |= {"notes/s": median(each["notes/s"] for each in without), "ratio": median(ratios)}
    return {name: round(figure, 2) for name, figure in figures.items()}


if __name__ == "__main__":
    sys.exit(run_command("tools/copies.py", main))
