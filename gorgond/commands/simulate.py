"""`gorgond simulate`: every role as a task of one process, over a broker in memory and a database that is thrown away;
once a second it prints what moves.

With a real broker a role can be left out, and a real process takes its place: docs/simulate.md does it one by one. The
journal is simulated in memory alone. On a real broker it would take events from the journals that are there, since all
are of one group, and lose them with its file; and the group would go on collecting events when it has ended.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

from gorgond.auth.sealing import new_key
from gorgond.commands.queues import QueueTable
from gorgond.commands.standalone import standalone
from gorgond.config import Config
from gorgond.errors import ConfigError
from gorgond.roles.app import AppServer
from gorgond.roles.auth import AuthServer
from gorgond.roles.journal import Journal
from gorgond.roles.provider import DataProvider
from gorgond.roles.stats import StatsMonitor
from gorgond.roles.store import DataStore
from gorgond.roles.web import WebServer
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import Service
from gorgond.service.log import set_up
from gorgond.service.loop import run
from gorgond.service.plain import plain
from gorgond.service.systemd import Notifier

INSTANCE = "simulated"  # no real process has this name
TICK = 1.0  # seconds between two tables


def simulate(path: str | None, flags: Mapping[str, str], without: frozenset[str], duration: float | None) -> int:
    """Run until Ctrl-C or for `duration` seconds; the exit code. Raises ConfigError and what a role failed with."""
    with tempfile.TemporaryDirectory(prefix="gorgond-") as directory:
        store = f"sqlite:///{quote(directory)}/simulated.db"
        instead = {
            "broker.url": "memory://simulation",
            "store.url": store,
            "journal.file": f"{directory}/events.log",
            "app.directory": "",
        }
        if not without:  # or real processes need the same key
            instead["auth.key"] = new_key()
        config, _ = standalone(path, flags, instead)
        if without and config.broker.url.startswith("memory://"):
            raise ConfigError("--without needs a --broker that other processes reach, not memory://")
        set_up(config.log.level, config.log.format, INSTANCE)
        run(_simulate(config, without, duration))
    return 0


async def _simulate(config: Config, without: frozenset[str], duration: float | None) -> None:
    fabric = connect_fabric(config)
    # In the order in which they end: what asks before what answers, so that all that was asked is answered; the journal
    # after the store, so that it hears of its last changes.
    services: list[Service] = []
    if "provider" not in without:
        services += [DataProvider(config, fabric, name) for name in config.providers]
    if "web" not in without:
        services.append(WebServer(config, fabric, INSTANCE))
    if "auth" not in without:
        services.append(AuthServer(config, fabric, INSTANCE))
    if "stats" not in without:
        services.append(StatsMonitor(config, fabric, INSTANCE))
    if "app" not in without and (config.app.module or config.app.directory):
        services.append(AppServer(config, fabric, INSTANCE))
    if "store" not in without:
        services.append(DataStore(config, fabric, INSTANCE))
    if fabric.durable.in_process:
        services.append(Journal(config, fabric, INSTANCE))

    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)

    def look(task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            stopping.set()

    running = [loop.create_task(service.run(Notifier())) for service in services]
    for task in running:
        task.add_done_callback(look)
    printing = loop.create_task(_print(QueueTable(fabric), services))
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), duration)
    for service, task in zip(services, running, strict=True):
        service.stop()
        await asyncio.wait({task})
    printing.cancel()
    await asyncio.wait({printing})
    await asyncio.gather(*running)


async def _print(table: QueueTable, services: list[Service]) -> None:
    """Once a second: what every role does, and the queues."""
    try:
        while True:
            await asyncio.sleep(TICK)
            print(*(plain(f"{service.role:10}{service.status()}") for service in services), sep="\n")
            print(*map(plain, await table.lines()), "", sep="\n", flush=True)
    finally:
        await table.close()
