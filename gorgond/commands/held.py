"""What a broker that was stopped holds: its files are read by a Redis that nobody else reaches, with the rights of
their owner."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gorgond.commands.redis_server import redis_server
from gorgond.errors import GorgonError
from gorgond.redpill import connect

PATIENCE = 60.0  # seconds until a Redis has read a large file
LOOK = 0.05  # seconds between two looks whether it has


def count_held(directory: Path) -> dict[str, int]:
    """How many messages of each queue are not done with, by the append-only file in a broker's directory; dead letters
    too. Raises GorgonError when it cannot be read."""
    owner, rights = directory.stat(), dict[str, Any]()
    with TemporaryDirectory(prefix="gorgond-") as apart:
        if os.geteuid() == 0:
            os.chown(apart, owner.st_uid, owner.st_gid)
            rights = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        socket = f"{apart}/socket"
        settings = {
            "dir": directory, "unixsocket": socket, "port": 0, "appendonly": "yes", "save": "",
            "auto-aof-rewrite-percentage": 0,
        }  # fmt: skip
        flags = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        with subprocess.Popen([redis_server(), *flags], stdout=subprocess.DEVNULL, **rights) as process:  # noqa: S603
            try:
                _wait(process, socket)
                return asyncio.run(_ask(socket))
            finally:
                process.kill()


def _wait(process: subprocess.Popen[bytes], socket: str) -> None:
    """Wait until it has read its files."""
    import redis  # slow to import, and rarely needed

    end = time.monotonic() + PATIENCE
    with redis.Redis(unix_socket_path=socket) as broker:
        while process.poll() is None and time.monotonic() < end:
            try:
                broker.ping()
            except redis.ConnectionError:  # not there yet, or reading
                time.sleep(LOOK)
            else:
                return
    raise GorgonError("no Redis can read them")


async def _ask(socket: str) -> dict[str, int]:
    link = connect(f"unix://{socket}", durable=False).link("held")
    try:
        names = await link.queues()
        found = zip(names, await link.counts(names), strict=True)
    finally:
        await link.close()
    sums = {name: each.queued + each.in_flight + each.delayed + each.dead for name, each in found}
    return {name: number for name, number in sums.items() if number}
