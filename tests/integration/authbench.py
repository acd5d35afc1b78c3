"""An auth server on its queues, with a store, in the test's own process."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gorgond.auth.records import Document, Records
from gorgond.auth.users import Users
from gorgond.config import load
from gorgond.redpill import DONE, Caller, CallFailed, Consumer, Done, Message, Outcome, Producer, Reply, now_ms
from gorgond.roles.auth import AuthServer
from gorgond.roles.store import DataStore
from gorgond.service.fabric import connect_fabric
from gorgond.service.systemd import Notifier

PASSWORD = "a violin in the attic"
DAY = 24 * 3600 * 1000
_tokens = itertools.count()


def new_digest() -> str:
    return hashlib.sha256(str(next(_tokens)).encode()).hexdigest()


class Bench:
    """An auth server, a store server, and a web_get that answers each message with its user."""

    def __init__(self, directory: Path, conf: str = "", **settings: str) -> None:
        directory.mkdir(exist_ok=True)
        file = directory / "gorgond.conf"
        file.write_text(conf)
        flags = {name.replace("__", "."): text for name, text in settings.items()}
        store = f"sqlite:///{directory}/test.db"
        self.config = load(str(file), {}, {"broker.url": f"memory://{directory}", "store.url": store, **flags})
        self.fabric = connect_fabric(self.config)
        self.producer = Producer(self.fabric.calls, "test")
        self.caller = Caller(self.fabric.calls, self.producer, "test_data", "test")
        self.records = Records(self.caller)
        self.auth = AuthServer(self.config, self.fabric, "1")
        self.store = DataStore(self.config, self.fabric, "1")
        self.passed: list[Message] = []
        self.web_get = Consumer(self.fabric.calls, "web_get", "app", self._passed)

    async def _passed(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        self.passed += messages
        return [DONE if message.user is None else Done(message.user["id"].encode()) for message in messages]

    async def ask(self, op: str, args: dict[str, Any] | None = None, **more: Any) -> Reply:
        """An operation of the auth server's; its error is raised."""
        message = Message(op, args or {}, deadline=now_ms() + 20_000, **more)
        reply = await self.caller.call("auth_get", message)
        if reply.error is not None:
            raise reply.error
        return reply

    async def refused(self, op: str, args: dict[str, Any] | None = None, **more: Any) -> int:
        """The status with which it is refused."""
        try:
            reply = await self.ask(op, args, **more)
        except CallFailed as failed:
            return failed.code
        raise AssertionError(f"not refused: {reply}")

    async def user(self, email: str = "ada@notes.example", **fields: Any) -> Document:
        """A new user."""
        await self.ask("auth.register", {"email": email, "password": PASSWORD, "name": "Ada"})
        user = await Users(self.records).by_email(email)
        assert user is not None
        if fields:
            await self.records.patch("users", user, fields)
        return user

    async def session(self, email: str = "ada@notes.example") -> str:
        """A new session: the digest of its token."""
        token = new_digest()
        await self.ask("auth.login", {"email": email, "password": PASSWORD, "token": token})
        return token


@asynccontextmanager
async def running(directory: Path, conf: str = "", **settings: str) -> AsyncIterator[Bench]:
    bench = Bench(directory, conf, **settings)
    loops = [asyncio.ensure_future(service.run(Notifier())) for service in (bench.auth, bench.store)]
    loops.append(asyncio.ensure_future(bench.web_get.run()))
    async with bench.producer, bench.caller:
        yield bench
        bench.auth.stop()
        await loops[0]
        bench.store.stop()
        bench.web_get.stop()
        await asyncio.gather(*loops)


def by(token: str, need: str = "required", rights: str = "") -> dict[str, Any]:
    """A request that a user makes: what a web server sends to auth_get."""
    return {"user": {"token": token, "need": need, "rights": rights}, "next": "web_get"}
