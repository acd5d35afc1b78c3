"""`gorgond simulate`: every role as a task of one process, over a broker in memory and a database that is thrown away;
once a second it prints what moves.

With a real broker a role can be left out, and a real process takes its place: docs/simulate.md does it one by one. A
sink, as the journal, is simulated in memory alone. On a real broker it would take events from those that are there,
since all are of one group, and lose them with its file; and the group would go on collecting events when it has ended.
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
from gorgond.roles import ENDING
from gorgond.roles.making import instances, make
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import Service
from gorgond.service.log import set_up
from gorgond.service.loop import run
from gorgond.service.plain import plain
from gorgond.service.routing import agree
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
    if fabric.durable.in_process:
        await agree(fabric)
    services = [
        make(role, config, fabric, instance if role.section else INSTANCE)
        for role in ENDING
        if role.name not in without and not role.program and (fabric.durable.in_process or not role.sink)
        for instance in instances(role, config, min(role.up, 1))
    ]

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
