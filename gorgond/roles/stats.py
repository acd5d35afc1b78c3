"""StatsMonitor: hears every instance once a second, looks at queues, brokers and database, and shows the picture.

    listen      what instances say on the topic `stats` (ops `stats.second`, `stats.failed`), the marks that others set
                there (`stats.mark`), and what an operator misses no more (`stats.forget`)
    look        once a second at each broker: the figures of all queues, and how it is
    ask         once a second a store server, how the database is
    ask for jobs  now and then it, when jobs that come by the clock came last and come next
    paint       once a second the picture, to everybody who looks
    load, keep  the history, when a store answers; then save it, each minute

Each loop waits for what it needs by itself, so the picture goes on whatever is away, and says so.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gorgond.app.cronloop import CRONS
from gorgond.bounds import LIM_MAX
from gorgond.config import Config
from gorgond.http.answers import Problem
from gorgond.http.server import Server, open_port
from gorgond.redpill import (
    BrokerError,
    BrokerRefused,
    GorgonError,
    Link,
    Message,
    dumps,
    loads,
    now_ms,
)
from gorgond.service.ends import Together
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.systemd import listening_sockets
from gorgond.service.watched import Beat
from gorgond.service.words import counted
from gorgond.stats import marks
from gorgond.stats.api import Api
from gorgond.stats.archive import Archive, Kept
from gorgond.stats.collector import ANSWER, Collector, Watched
from gorgond.stats.history import LATE
from gorgond.stats.jobs import job_of
from gorgond.stats.letters import Links
from gorgond.stats.marks import Marks
from gorgond.stats.picture import database_row
from gorgond.stats.roster import Roster
from gorgond.stats.viewers import Viewers
from gorgond.stats.visitors import Visitors, check_address

SECOND = 1.0
FAREWELL = 1.2  # seconds that it listens as it ends: who ends with it says so, and is not missed afterwards
DEADLINE = 10.0  # seconds for a request
CLOCKS = 10  # seconds between two looks at the clocks of jobs

log = logging.getLogger("gorgond.stats")


class StatsMonitor(Service):
    """One stats server."""

    role = "stats"

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        self._collector = Collector(fabric)
        self.history = self._collector.history
        self.picture: dict[str, Any] = {}
        self.port = 0
        self._marks = Marks()
        self._links = {each.health.name: each.broker.link(f"{self.name} operator") for each in self._collector.brokers}
        self._operating = asyncio.Lock()  # a link is for one at a time
        self._database: dict[str, Any] = database_row({}, 0.0, 0.0, "nobody was asked yet")
        self._caller = self.caller("stats_data")
        others: dict[str, Kept] = {marks.DOCUMENT: self._marks} | {
            each.document: each for each in self._collector.losses
        }
        self._archive = Archive(self._caller, self.producer("store_put"), self.history, others)
        self._listener: Together
        self._keeping: asyncio.Task[None]
        self._viewers = Viewers()
        settings = config.stats
        state = self._state()
        self._roster = Roster(state)
        visitors = Visitors(settings.password, state, settings.open == "local", settings.trusted_proxies)
        self._server = Server(Api(self, visitors, self._viewers).routes, DEADLINE, _problem, self._measure)
        self._server.trusted_proxies = settings.trusted_proxies

    def _state(self) -> Path:
        """Where its files are: the unit's state directory, else one of this process."""
        if given := os.environ.get("STATE_DIRECTORY"):
            return Path(given)
        self._scratch = TemporaryDirectory(prefix="gorgond-stats-")
        return Path(self._scratch.name)

    async def start(self) -> None:
        sockets = listening_sockets("stats")
        settings = self.config.stats
        if settings.open == "no" and not settings.password:
            log.warning("nobody may look: set [stats] password, or [stats] open = local where no proxy leads here")
        if sockets is None:
            check_address(self.config)
            sockets = open_port(settings.address, settings.port)
        self.port = sockets[0].getsockname()[1]
        self._collector.expect(self._roster.read())
        self._paint()
        self._listener = self.listener("stats", self._hear)
        for watched in self._collector.brokers:
            self.loop(functools.partial(self._look_at, watched), f"look at {watched.health.name}")
            self.loop(functools.partial(self._look_at_servers, watched), f"look at servers of {watched.health.name}")
        self.loop(self._ask, "ask")
        self.loop(self._ask_for_jobs, "ask for jobs")
        self.loop(self._go_on_painting, "paint")
        self.task(self._archive.load(), "load")
        self._keeping = self.loop(self._keep, "keep")
        self.loop(self._server.sweep, "sweep")
        self._server.listen(sockets)

    async def drain(self) -> None:
        self._viewers.close()
        goodbyes = asyncio.create_task(asyncio.sleep(0 if self.fabric.away() else FAREWELL))
        await self._server.drain()
        await goodbyes
        self._paint()
        self._listener.stop()
        self._keeping.cancel()
        self.history.finish()
        await self._save()

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()

    def doing(self) -> str:
        return (
            f"serving port {self.port}: {counted(len(self._viewers), 'viewer')}, "
            f"{counted(len(self._collector), 'instance')} heard"
        )

    def now(self) -> int:
        return now_ms() // 1000

    @property
    def lately(self) -> list[dict[str, Any]]:
        return list(self._collector.queues.lately)

    # ---- listen

    def _hear(self, _: str, event: Message) -> None:
        if event.op == "stats.second":
            self._collector.hear(event)
            return
        try:
            if event.op == "stats.failed":
                self._collector.note_failure(event)
            elif event.op == "stats.forget":
                self._collector.forget(str(event.args["name"]))
            elif event.op == "stats.mark":
                self._marks.add(event.sent, str(event.args["kind"]), str(event.args["text"]))
        except (KeyError, ValueError) as error:
            log.warning("%s is not understood: %r", event.op, error)

    # ---- look

    async def _look_at(self, watched: Watched, beat: Beat) -> None:
        """Once a second, the figures of one broker and its queues."""

        async def look(link: Link) -> None:
            await watched.look(link, self._collector.queues)
            if watched.lost:
                watched.broker.outage.begin(watched.health.reason)
            elif not watched.health.away:
                watched.broker.outage.end()

        await self._each_second(watched, "look", look, beat)

    async def _look_at_servers(self, watched: Watched, beat: Beat) -> None:
        """Once a second, the servers that one broker is made of."""
        await self._each_second(watched, "servers", watched.look_at_servers, beat)

    async def _each_second(
        self, watched: Watched, what: str, look: Callable[[Link], Awaitable[None]], beat: Beat
    ) -> None:
        """Call `look` once a second, over a link of its own."""
        link = watched.broker.link(f"{self.name} {what}")
        try:
            while True:
                beat()
                due = time.monotonic() + SECOND
                await look(link)
                await asyncio.sleep(max(due - time.monotonic(), 0.05))
        finally:
            await link.close()

    # ---- ask

    async def _ask(self, beat: Beat) -> None:
        """Once a second, how a store server finds the database."""
        answered = time.monotonic()
        while True:
            beat()
            due = time.monotonic() + SECOND
            question = Message("store.health", deadline=now_ms() + int(ANSWER * 1000))
            try:
                reply = await self._caller.call("store_get", question)
                if reply.error is not None:
                    raise reply.error
                answered = time.monotonic()
                took = (answered - due + SECOND) * 1000
                self._database = database_row(loads(reply.body), took, 0.0, "")
            except (GorgonError, ValueError, AttributeError) as error:
                self._database["away"] = round(time.monotonic() - answered, 1)
                self._database["reason"] = str(error)
            await asyncio.sleep(max(due - time.monotonic(), 0.05))

    async def _ask_for_jobs(self, beat: Beat) -> None:
        """Now and then, the clocks of jobs."""
        while True:
            beat()
            if any(map(job_of, self._collector.queues.names)):
                with suppress(GorgonError):  # no store answers, which others tell
                    self._collector.jobs.crons = await self.find(CRONS, {})
            for _ in range(CLOCKS):
                await asyncio.sleep(SECOND)
                beat()

    async def find(self, collection: str, filter: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Documents of a collection. Raises GorgonError."""
        args = {"filter": filter, "limit": LIM_MAX, **more}
        found: list[dict[str, Any]] = await self._answered("store_get", f"{collection}.find", args)
        return found

    async def replace(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
        """Store documents of a collection: back when they are. Raises GorgonError."""
        await self._answered("store_put", f"{collection}.replace", {"documents": documents})

    async def _answered(self, queue: str, op: str, args: dict[str, Any]) -> Any:
        """What a store answers."""
        reply = await self._caller.call(queue, Message(op, args, deadline=now_ms() + int(ANSWER * 1000)))
        if reply.error is not None:
            raise reply.error
        return loads(reply.body)

    # ---- paint

    async def _go_on_painting(self, beat: Beat) -> None:
        while True:
            await asyncio.sleep(SECOND - now_ms() / 1000 % SECOND + 0.3)  # most tell of a second soon after it
            beat()
            self._paint()

    def _paint(self) -> None:
        """Make the picture, for everybody who looks."""
        now, at = time.monotonic(), now_ms() / 1000
        hearing = self.fabric.away() is None
        for event in self._collector.add_up(now, at, hearing):
            self._marks.add(int((at + event.at - now) * 1000), event.kind, event.text)
        before = self.picture.get("verdict", {})
        self.picture = self._collector.picture(now, at, self._database, self._marks.newest())
        self._note_outage(before, self.picture["verdict"])
        self._viewers.send("picture", dumps(self.picture))
        self._roster.write(self._collector.expected())

    def _note_outage(self, before: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
        if verdict["state"] == "down" != before.get("state"):
            self._marks.add(now_ms(), "outage", verdict["text"])
        elif before.get("state") == "down" != verdict["state"]:
            self._marks.add(now_ms(), "outage", "The outage is over")

    # ---- keep

    async def _keep(self, beat: Beat) -> None:
        """Save what is over, each minute, when its last second is closed."""
        while True:
            due = time.monotonic() + 60 - now_ms() / 1000 % 60 + LATE + 2
            while time.monotonic() < due:
                beat()
                await asyncio.sleep(SECOND)
            await self._save()

    async def _save(self) -> None:
        """Save now, unless the broker is away: what it does not take soon is saved the next time."""
        if not self.fabric.carrier("store_put", self.fabric.durable).outage.length:
            with suppress(TimeoutError):  # it has gone just now
                async with asyncio.timeout(ANSWER):
                    await self._archive.save()

    # ---- the operator

    def unready(self) -> str:
        if self.draining:
            return "this server is about to stop"
        if (broker := self.fabric.away()) is not None:
            return f"{broker.outage.what} has been away for {broker.outage.length:.0f} s: {broker.outage.reason}"
        return ""

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[Links]:
        async with self._operating:
            yield self._links

    def _measure(self, route: str, status: int, seconds: float, bytes: int) -> None:
        self.metrics.count(f"http {status}")
        self.metrics.measure(route or "none", 1, status >= 500, bytes, seconds)


def _problem(error: GorgonError) -> Problem:
    if isinstance(error, BrokerRefused):
        return Problem(403, f"the stats server may not do that; gorgonctl as root may ({error})")
    return Problem(503 if isinstance(error, BrokerError) else 500, str(error))
