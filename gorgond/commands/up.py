"""`gorgond up`: everything on this machine with one command, as child processes that are kept running.

    broker, calls      two redis-servers on unix sockets: one for what must last, one for calls, which forgets
    web, app, store    as many as asked for
    auth               one
    stats              one, which shows how everything fares
    journal            one, which writes every change to the file events.log
    provider           a random one, which ends when it has pushed all its notes

It listens on this host's own address unless --address says otherwise; its files are for its user alone.
On a terminal a table shows each second how they are. Ctrl-C or SIGTERM ends them in order; a second one at once.
Others list, stop and start the processes over a control socket (control.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import psutil

from gorgond.auth.sealing import new_key
from gorgond.commands.appendonly import cut_zeros
from gorgond.commands.child import Child
from gorgond.commands.control import Control
from gorgond.commands.directory import Directory
from gorgond.commands.queues import QueueTable
from gorgond.commands.screen import Screen
from gorgond.commands.standalone import ALONE, standalone
from gorgond.commands.vitals import Vitals
from gorgond.config import Config
from gorgond.errors import ConfigError, GorgonError
from gorgond.http.server import open_port
from gorgond.redpill import BrokerAway, Listener, Message
from gorgond.roles import ENDING, ROLES
from gorgond.roles.making import instances
from gorgond.roles.row import Role
from gorgond.service import signals
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import log
from gorgond.service.log import set_up
from gorgond.service.loop import run
from gorgond.service.watch import Watch

SITE = "gorgond.app.notes"  # the application that has a website
TICK = 1.0  # seconds between two tables
PATIENCE = 20.0  # seconds that ending may take a child: longer than a service takes to drain
POLL = 0.05  # seconds between two questions whether the brokers are there
HEADER = f"{'process':20}{'pid':>8}  {'state':10}{'rate':>9}{'memory':>10}{'restarts':>10}"


def up(
    path: str | None,
    flags: Mapping[str, str],
    data: str | None,
    numbers: Mapping[str, int | None],
) -> int:
    """Run until told to end; the exit code. `numbers` says how many there are of a role, where somebody has chosen.
    Raises ConfigError."""
    redis = shutil.which("redis-server")
    if redis is None:
        raise ConfigError("redis-server is not installed: apt install redis-server")
    os.umask(0o077)  # what is made here, by our children too, is for nobody else to read
    with Directory(data) as directory:
        ours = {"broker.url": directory.broker_url("broker"), "broker.calls": directory.broker_url("calls")}
        config, environ = standalone(
            path,
            {**flags, **ours},
            {
                "store.url": directory.store_url(),
                "journal.file": str(directory.events()),
                "auth.key": new_key(),
                "app.directory": "",
            },
        )
        screen = Screen()
        set_up(config.log.level, config.log.format, "up")
        cast("logging.StreamHandler[Any]", logging.getLogger().handlers[0]).setStream(screen)

        def broker(name: str) -> Child:
            command = [redis, str(directory.redis_configuration(name))]
            return Child(name, command, environ, screen.say, see=str(directory.redis_log(name)))

        # One listening socket for all servers of a role: while one of them is away the others take its connections, and
        # while all are, the connections wait.
        sockets = {role.name: _open(config, role) for role in ENDING if role.unit.port}

        def service(role: Role, instance: str) -> Child:
            command = [sys.executable, "-m", "gorgond", role.command, *([instance] if role.section else ())]
            named = {**environ, "GORGOND_INSTANCE": instance, "STATE_DIRECTORY": str(directory.sessions())}
            shared = sockets.get(role.name, ())
            return Child(f"{role.name}@{instance}", command, named, screen.say, ends=role.finishes, sockets=shared)

        def services(role: Role) -> list[Child]:
            chosen = numbers.get(role.name)
            return [service(role, name) for name in instances(role, config, role.up if chosen is None else chosen)]

        running = Up(
            config,
            screen,
            {role: some[0].getsockname()[1] for role, some in sockets.items()},
            directory.control,
            make=service,
            brokers=[broker("broker"), broker("calls")],
            groups=[
                [child for role in some for child in services(role)]
                for _, some in groupby(ENDING, lambda role: role.ends)
            ],
        )
        log.info("the files are in %s", directory.path)
        for line in cut_zeros(directory.redis_files("broker")):
            log.warning("%s", line)
        run(running.run())
    return 0


def _open(config: Config, role: Role) -> list[socket.socket]:
    """Where the servers of a role listen."""
    section = getattr(config, role.name)
    return open_port(section.address, section.port, alone=True)


class Up:
    """All children: the brokers, and the others in groups, in the order in which they end: what asks before what
    answers, so that all that was asked is answered. The brokers end last."""

    def __init__(
        self,
        config: Config,
        screen: Screen,
        ports: Mapping[str, int],
        control: Path,
        make: Callable[[Role, str], Child],
        brokers: list[Child],
        groups: list[list[Child]],
    ) -> None:
        self._screen = screen
        self._url = f"http://{config.web.address or 'localhost'}:{ports['web']}"
        self._stats = f"http://{config.stats.address or 'localhost'}:{ports['stats']}"
        self._site = f"{self._url}/ is the website, " if SITE in config.app.module.split() else ""
        self._reach = f"{self._url} is for this host alone; --address 0.0.0.0 lets others in"
        if config.web.address != ALONE:
            self._reach = f"{self._url} is for everybody who reaches that address"
        self._make = make
        self._groups, self._brokers = groups, brokers
        self._services = {child.name: child for group in reversed(groups) for child in group}
        self._fabric = connect_fabric(config)
        self._vitals = {name: Vitals() for name in self._services}
        self._tasks: dict[Child, asyncio.Task[None]] = {}
        self._greeted = False
        self._stopping = asyncio.Event()
        self._failed: BaseException | None = None
        self._control = Control(
            control,
            {
                "list": self._list,
                "stop": self._stop_one,
                "start": self._start_one,
                "restart": self._restart,
                "add": self._add,
                "remove": self._remove,
                "note": self._note,
            },
        )

    async def run(self) -> None:
        """Start all, keep it running, end all in order. Raises ConfigError when a child cannot run so."""
        loop = asyncio.get_running_loop()
        asked = functools.partial(loop.call_soon_threadsafe, self._asked_to_stop)
        signals.deliver(asked, asked)
        for child in self._brokers:
            self._start(child)
        if await self._brokers_are_there():
            for child in self._services.values():
                self._start(child)
        watches = [Watch.over(broker) for broker in self._fabric.brokers]
        listener = Listener(self._fabric.calls, ["stats"], "up", self._heard)
        watching = [loop.create_task(each) for each in (listener.run(), self._show(), self._control.run())]
        watching += [loop.create_task(each.run()) for each in watches]
        await self._stopping.wait()
        log.info("ending; a second signal ends it at once")
        for group in self._groups:
            await self._end(group)
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        self._screen.show(())
        await self._end(self._brokers)
        signals.over()
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

    # ---- what others ask for over the control socket

    @property
    def _children(self) -> dict[str, Child]:
        return {child.name: child for child in self._brokers} | self._services

    def _child(self, name: str) -> Child:
        if name not in self._children:
            raise GorgonError(f"there is no {name} here; there are {' '.join(self._children)}")
        return self._children[name]

    async def _list(self) -> dict[str, Any]:
        return {
            "url": self._url,
            "stats": self._stats,
            "processes": [self._about(child) for child in self._children.values()],
        }

    def _about(self, child: Child) -> dict[str, Any]:
        role, _, instance = child.name.partition("@")
        return {
            "name": child.name,
            "role": role,
            "instance": instance,
            "pid": child.pid,
            "state": self._state(child),
            "restarts": max(child.starts - 1, 0),
        }

    async def _stop_one(self, name: str) -> dict[str, Any]:
        child = self._child(name)
        await self._end([child])
        return {}

    async def _start_one(self, name: str) -> dict[str, Any]:
        child = self._child(name)
        child.start()
        if self._tasks[child].done():
            self._start(child)
        return {}

    async def _restart(self, name: str) -> dict[str, Any]:
        await self._stop_one(name)
        return await self._start_one(name)

    async def _add(self, role: str) -> dict[str, Any]:
        for group in self._groups:
            names = [child.name.partition("@") for child in group]
            numbers = [int(instance) for its, _, instance in names if its == role and instance.isdecimal()]
            if numbers:
                child = self._make(ROLES[role], str(max(numbers) + 1))
                group.append(child)
                self._services[child.name], self._vitals[child.name] = child, Vitals()
                self._start(child)
                return {"name": child.name}
        raise GorgonError(f"there is no numbered {role} here that could get another beside it")

    async def _remove(self, name: str) -> dict[str, Any]:
        child = self._child(name)
        if child in self._brokers:
            raise GorgonError(f"{name} cannot be removed: all others need it")
        await self._end([child])
        for group in self._groups:
            if child in group:
                group.remove(child)
        del self._services[name], self._vitals[name], self._tasks[child]
        return {}

    async def _note(self, text: str) -> Mapping[str, Any]:
        """Write into the log what an operator has done to the queues."""
        log.info("%s", text)
        return {}

    # ---- what is shown

    def _heard(self, _: str, event: Message) -> None:
        if event.op != "stats.second":
            return
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
        log.info(
            "all is up: %s%s/info/5 has the newest notes of user 5, %s shows how everything fares; %s; Ctrl-C ends it",
            self._site,
            self._url,
            self._stats,
            self._reach,
        )

    def _state(self, child: Child) -> str:
        if child in self._brokers:
            return "up" if child.pid else child.state
        return self._vitals[child.name].state(child)

    def _rate(self, child: Child) -> float:
        vitals = self._vitals.get(child.name)
        return vitals.rate if vitals is not None and child.pid == vitals.pid else 0.0

    async def _show(self) -> None:
        """On a terminal: the table, once a second."""
        if not self._screen.terminal:
            return
        queues = QueueTable(self._fabric)
        try:
            while True:
                rows = [_row(child, self._state(child), self._rate(child)) for child in self._children.values()]
                self._screen.show(["", self._reach, "", HEADER, *rows, "", *await queues.lines()])
                await asyncio.sleep(TICK)
        finally:
            await queues.close()


def _row(child: Child, state: str, rate: float) -> str:
    memory = ""
    with contextlib.suppress(psutil.Error):
        memory = f"{psutil.Process(child.pid).memory_info().rss / 1e6:.0f} MB" if child.pid else ""
    return f"{child.name:20}{child.pid or '':>8}  {state:10}{rate:>9,.0f}{memory:>10}{max(child.starts - 1, 0):>10}"
