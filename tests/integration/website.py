"""A web server, an auth server and a store on a database of their own, and connections that show every byte.

with Website(redis.url, tmp_path) as site:
    site.ask("GET", "/info/5").json                     a request on a connection of its own
    with site.connection() as connection:               the same on one that is kept
        connection.send(b"GET / HTTP/1.1\\r\\n\\r\\n")     or byte by byte
        connection.read().status
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gorgond.auth.sealing import new_key
from gorgond.config import Config, load
from gorgond.roles.app import AppServer
from gorgond.roles.auth import AuthServer
from gorgond.roles.notify import NotificationServer
from gorgond.roles.store import DataStore
from gorgond.roles.web import WebServer
from gorgond.service.fabric import Fabric, connect_fabric
from gorgond.service.life import Service
from gorgond.service.loop import run
from gorgond.service.systemd import Notifier
from tests.waiting import LONG

KEY = new_key()  # of all of them: they may share a broker


@dataclass(frozen=True)
class Answer:
    """A response; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error that is told, which is the only thing in the answer."""
        assert list(self.json) == ["error"]
        assert self.json["error"]["code"] == self.status
        assert self.json["error"]["request"] == self.headers["x-request-id"]
        return self.json["error"]


class Connection:
    """A connection to a web server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LONG)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, method: str, target: str, body: Any = None, **headers: str) -> None:
        """Send a request; a body that is no bytes goes as JSON. In the names of headers - is _."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data))} if body is not None else {}
        fields |= {name.replace("_", "-"): text for name, text in headers.items()}
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *(f"{name}: {text}" for name, text in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def read(self, head: bool = False, read: Callable[[int], bytes] | None = None) -> Answer:
        """The next answer; one to HEAD has no body. `read` reads the body."""
        first = self._file.readline()
        if not first:
            raise EOFError("closed by the server")
        version, status, _ = first.decode().split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        while line := self._file.readline().rstrip(b"\r\n"):
            name, _, text = line.decode("latin-1").partition(": ")
            headers[name.lower()] = text
        length = 0 if head else int(headers.get("content-length", "0"))
        body = (read or self._file.read)(length)
        assert len(body) == length
        return Answer(int(status), headers, body)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """Send a request and read its answer."""
        self.request(method, target, body, **headers)
        return self.read(head=method == "HEAD")

    def closed(self) -> bool:
        """Whether the server closes the connection and says nothing any more; waits for it."""
        try:
            return self._file.read() == b""
        except ConnectionResetError:
            return True


class Website:
    """A running web server, with an auth server and a store unless told otherwise; `settings` as web__deadline="1s"."""

    def __init__(
        self,
        broker: str,
        directory: Path,
        store: bool = True,
        instance: str = "1",
        conf: str = os.devnull,
        **settings: str,
    ) -> None:
        flags = {name.replace("__", "."): text for name, text in settings.items()}
        self.config = load(
            conf,
            {},
            {
                "broker.url": broker,
                "store.url": f"sqlite:///{directory}/test.db",
                "web.address": "127.0.0.1",
                "web.port": "0",
                "notify.port": "0",
                "auth.key": KEY,
                **flags,
            },
        )
        self._others: list[Callable[[Config, Fabric, str], Service]] = []
        if store:
            self._others += [DataStore, AuthServer, AppServer, NotificationServer]
        self._instance = instance
        self._running = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="website")
        self.web: WebServer
        self._services: list[Service] = []
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._running.wait(20)
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._failed is not None and kind is None:
            raise self._failed

    @property
    def port(self) -> int:
        return self.web.port

    def stop(self) -> None:
        """Ask the servers to drain and end."""
        if self._thread.is_alive():
            for service in self._services:
                self._loop.call_soon_threadsafe(service.stop)

    def tasks(self) -> set[str]:
        """The names of the servers' tasks."""
        return {task.get_name() for task in asyncio.all_tasks(self._loop)}

    def connection(self) -> Connection:
        return Connection(self.port)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """A request on a connection of its own."""
        with self.connection() as connection:
            return connection.ask(method, target, body, **headers)

    def _main(self) -> None:
        try:
            run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test
            self._failed = error
            self._running.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.web = WebServer(self.config, connect_fabric(self.config), self._instance)
        self._services.append(self.web)
        for role in self._others:
            self._services.append(role(self.config, connect_fabric(self.config), self._instance))
        running = asyncio.gather(*(service.run(Notifier()) for service in self._services))
        for service in self._services:
            ready = asyncio.ensure_future(service.ready.wait())
            ready.add_done_callback(lambda _: self._services_ready())
        await running

    def _services_ready(self) -> None:
        if all(service.ready.is_set() for service in self._services):
            self._running.set()
