"""A whole fabric of processes: Redis, a web server, two stores, a stats server. Each may be stopped, hung, killed.

Its stores are slow: together they write no more than two thousand a second.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.conftest import RedisServer
from tests.programs import asked, started
from tests.waiting import eventually
from tools.speed.ports import free_port

T = TypeVar("T")

PASSWORD = "open-sesame"


def apart(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of a coroutine; in a thread of its own, since this one's event loop is the browser driver's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Fabric:
    """Runs while it is entered; `programs` are its processes by name."""

    def __init__(self, redis: RedisServer, directory: Path) -> None:
        self.redis = redis
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        web, stats = free_port(), free_port()
        self.web_url, self.stats_url = f"http://localhost:{web}", f"http://127.0.0.1:{stats}"
        self._directory = directory
        self._variables = {
            "GORGOND_BROKER_URL": redis.url,
            "GORGOND_STORE_URL": f"sqlite:///{directory}/items.db",
            "GORGOND_WEB_PORT": str(web),
            "GORGOND_STATS_PORT": str(stats),
            "GORGOND_STATS_PASSWORD": PASSWORD,
            "GORGOND_STATS_OPEN": "local",
            "GORGOND_STORE_BATCH": "200",
            "TEST_SLOW": "0.2",
        }
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for role, instance in (("stats", "1"), ("store", "1"), ("store", "2"), ("web", "1")):
                undo.enter_context(self._program(role, instance))
            eventually(lambda: self.verdict == "All is well" and self._heard() == 4)
            self._running = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @contextmanager
    def _program(self, role: str, instance: str) -> Iterator[None]:
        name = f"{role}@{instance}"
        arguments = (role, "--instance", instance)
        module = "tests.integration.runner"
        with started(*arguments, module=module, output=self._directory / name, **self._variables) as process:
            self.programs[name] = process
            yield

    @contextmanager
    def hung(self, *names: str) -> Iterator[None]:
        """These processes are there and do nothing meanwhile."""
        try:
            for name in names:
                self.programs[name].send_signal(signal.SIGSTOP)
            yield
        finally:
            for name in names:
                self.programs[name].send_signal(signal.SIGCONT)

    @property
    def picture(self) -> dict[str, Any]:
        """What the stats server shows; empty while it does not answer."""
        found: dict[str, Any] = json.loads(asked(f"{self.stats_url}/api/stats.json") or b"{}")
        return found

    @property
    def verdict(self) -> str:
        return str(self.picture["verdict"]["text"]) if self.picture else ""

    def _heard(self) -> int:
        return len(self.picture["instances"])
