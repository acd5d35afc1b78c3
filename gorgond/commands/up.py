"""`gorgond up`: everything on this machine with one command, as child processes that are kept running.

    broker, calls      two redis-servers on unix sockets: one for what must last, one for calls, which forgets; those
                       of [broker] route run elsewhere
    web, app, store    as many as asked for
    auth               one
    stats              one, which shows how everything fares
    journal            one, which writes every change to the file events.log
    provider           those of the configuration; beside the application of everybody's notes a random one, which ends
                       when it has pushed all its notes

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
import shlex
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
from gorgond.commands.flags import port_flag
from gorgond.commands.fleet import Fleet
from gorgond.commands.notices import Notices
from gorgond.commands.queues import QueueTable
from gorgond.commands.redis_server import redis_server
from gorgond.commands.reloading import Reloading
from gorgond.commands.screen import Screen
from gorgond.commands.standalone import ALONE, standalone
from gorgond.config import Config
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
from gorgond.service.routing import keep_route, make_groups
from gorgond.service.watch import Watch
from gorgond.settings import DEFAULT_PROVIDER

SITE = "gorgond.app.notes"  # the application that has a website
RELOADED = [role.name for role in ROLES.values() if "app" in role.flags]  # those that load applications
TICK = 1.0  # seconds between two tables
POLL = 0.05  # seconds between two questions whether the brokers are there
HEADER = f"{'process':20}{'pid':>8}  {'state':10}{'rate':>9}{'memory':>10}{'restarts':>10}"


def up(
    path: str | None,
    flags: Mapping[str, str],
    data: str | None,
    numbers: Mapping[str, int | None],
    reload: bool = False,
) -> int:
    """Run until told to end; the exit code. `numbers` says how many there are of a role, where somebody has chosen.
    With `reload` applications are read anew when they are changed. Raises ConfigError."""
    redis = redis_server()
    os.umask(0o077)  # what is made here, by our children too, is for nobody else to read
    with Directory(data) as directory:
        ours = {"broker.url": directory.broker_url("broker"), "broker.calls": directory.broker_url("calls")}
        instead = {
            "store.url": directory.store_url(),
            "journal.file": str(directory.events()),
            "auth.key": new_key(),
            "app.directory": "",
        }
        config, environ = standalone(path, {**flags, **ours}, instead)
        if not _has_site(config):  # nobody has asked for everybody's notes
            config, environ = standalone(path, {**flags, **ours}, {**instead, "web.api": "off"})
        directory.note_route(config.settings["broker"]["route"].text)
        screen = Screen()
        set_up(config.log.level, config.log.format, "up")
        cast("logging.StreamHandler[Any]", logging.getLogger().handlers[0]).setStream(screen)

        def broker(name: str) -> Child:
            command = [redis, str(directory.redis_configuration(name))]
            return Child(name, command, environ, screen.say, see=str(directory.redis_log(name)))

        names = {role.name: _instances(role, config, _number(role, numbers)) for role in ENDING}

        # One listening socket for all servers of a role: while one of them is away the others take its connections, and
        # while all are, the connections wait.
        sockets = {role.name: _open(config, role) for role in ENDING if role.unit.port and names[role.name]}

        notices = Notices(directory.notices)

        def service(role: Role, instance: str) -> Child:
            named = {**environ, "GORGOND_INSTANCE": instance, "STATE_DIRECTORY": str(directory.sessions())}
            shared = sockets.get(role.name, ())
            return Child(
                f"{role.name}@{instance}", _command(role, instance), named, screen.say, ends=role.finishes,
                sockets=shared, notices=notices, watchdog=role.unit.watchdog,
            )  # fmt: skip

        running = Up(
            config,
            screen,
            {role: some[0].getsockname()[1] for role, some in sockets.items()},
            directory.control,
            notices,
            make=service,
            brokers=[broker("broker"), broker("calls")],
            groups=[
                [service(role, name) for role in some for name in names[role.name]]
                for _, some in groupby(ENDING, lambda role: role.ends)
            ],
            reload=reload,
        )
        log.info("the files are in %s", directory.path)
        for line in cut_zeros(directory.redis_files("broker")):
            log.warning("%s", line)
        run(running.run())
    return 0


def _command(role: Role, instance: str) -> list[str]:
    """The command line of an instance, whose name is in its environment too."""
    if role.program:
        return shlex.split(role.program.replace("%i", instance))
    which = [instance] if role.section else ["--mode", role.mode] if role.mode else []
    return [sys.executable, "-m", "gorgond", role.command, *which]


def _number(role: Role, numbers: Mapping[str, int | None]) -> int:
    """How many of a role there are to be."""
    chosen = numbers.get(role.name)
    return role.up if chosen is None else chosen


def _instances(role: Role, config: Config, number: int) -> list[str]:
    """The names of so many instances of a role. Made-up notes are for the application that shows them, or for who has
    chosen how many of them there are."""
    names = instances(role, config, number)
    made_up = config.settings.get(DEFAULT_PROVIDER, {})
    if role.section and not _has_site(config) and all(each.origin == "default" for each in made_up.values()):
        names = [name for name in names if f"{role.section}.{name}" != DEFAULT_PROVIDER]
    return names


def _has_site(config: Config) -> bool:
    """Whether the application runs that has a website."""
    return SITE in config.app.module.split()


def _open(config: Config, role: Role) -> list[socket.socket]:
    """Where the servers of a role listen."""
    section = getattr(config, role.name)
    return open_port(section.address, section.port, alone=True, flag=port_flag(role))


class Up:
    """All of it from start to end, and what others ask for and see meanwhile."""

    def __init__(
        self,
        config: Config,
        screen: Screen,
        ports: Mapping[str, int],
        control: Path,
        notices: Notices,
        make: Callable[[Role, str], Child],
        brokers: list[Child],
        groups: list[list[Child]],
        reload: bool,
    ) -> None:
        self._screen, self._notices = screen, notices
        self._url = f"http://{config.web.address or 'localhost'}:{ports['web']}"
        self._stats = f"http://{config.stats.address or 'localhost'}:{ports['stats']}"
        self._site = f"{self._url}/openapi.json says what it answers"
        if _has_site(config):
            self._site = f"{self._url}/ is the website, {self._url}/info/5 has the newest notes of user 5"
        self._reach = f"{self._url} is for this host alone; --address 0.0.0.0 lets others in"
        if config.web.address != ALONE:
            self._reach = f"{self._url} is for everybody who reaches that address"
        self._fabric = connect_fabric(config)
        self._fleet = Fleet(brokers, groups, make, self._fail)
        self._reloading = Reloading(config, functools.partial(self._fleet.reload, RELOADED)) if reload else None
        self._greeted = False
        self._stopping = asyncio.Event()
        self._failed: BaseException | None = None
        self._control = Control(
            control,
            {
                "list": self._list,
                "stop": self._fleet.stop_one,
                "start": self._fleet.start_one,
                "restart": self._fleet.restart_one,
                "add": self._fleet.add,
                "remove": self._fleet.remove,
                "note": self._note,
            },
        )

    async def run(self) -> None:
        """Start all, keep it running, end all in order. Raises ConfigError when a child cannot run so at the start."""
        loop = asyncio.get_running_loop()
        asked = functools.partial(loop.call_soon_threadsafe, self._stop_or_kill)
        signals.deliver(asked, asked)
        fleet = self._fleet
        self._notices.start()
        fleet.start(fleet.brokers)
        if await self._brokers_are_there():
            await self._agree()
            fleet.start(fleet.services.values())
        watches = [Watch.over(broker) for broker in self._fabric.main]
        listener = Listener(self._fabric.calls, ["stats"], "up", self._hear)
        watching = [loop.create_task(each) for each in (listener.run(), self._show(), self._control.run())]
        watching += [loop.create_task(each.run()) for each in watches]
        if self._reloading is not None:
            watching.append(loop.create_task(self._reloading.run()))
        await self._stopping.wait()
        log.info("ending; a second signal ends it at once")
        await fleet.end_services()
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        self._screen.show(())
        await fleet.end(fleet.brokers)
        self._notices.close()
        signals.over()
        if self._failed is not None:
            raise self._failed

    def _stop_or_kill(self) -> None:
        if self._stopping.is_set():
            self._fleet.kill()
        self._stopping.set()

    def _fail(self, error: BaseException) -> None:
        """A process cannot run. As long as it has not all been up, that is the end; later it is its own affair."""
        if self._greeted:
            log.error("%s; the others go on as they are", error)
            return
        self._failed = self._failed or error
        self._stopping.set()

    async def _brokers_are_there(self) -> bool:
        """Wait for both; False when asked to stop before."""
        for broker in self._fabric.main:
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

    async def _agree(self) -> None:
        """All that runs here routes alike. A broker elsewhere that is away is waited for by those who need it."""
        try:
            await make_groups(self._fabric)
        except BrokerAway as away:
            log.warning("durable groups are made later than the routes of their topics: %s", away)
        await keep_route(self._fabric)

    # ---- what others ask for, and what is shown

    async def _list(self) -> dict[str, Any]:
        processes = [self._fleet.row(child) for child in self._fleet.children.values()]
        return {"url": self._url, "stats": self._stats, "processes": processes}

    async def _note(self, text: str) -> Mapping[str, Any]:
        """Write into the log what an operator has done to the queues."""
        log.info("%s", text)
        return {}

    def _hear(self, _: str, event: Message) -> None:
        if event.op == "stats.second":
            self._fleet.hear(event)
            if not self._greeted and self._fleet.all_have_run():
                self._greet()

    def _greet(self) -> None:
        """Every service was heard: say where to look."""
        self._greeted = True
        log.info(
            "all is up: %s, %s shows how everything fares; %s; Ctrl-C ends it",
            self._site,
            self._stats,
            self._reach,
        )

    async def _show(self) -> None:
        """On a terminal: the table, once a second."""
        if not self._screen.terminal:
            return
        queues, fleet = QueueTable(self._fabric), self._fleet
        try:
            while True:
                rows = [_row(child, fleet.state(child), fleet.rate(child)) for child in fleet.children.values()]
                self._screen.show(["", self._reach, "", HEADER, *rows, "", *await queues.lines()])
                await asyncio.sleep(TICK)
        finally:
            await queues.close()


def _row(child: Child, state: str, rate: float) -> str:
    memory = ""
    with contextlib.suppress(psutil.Error):
        memory = f"{psutil.Process(child.pid).memory_info().rss / 1e6:.0f} MB" if child.pid else ""
    return f"{child.name:20}{child.pid or '':>8}  {state:10}{rate:>9,.0f}{memory:>10}{max(child.starts - 1, 0):>10}"
