"""The processes of a `gorgond up` as a target, over its control socket."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from gorgond.chaos.target import Target, Victim
from gorgond.commands.control import ask
from gorgond.commands.directory import Directory
from gorgond.config import load


class LocalTarget(Target):
    """The `gorgond up` that runs in the directory `data` (None: in the user's state directory). Its stats server is at
    `stats`."""

    def __init__(self, data: str | None) -> None:
        directory = Directory(data)
        self.directory = directory.path
        self.place = f"the gorgond up in {directory.path}"
        self._control = directory.control
        listed = ask(self._control, "list")
        self.url, self.stats = listed["url"], listed["stats"]
        self.config = load(os.devnull, {}, directory.broker_settings())

    def files(self, broker: str) -> Path:
        """The directory with a broker's append-only file."""
        return self.directory / broker

    def victims(self) -> list[Victim]:
        rows = ask(self._control, "list")["processes"]
        return [Victim(each["name"], each["role"], each["pid"], each["state"], each["restarts"]) for each in rows]

    def signal(self, name: str, number: signal.Signals) -> None:
        if pid := self.victim(name).pid:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, number)

    def stop(self, name: str) -> None:
        ask(self._control, "stop", name=name)

    def start(self, name: str) -> None:
        ask(self._control, "start", name=name)

    def hurry(self, name: str) -> None:
        self.start(name)

    def restart(self, name: str) -> None:
        ask(self._control, "restart", name=name)

    def add(self, name: str) -> None:
        ask(self._control, "add", role=name.partition("@")[0])

    def remove(self, name: str) -> None:
        ask(self._control, "remove", name=name)
