"""The users of Redis at work: who may do what does not get between Redis and its own file."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from pathlib import Path

import pytest

from gorgond.auth.sealing import new_key
from gorgond.commands import secrets
from gorgond.config import load
from gorgond.gorgonctl import main
from gorgond.providers import SOURCES
from gorgond.redpill import Message, Producer, connect, keys, protocol, script
from gorgond.roles import ROLES
from gorgond.roles.journal import Journal
from gorgond.roles.making import make
from gorgond.roles.web import WebServer
from gorgond.service.access import OPERATOR, USERS, acl_file
from gorgond.service.fabric import connect_fabric
from gorgond.service.life import Service
from gorgond.service.routing import agree
from gorgond.service.systemd import Notifier
from tests.conftest import RedisServer
from tests.echo import ECHO
from tests.integration.sources import asked as questioned
from tests.integration.sources import make_place, running
from tests.programs import asked
from tests.waiting import eventually_async


class Guarded(RedisServer):
    """A Redis that lets in those of the ACL file only; `cli` is the operator."""

    def cli(self, *args: str) -> str:
        return super().cli("--user", OPERATOR, "--pass", f"secret-{OPERATOR}", "--no-auth-warning", *args)

    def start(self) -> None:
        """Start, and have the scripts loaded as the watch does."""
        super().start()
        for each in script.ALL:
            self.cli("SCRIPT", "LOAD", each.text)
        self.cli("SET", keys.PROTOCOL, protocol.VERSION)

    def ready(self) -> bool:
        return "NOAUTH" in self._redis_cli("PING").stdout

    def address(self, user: str) -> str:
        return f"unix://{user}:secret-{user}@{self.socket}"


@pytest.fixture
def guarded(redis_binary: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Callable[[], Guarded]:
    file = tmp_path / "acl"
    file.write_text(acl_file({user: f"secret-{user}" for user in USERS}))
    options = {"appendonly": "yes", "appendfsync": "always", "maxmemory_policy": "noeviction", "aclfile": str(file)}
    return lambda: Guarded(redis_binary, tmp_path_factory.mktemp("redis"), **options)


async def test_what_was_accepted_is_there_after_a_restart(guarded: Callable[[], Guarded]) -> None:
    server = guarded()
    server.start()
    try:
        # given messages that a role has pushed, as that role's user
        async with Producer(connect(server.address("provider")), "provider@test") as producer:
            await producer.push("store_put", *[Message("items.insert", {"documents": [{}]}) for _ in range(7)])
        # when Redis is killed and reads its file again
        server.kill()
        server.start()
        # then they are there, and counted
        link = connect(server.address("stats")).link("test")
        (counts,) = await link.counts(["store_put"])
        assert (counts.queued, counts.accepted, counts.difference()) == (7, 7, 0)
        assert (await link.about())["appendfsync"] == "always"
        assert [(each.role, each.error) for each in (await link.replication()).servers] == [("master", "")]
        assert await link.queues() == ["store_put"]
        # and a topic's group can be looked at like any queue
        assert [each.queued for each in await link.counts(["store_notify/journal", "auth_store_put"])] == [0, 0]
        # and the stats server may pause and resume it
        assert await link.pause("store_put")
        assert (await link.counts(["store_put"]))[0].paused
        assert await link.resume("store_put")
        await link.close()
        # and nobody was refused anything
        assert server.cli("ACL", "LOG") == ""
        # but who has no name
        assert "WRONGPASS" in server._redis_cli("AUTH", "default", "").stdout
    finally:
        server.close()


async def test_a_journal_and_a_store_may_do_their_work(guarded: Callable[[], Guarded], tmp_path: Path) -> None:
    server = guarded()
    server.start()
    try:
        # given a journal under its own name
        log = tmp_path / "events.log"
        config = load(os.devnull, {}, {"broker.url": server.address("journal"), "journal.file": str(log)})
        journal = Journal(config, connect_fabric(config), "1")
        running = asyncio.create_task(journal.run(Notifier()))

        # when a store announces a change under its own
        async def logged() -> bool:
            async with Producer(connect(server.address("store")), "store@test") as producer:
                await producer.publish("store_notify", Message("items.added", {"id": "1a"}))
            return log.exists()

        # then it is logged, and nobody was refused anything
        await eventually_async(logged)
        journal.stop()
        await running
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()


@asynccontextmanager
async def serving(
    server: Guarded,
    directory: Path,
    roles: Sequence[str],
    module: str,
    conf: str = os.devnull,
    routes: Mapping[str, str] = {},
) -> AsyncIterator[str]:
    """Servers of these roles, the first of them a web server, each under its own name: where they answer."""
    made: list[Service] = []
    key = new_key()
    for role in roles:
        flags = {"broker.url": server.address(role), "store.url": f"sqlite:///{directory}/test.db", "web.port": "0"}
        flags |= {"broker.route": routes.get(role, ""), "notify.port": "0"}
        config = load(conf, {}, {**flags, "app.module": module, "app.directory": "", "auth.key": key})
        made.append(make(ROLES[role], config, connect_fabric(config), "1"))
    running = [asyncio.create_task(service.run(Notifier())) for service in made]
    for service in made:
        await service.ready.wait()
    web = made[0]
    assert isinstance(web, WebServer)
    yield f"http://localhost:{web.port}"
    for service, task in zip(made, running, strict=True):
        service.stop()
        await task


APPLICATION = """
from gorgond import App

app = App("guarded")


@app.get("/write")
async def write(ctx):
    await ctx.store.insert("things", {"a": 1})
    await ctx.publish("guarded_notify", "written")
    return await ctx.store.count("things")


@app.on("guarded_notify")
async def heard(ctx, event):
    await ctx.store.replace("marks", {"id": "heard"})


@app.every(1)
async def ran(ctx):
    await ctx.store.replace("marks", {"id": "ran"})


@app.get("/marks")
async def marks(ctx):
    return sorted(mark["id"] for mark in await ctx.store.find("marks"))
"""


async def test_an_application_may_do_all_it_can_do(
    guarded: Callable[[], Guarded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guarded_app.py").write_text(APPLICATION)
    monkeypatch.syspath_prepend(str(tmp_path))
    server = guarded()
    server.start()
    try:
        # given a web server, an app server and a store, each under its own name
        async with serving(server, tmp_path, ("web", "app", "store"), "guarded_app") as url:
            # when a handler writes, publishes, hears and is run every so often
            assert await asyncio.to_thread(asked, f"{url}/write") == b"1"

            async def all_done() -> bool:
                return await asyncio.to_thread(asked, f"{url}/marks") == b'["heard","ran"]'

            # then it could, and nobody was refused anything
            await eventually_async(all_done)
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()


async def test_a_provider_may_do_its_work(
    guarded: Callable[[], Guarded],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: Callable[[str], None],
) -> None:
    expected_logs("key is empty: passwords go")
    monkeypatch.setitem(SOURCES.table, "echo", ECHO)
    server = guarded()
    server.start()
    try:
        # given all that have to do with a provider, each under its own name
        place = make_place(tmp_path, server.url, f"sqlite:///{tmp_path}/test.db")
        place.write("a line")
        async with running(place, "web", "app", "echo", "store", address=server.address) as services:
            web = services["web"]
            # when it polls, is asked, told, and pushed to
            await eventually_async(lambda: [each["cursor"] for each in place.stored("providers")] == [1])
            assert (await questioned(web, "GET", "/fetch/echo.parrot"))[0] == 200
            assert (await questioned(web, "POST", "/send/echo.letter"))[0] == 200
            body = b'{"key": "a", "title": "told"}'
            assert (await questioned(web, "POST", "/hooks/echo", body, {"X-Token": "sesame"}))[0] == 202
            await eventually_async(lambda: [each["id"] for each in place.stored()] == ["echo:0", "echo:a"])
        # then it could, and nobody was refused anything
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()


async def test_all_may_do_their_work_at_a_redis_that_queues_are_routed_to(
    guarded: Callable[[], Guarded], tmp_path: Path
) -> None:
    server, other = guarded(), guarded()
    server.start()
    other.start()
    routes = {name: f"store_put={other.address(name)} store_notify={other.address(name)}" for name in ("web", "store")}
    try:
        # given what the operator has agreed on, and two roles, each under its own name at both
        flags = {"broker.url": server.address(OPERATOR), "broker.route": routes["web"]}
        await agree(connect_fabric(load(os.devnull, {}, flags)))
        async with serving(server, tmp_path, ("web", "store"), "gorgond.app.notes", routes=routes) as url:
            # when a note is written, then it goes over the other one
            assert await asyncio.to_thread(asked, f"{url}/info/5", b'{"title": "a note"}')
            assert b"a note" in (await asyncio.to_thread(asked, f"{url}/info/5") or b"")
        link = connect(other.address(OPERATOR)).link("test")
        (counts,) = await link.counts(["store_put"])
        await link.close()
        assert counts.done == 1
        # and nobody was refused anything
        assert server.cli("ACL", "LOG") == other.cli("ACL", "LOG") == ""
    finally:
        server.close()
        other.close()


def test_the_operator_may_do_all(
    guarded: Callable[[], Guarded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = guarded()
    server.start()
    # given the operator's password where root finds it, and a message that a web server has pushed
    (tmp_path / f"gorgond.broker.password.{OPERATOR}").write_text(f"secret-{OPERATOR}\n")
    monkeypatch.setattr(secrets, "CREDENTIALS", tmp_path)
    monkeypatch.setenv("GORGOND_CONFIG", os.devnull)
    monkeypatch.setenv("GORGOND_BROKER_URL", server.url)
    monkeypatch.setenv("GORGOND_STATS_PORT", "1")  # where nobody answers

    async def push() -> None:
        async with Producer(connect(server.address("web")), "web@test") as producer:
            await producer.push("store_put", Message("items.insert", id="1a"))

    def told(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        with redirect_stdout(out):
            code = main(arguments)
        return code, out.getvalue()

    try:
        asyncio.run(push())
        # then gorgonctl sees and changes what is there
        code, shown = told("status", "--json")
        assert (code, json.loads(shown)["durability"]) == (2, "always")  # there is no web server, and no store
        assert told("pause", "store_put") == (0, "store_put is paused: pushes go on, nothing is taken from it\n")
        asyncio.run(push())
        rows = json.loads(told("queues", "--json")[1])
        assert [(row["queued"], row["paused"]) for row in rows if row["name"] == "store_put"] == [(2, True)]
        assert told("resume", "store_put")[0] == 0
        assert told("dead", "list") == (0, "there are no dead letters\n")
        assert len(json.loads(told("trace", "1a", "--json")[1])["messages"]) == 2
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()
