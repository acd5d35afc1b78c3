"""Tests of an application on a whole fabric in the test's own process: web, auth, app and store servers, over queues in
memory and a database that is thrown away. Nothing needs to be installed or running.

    def test_who_adds_a_note_finds_it():
        with serving("notes") as site:
            anna = site.user("anna")
            assert site.post("/notes", {"title": "hello"}, user=anna).status == 201
            assert site.get("/notes", user=anna).json[0]["title"] == "hello"

Requests go over HTTP, so what a test sees is what a client sees. Starting takes a few tenths of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from gorgond.app.enqueuing import Outside, Request, enqueue, job_id
from gorgond.app.jobs import Job
from gorgond.app.jobstatus import JOBS, OVER, filter_of, status_of
from gorgond.auth.sealing import new_key
from gorgond.config import Config, load
from gorgond.http.forms import FORM
from gorgond.redpill import Caller, Message, Producer, new_id, now_ms
from gorgond.roles import ENDING
from gorgond.roles.making import make
from gorgond.roles.web import WebServer
from gorgond.service.fabric import Fabric, connect_fabric
from gorgond.service.life import Service
from gorgond.service.loop import run
from gorgond.service.systemd import Notifier

PATIENCE = 10.0  # seconds for whatever a test waits for
PAUSE = 0.01  # seconds between two looks
PASSWORD = "a violin in the attic"  # noqa: S105 - of all users, who live as long as the test

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The value in the body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is logged in."""

    id: str
    token: str


class RunningFabric:
    """The fabric in the hands of a test."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._web: WebServer
        self._services: list[Service] = []
        self._caller: Caller
        self._producer: Producer
        self._fabric: Fabric
        self._thread = threading.Thread(target=self._main, name="gorgond")

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        user: User | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its answer; `body` goes as JSON, unless it is None."""
        if body is None:
            return self._send(method, path, None, user, headers or {})
        return self._send(method, path, json.dumps(body), user, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, method: str, path: str, data: str | None, user: User | None, headers: Mapping[str, str]) -> Answer:
        sent = dict(headers)
        if user is not None:
            sent["Authorization"] = f"Bearer {user.token}"
        connection = HTTPConnection("127.0.0.1", self._web.port, timeout=PATIENCE * 2)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, *, user: User | None = None) -> Answer:
        """GET."""
        return self.request("GET", path, user=user)

    def post(self, path: str, body: Any = None, *, user: User | None = None) -> Answer:
        """POST."""
        return self.request("POST", path, body, user)

    def submit(self, path: str, fields: Mapping[str, Any], *, user: User | None = None) -> Answer:
        """POST of a form with these fields, as a browser sends it; a list is a field that is there several times."""
        return self._send("POST", path, urlencode(fields, doseq=True), user, {"Content-Type": FORM})

    def put(self, path: str, body: Any = None, *, user: User | None = None) -> Answer:
        """PUT."""
        return self.request("PUT", path, body, user)

    def patch(self, path: str, body: Any = None, *, user: User | None = None) -> Answer:
        """PATCH."""
        return self.request("PATCH", path, body, user)

    def delete(self, path: str, *, user: User | None = None) -> Answer:
        """DELETE."""
        return self.request("DELETE", path, user=user)

    def user(self, name: str, *roles: str) -> User:
        """Somebody new of that name, with these roles, logged in."""
        login = {"email": f"{name}@test.example", "password": PASSWORD}
        made = self.post("/auth/register", {**login, "name": name})
        if made.status != 201:
            raise AssertionError(f"{name} cannot be registered: {made.body.decode()}")
        id: str = made.json["id"]
        if roles:
            self.call("auth_store_put", "users.patch", {"id": id, "changes": {"roles": list(roles)}})
        return User(id, self.post("/auth/login", login).json["token"])

    def publish(self, topic: str, op: str, args: Mapping[str, Any] | None = None) -> None:
        """Publish an event on a topic."""
        self._do(lambda: self._producer.publish(topic, Message(op, dict(args or {}))))

    def call(self, queue: str, op: str, args: Mapping[str, Any] | None = None) -> Any:
        """Ask a server through its queue: the value of its answer, as of site.call("store_get", "items.count")."""

        async def called() -> Any:
            message = Message(op, dict(args or {}), deadline=now_ms() + int(PATIENCE * 1000))
            reply = await self._caller.call(queue, message)
            if reply.error is not None:
                raise reply.error
            return json.loads(reply.body)

        return self._do(called)

    def enqueue(self, job: Job, /, user: User | None = None, **args: Any) -> str:
        """Have a job done, for a user if one is given: its id."""

        async def enqueued() -> str:
            async with Outside(self._fabric, "test") as outside:
                asked = Request(job.written(args), user.id if user else "")
                return (await enqueue(outside, job, job_id(new_id()), asked)).id

        id: str = self._do(enqueued)
        return id

    def job(self, id: str) -> dict[str, Any]:
        """The status of a job once it is over. Raises AssertionError when it is not in time."""

        def over() -> dict[str, Any] | None:
            documents = self.call("store_get", f"{JOBS}.find", {"filter": filter_of(id)})
            status = status_of(id, documents, now_ms())
            return status if status is not None and status["state"] in OVER else None

        return self.eventually(over) or {}

    def eventually(self, condition: Callable[[], T]) -> T:
        """The first true value of a condition, for what happens in the background: handlers of events and schedules.

        Raises AssertionError when there is none in time.
        """
        end = time.monotonic() + PATIENCE
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"still not true after {PATIENCE:g} s")
            time.sleep(PAUSE)
        return value

    def _do(self, work: Callable[[], Any]) -> Any:
        async def waited() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(waited(), self._loop).result(PATIENCE * 2)

    # ---- its thread

    def start(self) -> None:
        """Start every server. Raises what one of them failed with: ConfigError for a module that cannot be loaded."""
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """End them, those that ask first."""
        self._loop.call_soon_threadsafe(self._services[0].stop)
        self._thread.join()

    def _main(self) -> None:
        try:
            run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test
            self._failed = error
        self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        fabric = self._fabric = connect_fabric(self._config)
        self._services = [make(role, self._config, fabric, "test") for role in ENDING if role.testing]
        self._web = next(each for each in self._services if isinstance(each, WebServer))
        running = [asyncio.create_task(service.run(Notifier())) for service in self._services]
        async with (
            Producer(fabric.durable, "test") as self._producer,
            Caller(fabric.calls, self._producer, "test_data", "test") as self._caller,
        ):
            for service, task in zip(self._services, running, strict=True):
                ready = asyncio.create_task(service.ready.wait())
                await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    task.result()
            self._ready.set()
            await running[0]  # the web server, which `stop` ends
            for service, task in zip(self._services[1:], running[1:], strict=True):
                service.stop()
                await task


@contextmanager
def serving(*modules: str, **settings: str) -> Iterator[RunningFabric]:
    """A fabric with the applications in these modules; `settings` as web__deadline="1s"."""
    with tempfile.TemporaryDirectory(prefix="gorgond-") as directory:
        name = Path(directory).name
        flags = {
            "app.module": " ".join(modules),
            "app.directory": "",
            "auth.key": new_key(),
            "broker.url": f"memory://{name}",
            "store.url": f"sqlite:///{quote(directory)}/test.db",
        }
        for role in ENDING:
            if role.testing and role.unit.port:
                flags |= {f"{role.name}.address": "127.0.0.1", f"{role.name}.port": "0"}
        flags |= {name.replace("__", "."): text for name, text in settings.items()}
        site = RunningFabric(load(os.devnull, {}, flags))
        site.start()
        try:
            yield site
        finally:
            site.stop()
