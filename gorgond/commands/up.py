"""`gorgond up`: everything on this machine with one command, as child processes that are kept running.

    broker, calls      two redis-servers on unix sockets: one for what must last, one for calls, which forgets
    web, store         as many as asked for
    provider           a random one, which ends when it has pushed all its notes

On a terminal a table shows each second how they are. Ctrl-C or SIGTERM ends them in order; a second one at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

import psutil

from gorgond.commands.apart import apart
from gorgond.commands.child import Child
from gorgond.commands.directory import Directory
from gorgond.commands.queues import QueueTable
from gorgond.commands.screen import Screen
from gorgond.config import Config
from gorgond.errors import ConfigError
from gorgond.redpill import BrokerAway, Listener, Message
from gorgond.roles.web import open_port
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import log
from gorgond.service.log import set_up
from gorgond.service.loop import run

TICK = 1.0  # seconds between two tables
PATIENCE = 20.0  # seconds that ending may take a child: longer than a service takes to drain
SILENCE = 5.0  # seconds without a sign of life after which a child is shown as silent
POLL = 0.05  # seconds between two questions whether the brokers are there
HEADER = f"{'process':20}{'pid':>8}  {'state':10}{'rate':>9}{'memory':>10}{'restarts':>10}"


def up(path: str | None, flags: Mapping[str, str], data: str | None, web: int, stores: int, providers: bool) -> int:
    """Run until told to end; the exit code. Raises ConfigError."""
    redis = shutil.which("redis-server")
    if redis is None:
        raise ConfigError("redis-server is not installed: apt install redis-server")
    with Directory(data) as directory:
        ours = {"broker.url": directory.broker_url("broker"), "broker.calls": directory.broker_url("calls")}
        config, environ = apart(path, {**flags, **ours}, {"store.url": directory.store_url()})
        screen = Screen()
        set_up(config.log.level, config.log.format, "up")
        cast("logging.StreamHandler[Any]", logging.getLogger().handlers[0]).setStream(screen)

        def broker(name: str) -> Child:
            command = [redis, str(directory.redis_configuration(name))]
            return Child(name, command, environ, screen.say, see=str(directory.redis_log(name)))

        # One listening socket for all web servers: while one of them is away the others take its connections, and
        # while all are, the connections wait.
        sockets = open_port(config, alone=True)

        def service(role: str, instance: str, *arguments: str) -> Child:
            command = [sys.executable, "-m", "gorgond", role, *arguments]
            named = {**environ, "GORGOND_INSTANCE": instance}
            listening = sockets if role == "web" else ()
            ends = role == "provider"
            return Child(f"{role}@{instance}", command, named, screen.say, ends=ends, sockets=listening)

        running = Up(
            config,
            screen,
            sockets[0].getsockname()[1],
            brokers=[broker("broker"), broker("calls")],
            stores=[service("store", str(number)) for number in range(1, stores + 1)],
            askers=[service("web", str(number)) for number in range(1, web + 1)]
            + [service("provider", name, name) for name in config.providers if providers],
        )
        log.info("the files are in %s", directory.path)
        run(running.run())
    return 0


class Up:
    """All children: those that ask, the stores that answer, the brokers between them."""

    def __init__(
        self, config: Config, screen: Screen, port: int, brokers: list[Child], stores: list[Child], askers: list[Child]
    ) -> None:
        self._config = config
        self._screen = screen
        self._port = port
        self._askers, self._stores, self._brokers = askers, stores, brokers
        self._services = {child.name: child for child in (*stores, *askers)}
        self._fabric = connect_fabric(config)
        self._vitals = {name: Vitals() for name in self._services}
        self._tasks: dict[Child, asyncio.Task[None]] = {}
        self._greeted = False
        self._stopping = asyncio.Event()
        self._failed: BaseException | None = None

    async def run(self) -> None:
        """Start all, keep it running, end all in order. Raises ConfigError when a child cannot run so."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop)
        for child in self._brokers:
            self._start(child)
        if await self._brokers_are_there():
            for child in self._services.values():
                self._start(child)
        listener = Listener(self._fabric.calls, ["stats"], "up", self._heard)
        watching = [loop.create_task(listener.run()), loop.create_task(self._show())]
        await self._stopping.wait()
        log.info("ending; a second signal ends it at once")
        # What asks ends before what answers, so that all that was asked is answered; the brokers end last.
        await self._end(self._askers)
        await self._end(self._stores)
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        self._screen.show(())
        await self._end(self._brokers)
        if self._failed is not None:
            raise self._failed

    def _asked_to_stop(self) -> None:
        if self._stopping.is_set():
            for child in self._tasks:
                child.kill()
        self._stopping.set()

    # ---- children

    def _start(self, child: Child) -> None:
        task = asyncio.get_running_loop().create_task(child.run())
        self._tasks[child] = task
        task.add_done_callback(self._look)

    def _look(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failed = self._failed or task.exception()
            self._stopping.set()

    async def _brokers_are_there(self) -> bool:
        """Wait for both; False when asked to stop before."""
        for broker in self._fabric.brokers:
            link = broker.link("up")
            while not self._stopping.is_set():
                try:
                    await link.ping()
                    break
                except BrokerAway:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), POLL)
            await link.close()
        return not self._stopping.is_set()

    async def _end(self, group: list[Child]) -> None:
        """Ask these to end, wait until they have; who takes too long is killed."""
        tasks = [self._tasks[child] for child in group if child in self._tasks]
        if not tasks:
            return
        for child in group:
            child.stop()
        _, slow = await asyncio.wait(tasks, timeout=PATIENCE)
        if slow:
            for child in group:
                child.kill()
            await asyncio.wait(slow)

    # ---- what is shown

    def _heard(self, _: str, event: Message) -> None:
        name = f"{event.args['role']}@{event.args['instance']}"
        child = self._services.get(name)
        if child is not None and child.pid == event.args["pid"]:
            self._vitals[name].heard(event.args)
            if not self._greeted and all(map(self._has_run, self._services.values())):
                self._greet()

    def _has_run(self, child: Child) -> bool:
        return child.state == "done" or self._vitals[child.name].pid != 0

    def _greet(self) -> None:
        """Every service was heard: say where to look."""
        self._greeted = True
        where = f"http://{self._config.web.address or 'localhost'}:{self._port}"
        log.info("all is up: %s/info/5 shows the newest notes of user 5; Ctrl-C ends it", where)

    async def _show(self) -> None:
        """On a terminal: the table, once a second."""
        if not self._screen.terminal:
            return
        queues = QueueTable(self._fabric)
        try:
            while True:
                rows = [_row(child, "up" if child.pid else child.state, 0.0) for child in self._brokers]
                for name, child in self._services.items():
                    vitals = self._vitals[name]
                    rows.append(_row(child, vitals.state(child), vitals.rate if child.pid == vitals.pid else 0.0))
                self._screen.show(["", HEADER, *rows, "", *await queues.lines()])
                await asyncio.sleep(TICK)
        finally:
            await queues.close()


class Vitals:
    """What was last heard of a service."""

    def __init__(self) -> None:
        self.pid = 0
        self.rate = 0.0
        self._state = ""
        self._done = 0.0
        self._at = 0.0
        self._uptime = 0.0

    def heard(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot in."""
        done, uptime = _done(snapshot), snapshot["uptime"]
        if self.pid == snapshot["pid"] and uptime > self._uptime:
            self.rate = (done - self._done) / (uptime - self._uptime)
        self.pid, self._done, self._uptime = snapshot["pid"], done, uptime
        self._state = "waiting" if snapshot["status"].startswith("waiting") else snapshot["state"]
        self._at = time.monotonic()

    def state(self, child: Child) -> str:
        """The state of the service's process, in a word."""
        if child.pid == 0:
            return child.state
        if child.pid != self.pid:
            return "starting"
        return self._state if time.monotonic() - self._at < SILENCE else "silent"


def _done(snapshot: Mapping[str, Any]) -> float:
    """How much a service has done: messages handled, items pushed, requests answered."""
    counters: Mapping[str, int] = snapshot["counters"]
    answered = sum(number for name, number in counters.items() if name.startswith("http "))
    handled: float = sum(lane["handled"] for lane in snapshot["queues"].values())
    return handled + counters.get("pushed", 0) + answered


def _row(child: Child, state: str, rate: float) -> str:
    memory = ""
    with contextlib.suppress(psutil.Error):
        memory = f"{psutil.Process(child.pid).memory_info().rss / 1e6:.0f} MB" if child.pid else ""
    return f"{child.name:20}{child.pid or '':>8}  {state:10}{rate:>9,.0f}{memory:>10}{max(child.starts - 1, 0):>10}"
