"""Clients of Socket.IO at two notification servers: how soon they are told, and what restarts and stalled ones do.

    tools/prove live                        2,000 clients, 200 notifications a second
    tools/prove live --clients 500 --stalled 100
    tools/prove live --json FILE            the figures for programs, too

Each client is a user's. Notifications go to random users for some seconds; the time from `ctx.notify` until the client
has it is compared with the round trip over an empty echo to as many clients, at the same rate. Then both servers are
restarted one after another, while notifications go on: each client must be back within 5 s and miss nothing. At last
clients that read nothing are told more than may wait for them: they are cut, and the servers stay small. The exit code
is 0 when all of that holds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gorgond.app.notifying import QUEUE, SEND, notification_id, send_args
from gorgond.redpill import Message, Producer, connect, now_ms
from tools.proofs.proof import Found, main, parser
from tools.proofs.sockets import Client
from tools.speed.flow import wait_until_settled
from tools.speed.ports import free_port
from tools.speed.processes import Crew, Process
from tools.speed.site import Layout, Site

SERVERS = 2
P50, P99 = 30, 250  # ms more than the echo takes
BACK = 5.0  # seconds within which a client is back
RSS = 400  # MB of a notification server
PATIENCE = 60.0  # seconds for what must come
LARGE, LARGES = 19_000, 30  # bytes of a notification to who reads nothing, and how many it is told
DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Person:
    """A user, and the token of their session."""

    id: str
    token: str


class Trial:
    """The clients of one site, and what came of them."""

    def __init__(self, site: Site, arguments: argparse.Namespace) -> None:
        self._site = site
        self._rate, self._seconds = arguments.rate, arguments.seconds
        self._chance = random.Random(arguments.seed)
        self._port = free_port()
        self._servers = [self._start(number) for number in range(SERVERS)]
        self._sent: defaultdict[str, int] = defaultdict(int)  # by user
        self._got: defaultdict[Client, list[int]] = defaultdict(list)
        self._took: list[float] = []  # ms
        self._resets = 0

    def _start(self, number: int) -> Process:
        return self._site.gorgond("notify", "--instance", str(number), "--port", str(self._port))

    async def run(self, clients: int, stalled: int) -> dict[str, Any]:
        """All of it: the figures."""
        async with Producer(connect(self._site.durable), "live") as producer:
            people = await self._register(producer, clients)
            listening = await self._connect(people)
            await self._tell(producer, people, self._seconds)
            await self._complete()
            took, self._took = sorted(self._took), []
            telling = asyncio.create_task(self._tell(producer, people, 2 * BACK))
            for number, server in enumerate(self._servers):
                await asyncio.to_thread(self._restart, number, server)
            await telling
            await self._complete()
            away = max(client.longest_away for client in listening)
            missed = sum(
                self._got[client] != list(range(1, self._sent[person.id] + 1)) for client, person in listening.items()
            )
            for client in listening:
                client.end()
            await asyncio.sleep(1)
            cut = await self._stall(producer, stalled)
        echoed = await self._echo(clients)
        return {
            "clients": clients, "told": len(took), "p50_ms": _percentile(took, 50), "p99_ms": _percentile(took, 99),
            "echo_p50_ms": _percentile(echoed, 50), "echo_p99_ms": _percentile(echoed, 99),
            "longest_away_s": round(away, 2), "clients_that_missed": missed, "resets": self._resets,
            "stalled_cut": cut, "server_peak_mb": round(max(server.peak() for server in self._servers)),
        }  # fmt: skip

    async def _register(self, producer: Producer, number: int) -> list[Person]:
        """Users with sessions, past the passwords, which would take an hour."""
        people = [Person(str(1_000_000_000 + each), os.urandom(16).hex()) for each in range(number)]
        now = now_ms()
        for first in range(0, number, 100):
            some = people[first : first + 100]
            users = [
                {"id": each.id, "name": each.id, "email": "", "roles": [], "authtokens": {"since": 0}} for each in some
            ]
            sessions = [
                {
                    "id": hashlib.sha256(each.token.encode()).hexdigest(), "userid": each.id, "era": "",
                    "created": now, "used": now, "expires": now + DAY, "agent": "", "address": "",
                }
                for each in some
            ]  # fmt: skip
            for name, documents in (("users", users), ("sessions", sessions)):
                await producer.push("auth_store_put", Message(f"{name}.insert", {"documents": documents}))
        await wait_until_settled(self._site.durable, "auth_store_put", 0)
        return people

    async def _connect(self, people: list[Person]) -> dict[Client, Person]:
        found = {Client(self._port, person.token, self._hear): person for person in people}
        clients = list(found)
        for first in range(0, len(clients), 100):
            some = clients[first : first + 100]
            await asyncio.gather(*(each.connect() for each in some))
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(each.entered.wait() for each in some))
        return found

    def _hear(self, client: Client, event: str, data: Any) -> None:
        if event == "notification":
            self._took.append((time.monotonic() - data["data"]) * 1000)
            self._got[client].append(data["number"])
        self._resets += event == "reset"

    async def _tell(self, producer: Producer, people: list[Person], seconds: float) -> None:
        """Notify random users, `rate` a second."""
        began = time.monotonic()
        for number in range(int(self._rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            user = self._chance.choice(people).id
            self._sent[user] += 1
            await producer.push(QUEUE, _notification(user, str(self._sent[user]), time.monotonic()))

    async def _complete(self) -> None:
        """Wait until each has all."""
        await _eventually(lambda: sum(map(len, self._got.values())) >= sum(self._sent.values()))

    def _restart(self, number: int, server: Process) -> None:
        self._site.crew.processes.remove(server)
        server.popen.terminate()
        server.popen.wait(PATIENCE)
        self._servers[number] = self._start(number)

    async def _stall(self, producer: Producer, number: int) -> int:
        """How many of so many that read nothing are cut."""
        people = await self._register(producer, 10)
        clients = [Client(self._port, people[each % 10].token, self._hear, True) for each in range(number)]
        for first in range(0, number, 100):
            await asyncio.gather(*(each.connect() for each in clients[first : first + 100]))
            await asyncio.gather(*(each.entered.wait() for each in clients[first : first + 100]))
        connected = self._connections()
        for each in range(LARGES):
            for person in people:
                await producer.push(QUEUE, _notification(person.id, f"large {each}", "x" * LARGE))
        # Who reads nothing does not see its connection's end, but the servers have one less.
        await _eventually(lambda: connected - self._connections() >= number)
        for client in clients:
            client.end()
        return min(number, connected - self._connections())

    def _connections(self) -> int:
        """How many clients the servers have."""
        return sum(psutil.Process(server.popen.pid).num_fds() for server in self._servers)

    async def _echo(self, number: int) -> list[float]:
        """The round trips over an empty echo, in ms."""
        port = free_port()
        self._site.crew.python("echo", "tools.proofs.sockets", str(port))
        took: list[float] = []
        clients = [
            Client(port, "", lambda _, __, sent: took.append((time.monotonic() - sent) * 1000)) for _ in range(number)
        ]
        for first in range(0, number, 100):
            await asyncio.gather(*(each.connect() for each in clients[first : first + 100]))
            await asyncio.gather(*(each.entered.wait() for each in clients[first : first + 100]))
        began = time.monotonic()
        for each in range(int(self._rate * self._seconds)):
            await asyncio.sleep(max(0.0, began + each / self._rate - time.monotonic()))
            self._chance.choice(clients).send(f'42["echo",{time.monotonic()}]'.encode())
        await asyncio.sleep(1)
        for client in clients:
            client.end()
        return sorted(took)


async def _eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds, not longer than may be."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110 - other processes tell no event of ours
        await asyncio.sleep(0.1)


def _notification(user: str, name: str, data: Any) -> Message:
    id = notification_id(user, "live", name)
    return Message(SEND, send_args(id, user, "live", "A test", data, now_ms()), id)


def _percentile(values: list[float], percent: int) -> float:
    return round(values[min(len(values) - 1, len(values) * percent // 100)], 1) if values else float("inf")


def prove(arguments: argparse.Namespace, closing: ExitStack, directory: Path) -> Found:
    """Connect, notify, restart, stall."""
    crew = closing.enter_context(Crew(directory / "crew", {}))
    site = Site(crew, Layout(), store=f"sqlite:///{directory}/live.db")
    site.gorgond("auth", "--instance", "1")
    figures = asyncio.run(Trial(site, arguments).run(arguments.clients, arguments.stalled))
    holds = (
        figures["p50_ms"] - figures["echo_p50_ms"] <= P50
        and figures["p99_ms"] - figures["echo_p99_ms"] <= P99
        and figures["longest_away_s"] <= BACK
        and not figures["clients_that_missed"]
        and figures["stalled_cut"] == arguments.stalled
        and figures["server_peak_mb"] <= RSS
    )
    return Found(figures, holds)


def _arguments() -> argparse.Namespace:
    made = parser("live", __doc__)
    made.add_argument("--clients", metavar="N", type=int, default=2000, help="that listen")
    made.add_argument("--stalled", metavar="N", type=int, default=1000, help="that read nothing")
    made.add_argument("--rate", metavar="R", type=int, default=200, help="notifications a second")
    made.add_argument("--seconds", metavar="S", type=float, default=15, help="for which they are sent")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main("live", _arguments(), prove))
