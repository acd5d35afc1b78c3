"""A fabric with a provider of the kind `echo` (tests/echo.py), in the test's own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from gorgond.config import Config, load
from gorgond.redpill import Counts
from gorgond.roles.app import AppServer
from gorgond.roles.provider import DataProvider
from gorgond.roles.store import DataStore
from gorgond.roles.web import WebServer
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import Service
from gorgond.service.systemd import Notifier
from gorgond.stores import open_store
from gorgond.stores.contract import Query

APPLICATION = """
from gorgond import App

app = App("asking")


@app.get("/fetch/{op}")
async def fetch(ctx, op: str):
    return await ctx.provider.get(op, {"a": 1})


@app.post("/send/{op}")
async def send(ctx, op: str):
    return await ctx.provider.put(op, {"a": 1})
"""


@dataclass
class Place:
    """Where a fabric is: its configuration, the lines that its provider reads."""

    config: Config
    lines: Path

    def write(self, *lines: str) -> None:
        """So many lines more."""
        with self.lines.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def stored(self, collection: str = "items") -> list[dict[str, Any]]:
        """What is in the database, in the order of ids."""
        store = open_store(self.config.store.url)
        try:
            [found] = store.find([Query(collection, {}, (("id", 1),), 1000)])
            assert isinstance(found, bytes)
            documents: list[dict[str, Any]] = json.loads(found)
            return documents
        finally:
            store.close()

    async def counts(self, queue: str) -> Counts:
        link = connect_fabric(self.config).durable.link("test")
        try:
            return (await link.counts([queue]))[0]
        finally:
            await link.close()


def make_place(directory: Path, broker: str, store: str, **settings: str) -> Place:
    """A place with the provider `echo`, which reads lines and wants the token `open sesame` of hooks."""
    lines, apps, conf = directory / "lines", directory / "app.d", directory / "conf"
    apps.mkdir()
    (apps / "asking.py").write_text(APPLICATION)
    lines.touch()
    conf.write_text(
        f"[provider.echo]\nkind = echo\nfile = {lines}\ntoken = sesame\n[app]\nmodule =\ndirectory = {apps}\n"
    )
    flags = {"broker.url": broker, "store.url": store, "web.port": "0", "web.address": "127.0.0.1"}
    flags |= {name.replace("__", "."): text for name, text in settings.items()}
    return Place(load(str(conf), {}, flags), lines)


@asynccontextmanager
async def running(
    place: Place, *roles: str, address: Callable[[str], str] | None = None
) -> AsyncIterator[dict[str, Any]]:
    """These roles, by their names; an instance of a provider is "echo" or "echo.2". They end in this order. Where the
    broker has users, `address` is how each role gets there."""
    kinds: dict[str, Callable[..., Service]] = {"web": WebServer, "app": AppServer, "store": DataStore}
    services: dict[str, Any] = {}
    for role in roles:
        make, config = kinds.get(role, DataProvider), place.config
        if address is not None:
            user = role if role in kinds else "provider"
            config = replace(config, broker=replace(config.broker, url=address(user)))
        services[role] = make(config, connect_fabric(config), "1" if role in kinds else role)
    tasks = [asyncio.create_task(service.run(Notifier())) for service in services.values()]
    try:
        for service, task in zip(services.values(), tasks, strict=True):
            await asyncio.wait({asyncio.create_task(service.ready.wait()), task}, return_when="FIRST_COMPLETED")
            if task.done():
                task.result()
        yield services
    finally:
        for service, task in zip(services.values(), tasks, strict=True):
            service.stop()
            await asyncio.wait({task})
    for task in tasks:
        task.result()


async def asked(
    web: Any, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """A request: the status, and the value in the answer."""

    def ask() -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    return await asyncio.to_thread(ask)
