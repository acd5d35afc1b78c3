"""A source for tests, of the kind `echo`: it brings the lines of a file, answers get and put, and takes hooks.

with the entry point:  [gorgond.providers] echo = tests.echo:EchoSource
in this process:       monkeypatch.setitem(SOURCES.table, "echo", ECHO)
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gorgond.errors import Refused
from gorgond.providers.source import Batch, Item, Pushed, Source
from gorgond.redpill import loads
from gorgond.settings import Provider, setting
from gorgond.validators import matching, whole

ECHO = "tests.echo:EchoSource"
MOST = 20  # lines that a poll brings


@dataclass(frozen=True, slots=True)
class EchoSettings(Provider):
    """[provider.NAME] with kind = echo."""

    file: str = setting("", matching("a path, or nothing", r"\S*"), "the lines that are polled")
    token: str = setting("", matching("a word, or nothing", r"\S*"), "what hooks must say", secret=True)
    polls: int = setting("0", whole(0, 1000), "polls after which it kills its process; 0: none")


class EchoSource(Source):
    """Line n of the file is the item of key n; the cursor is the number of the first line that was not read."""

    settings = EchoSettings
    network = False

    def __init__(self, name: str, settings: EchoSettings) -> None:
        super().__init__(name, settings)
        self._settings = settings
        self._file = Path(settings.file)
        self._polls = 0
        self.sent: dict[str, Any] = {}

    async def poll(self, cursor: int | None) -> Batch | None:
        if not self._settings.file:
            return await super().poll(cursor)
        self._polls += 1
        if self._polls == self._settings.polls:
            os.kill(os.getpid(), signal.SIGKILL)
        first = cursor or 0
        lines = (await asyncio.to_thread(self._file.read_text)).splitlines()[first : first + MOST]
        self.status = f"at line {first}"
        items = [Item(str(n), {"title": line, "userid": 7, "ts": 1000 + n}) for n, line in enumerate(lines, first)]
        return Batch(items, first + len(items), 0.01 if lines else 0.1)

    async def get(self, op: str, args: Mapping[str, Any]) -> Any:
        if op == "wait":
            await asyncio.sleep(args["seconds"])
        if op == "fail":
            raise KeyError("a fault")
        if op == "refuse":
            raise Refused(402, "pay first")
        return {"op": op, "args": args, "pid": os.getpid()}

    async def put(self, op: str, args: Mapping[str, Any], id: str) -> Any:
        self.sent.setdefault(id, args)
        return {"op": op, "sent": len(self.sent)}

    async def hook(self, pushed: Pushed) -> Sequence[Item]:
        if pushed.headers.get("x-token", "") != self._settings.token:
            raise Refused(401, "another token")
        told = loads(pushed.body)
        if told.get("fail"):
            raise KeyError("a fault")
        return [Item(told["key"], {"title": told["title"], "userid": 7, "query": pushed.query})]
