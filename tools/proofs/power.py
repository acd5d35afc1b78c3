"""Lets the power fail under load, again and again: is each item there that was answered with 201 or 202?

    tools/prove power                        50 failures, queues and an SQLite database on one disk; as root
    tools/prove power --store mongodb        with a mongod in place of SQLite
    tools/prove power --brokers two          the calls over a Redis that keeps nothing, as `gorgond up` has it
    tools/prove power --brokers one-everysec   what is not promised: it loses
    tools/prove power --json FILE            the figures for programs, too

Clients post notes, half of them with `Prefer: respond-async`, while somebody else fsyncs a file on the same disk. Then
everything is killed and the disk forgets what was not fsynced (disk.py); every other time the store was stopped before,
so that jobs are in the queue. All of it is started again on what is left, and what was acknowledged is looked for. Now
and then Redis rewrites its append-only file meanwhile. The exit code is 0 when nothing was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import redis

from tools.proofs.disk import Disk
from tools.proofs.proof import Found, answer, main, parser
from tools.speed.flow import counts, wait_until_settled
from tools.speed.processes import Crew
from tools.speed.servers import start_mongod
from tools.speed.site import BROKERS, Layout, Site

CONNECTIONS = 16  # every other one asks for 202
QUEUE = "store_put"
PAGE = 1000  # notes in one question
REWRITES = 3  # each third failure has a rewrite of the append-only file before it


class Trial:
    """A fabric whose data is on a disk, the failures of its power, and what came of them."""

    def __init__(self, disk: Disk, directory: Path, brokers: str, store: str, seed: int) -> None:
        self._disk, self._directory = disk, directory
        self._brokers, self._store = brokers, store
        self._chance = random.Random(seed)
        self._acknowledged: dict[str, int] = {}  # id → status, of this failure
        self.failures = 0
        self.statuses: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()  # by what they had been answered with
        self.difference = 0

    def run(self, failures: int) -> None:
        """Let the power fail so often."""
        while True:
            with Crew(self._directory / f"crew-{self.failures}", {}) as crew:
                site = self._start(crew)
                self._look(site)
                if self.failures == failures:
                    return
                self.failures += 1
                asyncio.run(self._load(site))
            self._disk.restore()

    def _start(self, crew: Crew) -> Site:
        data = self._disk.path
        store = f"sqlite:///{data}/gorgond.db"
        if self._store == "mongodb":
            store = f"{start_mongod(crew, data / 'mongod')}power"
        return Site(crew, Layout(), self._brokers, store, data=data)

    def _look(self, site: Site) -> None:
        """Count what was acknowledged before the last failure and is not there, when all is done that was to do."""
        asyncio.run(wait_until_settled(site.durable, QUEUE, 0))
        self.difference += abs(asyncio.run(counts(site.durable, QUEUE)).difference())
        there: set[str] = set()
        while True:
            with urlopen(f"{site.url}/info/{self.failures}/{PAGE}/{len(there)}", timeout=60) as answer:  # noqa: S310 - our own
                notes: list[dict[str, Any]] = json.load(answer)["items"]
            there |= {note["id"] for note in notes}
            if len(notes) < PAGE:
                break
        self.lost.update(status for id, status in self._acknowledged.items() if id not in there)
        self._acknowledged.clear()

    async def _load(self, site: Site) -> None:
        """Post until the power fails."""
        neighbour = asyncio.create_task(asyncio.to_thread(self._disturb))
        posting = [asyncio.create_task(self._post(site, number)) for number in range(CONNECTIONS)]
        await asyncio.sleep(self._chance.uniform(0.1, 1))
        if self.failures % REWRITES == 0:
            with redis.Redis.from_url(site.durable) as client:
                client.bgrewriteaof()
        await asyncio.sleep(self._chance.uniform(0, 0.1))
        if self.failures % 2 == 0:
            site.crew.signal("store", signal.SIGSTOP)
            await asyncio.sleep(self._chance.uniform(0, 0.5))
        site.crew.kill()
        self._disk.fail()
        await asyncio.gather(neighbour, *posting)

    def _disturb(self) -> None:
        """Play the others on the host: they fsync a file of their own, which brings sizes and names of ours to the
        disk, too, at moments that we did not choose. Ends with the power."""
        with (self._disk.path / "neighbour").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x")
                os.fsync(file.fileno())

    async def _post(self, site: Site, number: int) -> None:
        """One connection: a note after the other, until nobody answers. Answers that are in the socket then count,
        too."""
        prefer = "Prefer: respond-async\r\n" if number % 2 else ""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            while True:
                body = json.dumps({"title": "power", "text": "x" * self._chance.randrange(2000)}).encode()
                head = (
                    f"POST /info/{self.failures} HTTP/1.1\r\nHost: power\r\n{prefer}Content-Type: application/json\r\n"
                )
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                status, stored = await answer(reader)
                self.statuses[status] += 1
                if status in (201, 202):
                    self._acknowledged.update(dict.fromkeys(stored["ids"], status))
        except (OSError, EOFError):
            return

    def figures(self) -> dict[str, int]:
        """The results, by name."""
        return {
            "failures": self.failures,
            "stored": self.statuses[201],
            "queued": self.statuses[202],
            "refused": self.statuses.total() - self.statuses[201] - self.statuses[202],
            "lost_stored": self.lost[201],
            "lost_queued": self.lost[202],
            "difference": self.difference,
        }


def prove(arguments: argparse.Namespace, closing: ExitStack, directory: Path) -> Found:
    """Let the power fail."""
    disk = closing.enter_context(Disk(directory))
    trial = Trial(disk, directory, arguments.brokers, arguments.store, arguments.seed)
    trial.run(arguments.failures)
    return Found(trial.figures(), not (trial.lost or trial.difference))


def _arguments() -> argparse.Namespace:
    made = parser("power", __doc__)
    made.add_argument("--failures", metavar="N", type=int, default=50, help="how often the power fails")
    made.add_argument("--store", choices=("sqlite", "mongodb"), default="sqlite", help="the database")
    made.add_argument("--brokers", choices=BROKERS, default="one-always", help="where queues are kept")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main("power", _arguments(), prove))
