"""A whole gorgond on this machine: brokers, stores and web servers as real processes, started fresh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.speed.ports import free_port
from tools.speed.processes import Crew, Process
from tools.speed.servers import start_redis

BROKERS = {
    "two": ("always", True),
    "one-always": ("always", False),
    "one-everysec": ("everysec", False),
}
"""Where queues are kept: how the Redis of what must last synchronises its file, and whether calls have a Redis of
their own, without a file."""

_CONFIG = """
[broker]
url = {durable}
calls = {calls}
[store]
url = {store}
lanes = {lanes}
search = {search}
[web]
address = 127.0.0.1
port = {port}
deadline = {deadline}
[app]
module = {module}
directory =
[auth]
address_attempts = 1000000
[log]
level = warning
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """How many web servers and stores, and how many reading lanes each store has: 1x1x1."""

    web: int = 1
    stores: int = 1
    lanes: int = 1

    @classmethod
    def parse(cls, text: str) -> Layout:
        """From WEBxSTORESxLANES. Raises ValueError."""
        match = re.fullmatch(r"([1-9])x([1-9])x([1-9]\d?)", text)
        if match is None:
            raise ValueError(f"{text}: a layout is WEBxSTORESxLANES, as 1x1x2")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.web}x{self.stores}x{self.lanes}"


class Site:
    """A gorgond in `layout`, in the processes of `crew`; without a `store` URL its stores are `tools.speed.echo`. The
    brokers' files are in `data`, or among those of the crew. Its app servers run the applications of `module`."""

    def __init__(
        self,
        crew: Crew,
        layout: Layout,
        brokers: str = "two",
        store: str = "",
        search: bool = False,
        deadline: str = "10s",
        data: Path | None = None,
        module: str = "gorgond.app.notes tools.speed.whose",
    ) -> None:
        fsync, apart = BROKERS[brokers]
        self.port = free_port()
        self.crew = crew
        self.url = f"http://127.0.0.1:{self.port}"
        self.durable = start_redis(crew, "durable", fsync, data)
        calls = start_redis(crew, "calls", None, data) if apart else ""
        self.calls = calls or self.durable
        config = crew.directory / "gorgond.conf"
        url = store or "sqlite:///nowhere"
        config.write_text(
            _CONFIG.format(
                durable=self.durable,
                calls=calls,
                store=url,
                lanes=layout.lanes,
                search="yes" if search else "no",
                port=self.port,
                deadline=deadline,
                module=module,
            )
        )
        self._settings = {"GORGOND_CONFIG": str(config)}
        for number in range(layout.stores):
            if store:
                self.gorgond("store", "--instance", str(number))
            else:
                self.echo(number)
        for number in range(layout.web):
            self.gorgond("web", "--instance", str(number))

    def echo(self, number: int) -> Process:
        """Start a store without a database."""
        return self.python("store", "tools.speed.echo", f"echo{number}")

    def gorgond(self, command: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Process:
        """Start a service of this site; `settings` are added to its environment."""
        return self.python(command, "gorgond", command, *arguments, settings=settings)

    def python(self, name: str, module: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Process:
        """Start a program that speaks to this site."""
        return self.crew.python(name, module, *arguments, settings={**self._settings, **(settings or {})})
