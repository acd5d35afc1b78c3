"""`gorgond watch`: the watch over the broker of this host, as gorgon-broker-watch.service runs it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from gorgond.config import Config
from gorgond.service.fabric import connect_fabric
from gorgond.service.log import set_up
from gorgond.service.loop import run
from gorgond.service.systemd import Notifier
from gorgond.service.watch import Watch


def watch(config: Config) -> int:
    """Run until told to end; the exit code. Raises ConfigError when the broker is none of this host's."""
    set_up(config.log.level, config.log.format, "watch")
    notifier = Notifier()

    def report_ready() -> None:
        notifier.ready()
        notifier.status(f"{watching.path} answers, and has the scripts of this version")

    with config.blaming("broker", "url"):
        watching = Watch.over(connect_fabric(config).durable, notifier.alive, report_ready)
    run(_watch(watching, notifier))
    return 0


async def _watch(watching: Watch, notifier: Notifier) -> None:
    task = asyncio.ensure_future(watching.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    notifier.stopping()
