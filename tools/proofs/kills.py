"""Kills auth and app servers under load, and looks at each answer: was there one, and is it about the user who asked?

    tools/prove kills                          100,000 answers, on a mongod of its own
    tools/prove kills --answers 3000           fewer
    tools/prove kills --store sqlite:////tmp/x.db   on this database
    tools/prove kills --json FILE              the figures for programs, too

Users with sessions of their own ask through web → auth → app → store, over 32 connections, as fast as they are
answered; the application says who asked, and sends the newest note of that user. Meanwhile instances of auth and app
are killed with SIGKILL at random moments, one of each role at a time, and started again at once. The exit code is 0
when every request was answered, and none with anything of another user.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tools.proofs.proof import Found, answer, main, parser
from tools.speed.flow import counts
from tools.speed.people import Person, register
from tools.speed.processes import Crew, Process
from tools.speed.servers import start_mongod
from tools.speed.site import Layout, Site
from tools.speed.whose import PATH

USERS, CONNECTIONS = 16, 32
INSTANCES = 2  # of auth and of app
PAUSE = 1.0  # seconds at most from when a victim works again to the next kill of its role
DEADLINE = "60s"  # that requests wait for a successor on a slow machine is not what is looked for


class Trial:
    """The load and the kills on one site, and what came of them."""

    def __init__(self, site: Site, answers: int, seed: int) -> None:
        self._site = site
        self._left = answers
        self._chance = random.Random(seed)
        self._people = register(site.url, USERS)
        self.answered = 0
        self.failed: Counter[str] = Counter()
        self.wrong = 0
        self.kills: Counter[str] = Counter()
        self.longest = 0.0  # seconds that a request waited

    async def run(self, instances: dict[str, list[Process]]) -> None:
        """Ask and kill until all is asked."""
        killing = [asyncio.create_task(self._kill(role, some)) for role, some in instances.items()]
        asking = [asyncio.create_task(self._ask()) for _ in range(CONNECTIONS)]
        try:
            done, _ = await asyncio.wait([*killing, *asking], return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in (*killing, *asking):
                task.cancel()
        for task in done:
            await task

    async def _kill(self, role: str, instances: list[Process]) -> None:
        while self._left > 0:
            await asyncio.sleep(self._chance.uniform(0, PAUSE))
            number = self._chance.randrange(len(instances))
            self.kills[role] += 1
            instances[number] = await asyncio.to_thread(self._replace, instances[number], role, number)

    def _replace(self, victim: Process, role: str, number: int) -> Process:
        victim.end()
        self._site.crew.processes.remove(victim)
        return self._site.gorgond(role, "--instance", str(number))

    async def _ask(self) -> None:
        """One connection after another, as long as there is something to ask."""
        while self._left > 0:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._site.port)
            try:
                while self._left > 0:
                    self._left -= 1
                    await self._one(self._chance.choice(self._people), reader, writer)
            except (OSError, EOFError, ValueError) as error:
                self.failed[type(error).__name__] += 1
            finally:
                writer.close()

    async def _one(self, person: Person, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask once. Raises EOFError, OSError and ValueError when what comes is no answer."""
        began = time.monotonic()
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: kills\r\nAuthorization: Bearer {person.token}\r\n\r\n".encode())
        status, found = await answer(reader)
        self.longest = max(self.longest, time.monotonic() - began)
        if status != 200:
            self.failed[str(status)] += 1
            return
        self.answered += 1
        if found["user"] != person.id or [str(note["userid"]) for note in found["items"]] != [person.id]:
            self.wrong += 1

    def figures(self) -> dict[str, int | float]:
        """The results, by name."""
        dead = sum(asyncio.run(counts(self._site.calls, queue)).dead for queue in ("auth_get", "web_get"))
        return {
            "answered": self.answered,
            "failed": self.failed.total(),
            "wrong_user": self.wrong,
            "dead_letters": dead,
            "auth_kills": self.kills["auth"],
            "app_kills": self.kills["app"],
            "longest_s": round(self.longest, 2),
        }


def prove(arguments: argparse.Namespace, closing: ExitStack, directory: Path) -> Found:
    """Ask and kill."""
    crew = closing.enter_context(Crew(directory / "crew", {}))
    store = arguments.store or f"{start_mongod(crew, directory / 'data')}kills"
    site = Site(crew, Layout(), store=store, deadline=DEADLINE)
    instances = {
        role: [site.gorgond(role, "--instance", str(number)) for number in range(INSTANCES)] for role in ("auth", "app")
    }
    trial = Trial(site, arguments.answers, arguments.seed)
    asyncio.run(trial.run(instances))
    figures = trial.figures()
    failed = f"failed: {dict(trial.failed)}" if trial.failed else ""
    return Found(figures, not (figures["failed"] or figures["wrong_user"]), failed)


def _arguments() -> argparse.Namespace:
    made = parser("kills", __doc__)
    made.add_argument("--answers", metavar="N", type=int, default=100_000, help="how often is asked")
    made.add_argument("--store", metavar="URL", help="the database, instead of a mongod of its own")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main("kills", _arguments(), prove))
