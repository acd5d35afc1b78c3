"""A fabric of real processes that a stats server watches, and what it says of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gorgond.redpill import Message, Producer, connect
from tests.conftest import RedisServer
from tests.programs import asked, started
from tools.speed.ports import free_port

PASSWORD = "s3cret"


class Fabric:
    """A broker, one for calls, and as many processes as are started; all of them are killed at the end."""

    def __init__(self, durable: RedisServer, calls: RedisServer, directory: Path, processes: ExitStack) -> None:
        self.durable, self.calls = durable, calls
        self.directory = directory
        self.web = f"http://127.0.0.1:{free_port()}"
        self.stats = f"http://127.0.0.1:{free_port()}"
        self._processes = processes

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        settings = {
            "GORGOND_BROKER_URL": self.durable.url,
            "GORGOND_BROKER_CALLS": self.calls.url,
            "GORGOND_STORE_URL": f"sqlite:///{self.directory}/test.db",
            "GORGOND_WEB_PORT": self.web.rpartition(":")[2],
            "GORGOND_STATS_PORT": self.stats.rpartition(":")[2],
            "GORGOND_STATS_PASSWORD": PASSWORD,
            "GORGOND_STATS_OPEN": "local",
        }
        output = self.directory / f"{'-'.join(arguments)}-{len(list(self.directory.iterdir()))}"
        return self._processes.enter_context(started(*arguments, output=output, **{**settings, **variables}))

    def picture(self, base: str = "") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(asked(f"{base or self.stats}/api/stats.json") or b"{}")
        return found

    def says(self, *words: str) -> bool:
        """Whether the verdict has all these words."""
        found = self.picture().get("verdict", {"text": "", "reasons": []})
        return all(word in "; ".join([found["text"], *found["reasons"]]) for word in words)

    def well(self) -> bool:
        return self.says("All is well") and self.picture()["uptime"] > 3

    def today(self) -> int:
        """How many requests there were in the last day, as far as a stats server tells; -1 while none does."""
        count: int = self.picture().get("spans", {"day": {"count": -1}})["day"]["count"]
        return count

    def mark(self, text: str) -> None:
        """Have a mark that all stats servers hear which listen now."""

        async def publish() -> None:
            async with Producer(connect(self.calls.url, durable=False), "test") as producer:
                await producer.publish("stats", Message("stats.mark", {"kind": "drill", "text": text}))

        asyncio.run(publish())

    def count(self, series: str, base: str = "", span: str = "hour") -> int:
        """How many of a series were done."""
        url = f"{base or self.stats}/api/history.json?span={span}&of={quote(series)}"
        rows = json.loads(asked(url) or b'{"rows":[]}')["rows"]
        return sum(row["count"] for row in rows)


@contextmanager
def fabric_in(directory: Path, redis: Callable[..., RedisServer]) -> Iterator[Fabric]:
    with ExitStack() as processes:
        yield Fabric(redis(appendonly="yes", appendfsync="always"), redis(), directory, processes)
