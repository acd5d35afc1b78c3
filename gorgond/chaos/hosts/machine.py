"""What runs on a host and is started again when it dies: `python -m gorgond.chaos.hosts.machine FITTING`.

A Redis, a Sentinel, a mongod, and gorgond's roles. They are listed, stopped and started over the host's control socket,
as those of `gorgond up` are (gorgond/commands/control.py). SIGTERM ends them in order, as when a host is shut down.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from gorgond.chaos.hosts.files import REPLICAS, Fitting
from gorgond.chaos.mongod import mongod
from gorgond.commands.child import Child
from gorgond.commands.control import Action, Control
from gorgond.commands.fleet import Fleet
from gorgond.commands.notices import Notices
from gorgond.commands.redis_server import redis_server
from gorgond.roles import ENDING
from gorgond.roles.row import Role
from gorgond.service import signals
from gorgond.service.log import set_up


class Machine:
    """A host's processes."""

    def __init__(self, fitting: Fitting) -> None:
        self._fitting = fitting
        self._notices = Notices(fitting.path / "notices.sock")
        self._stopping = asyncio.Event()
        redis = redis_server()
        self._fleet = Fleet(
            [
                self._server("broker", redis, str(fitting.redis())),
                self._server("sentinel", redis, str(fitting.sentinel()), "--sentinel"),
                self._server("mongod", *self._mongod()),
            ],
            [
                [self._service(role, str(each)) for role in some for each in range(1, fitting.roles[role.name] + 1)]
                for _, some in groupby((role for role in ENDING if role.name in fitting.roles), lambda role: role.ends)
            ],
            self._service,
            lambda error: print(error, flush=True),
        )
        actions: dict[str, Action] = {
            "list": self._list,
            "stop": self._fleet.stop_one,
            "start": self._fleet.start_one,
            "restart": self._fleet.restart_one,
        }
        self._control = Control(fitting.control, actions)

    async def run(self) -> None:
        """Keep all running until told to end."""
        loop = asyncio.get_running_loop()
        signals.deliver(*[lambda: loop.call_soon_threadsafe(self._stopping.set)] * 2)
        self._notices.start()
        self._fleet.start(self._fleet.children.values())
        serving = loop.create_task(self._control.run())
        await self._stopping.wait()
        await self._fleet.end_services()
        await self._fleet.end(self._fleet.brokers)
        serving.cancel()

    async def _list(self) -> dict[str, Any]:
        return {"processes": [self._fleet.row(child) for child in self._fleet.children.values()]}

    def _server(self, name: str, *command: str) -> Child:
        return Child(name, command, os.environ, _say)

    def _mongod(self) -> list[str]:
        data = self._fitting.path / "mongod"
        data.mkdir(exist_ok=True)
        words = [mongod(), "--replSet", REPLICAS, "--bind_ip", self._fitting.address, "--nounixsocket", "--quiet"]
        words += ["--dbpath", str(data), "--logpath", f"{data}.log", "--wiredTigerCacheSizeGB", "0.25"]
        return [*words, "--setParameter", "diagnosticDataCollectionEnabled=false"]

    def _service(self, role: Role, instance: str) -> Child:
        state = self._fitting.path / "state"
        state.mkdir(exist_ok=True)
        environ = {
            **os.environ,
            **self._fitting.variables(),
            "GORGOND_INSTANCE": instance,
            "STATE_DIRECTORY": str(state),
        }
        command = ["env", "-C", str(self._fitting.code), sys.executable, "-m", "gorgond", role.command]
        return Child(
            f"{role.name}@{instance}", command, environ, _say, notices=self._notices, watchdog=role.unit.watchdog
        )


def _say(line: str) -> None:
    print(line, flush=True)


def main(fitting: str) -> None:
    """Run a host's processes."""
    set_up("info", "text", "machine")
    asyncio.run(Machine(Fitting.read(Path(fitting))).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
