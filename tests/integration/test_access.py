"""The broker's users on a real Redis with the ACL file of the package: each can do its work, the operator all."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from gorgond.commands.operator import site
from gorgond.config import Config, load
from gorgond.gorgonctl import main
from gorgond.redpill import Message, Producer
from gorgond.roles.journal import Journal
from gorgond.service.access import OPERATOR, ROLES, acl_file
from gorgond.service.fabric import connect_fabric
from gorgond.service.systemd import Notifier
from tests.conftest import RedisServer
from tests.waiting import eventually_async

PASSWORDS = {user: f"secret-of-{user}" for user in (*ROLES, OPERATOR)}


@pytest.fixture
def guarded(redis_factory: Callable[..., RedisServer], tmp_path: Path) -> RedisServer:
    """A Redis that asks who is there."""
    file = tmp_path / "broker.acl"
    file.write_text(acl_file(PASSWORDS))
    server = redis_factory(appendonly="yes", maxmemory_policy="noeviction")
    server.cli("CONFIG", "SET", "save", "")
    server.kill()
    server.options["aclfile"] = str(file)
    server.ready = lambda: "NOAUTH" in server._redis_cli("PING").stdout  # type: ignore[method-assign]
    server.start()
    return server


def configured(server: RedisServer, user: str, **more: str) -> Config:
    broker = {"broker.url": server.url, "broker.user": user, "broker.password": PASSWORDS[user]}
    return load(os.devnull, {}, {**broker, **{f"journal.{key}": text for key, text in more.items()}})


async def test_a_journal_and_a_store_may_do_their_work(guarded: RedisServer, tmp_path: Path) -> None:
    # given a journal under its own name
    config = configured(guarded, "journal", file=str(tmp_path / "events.log"))
    journal = Journal(config, connect_fabric(config), "1")
    running = asyncio.create_task(journal.run(Notifier()))
    # when stores announce changes under theirs
    fabric = connect_fabric(configured(guarded, "store"))

    async def logged() -> bool:
        async with Producer(fabric.lasting, "store") as producer:
            await producer.publish("store_notify", Message("items.added", {"id": "1a"}))
        return (tmp_path / "events.log").exists()

    # then they are logged
    await eventually_async(logged, 30)
    journal.stop()
    await running


def test_the_operator_may_do_all(guarded: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given the operator's password where root finds it, and a message that web pushed
    (tmp_path / f"gorgond.broker.password.{OPERATOR}").write_text(PASSWORDS[OPERATOR] + "\n")
    monkeypatch.setattr(site, "CREDENTIALS", tmp_path)
    monkeypatch.setenv("GORGOND_BROKER_URL", guarded.url)
    monkeypatch.setenv("GORGOND_STATS_PORT", "1")  # nobody answers there
    monkeypatch.setenv("GORGOND_CONFIG", os.devnull)

    async def push() -> None:
        async with Producer(connect_fabric(configured(guarded, "web")).lasting, "web") as producer:
            await producer.push("store_put", Message("items.insert", id="1a"))

    asyncio.run(push())

    def told(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        with redirect_stdout(out):
            code = main(arguments)
        return code, out.getvalue()

    # then gorgonctl sees and changes what is there
    code, shown = told("status", "--json")
    assert (code, json.loads(shown)["durability"]) == (2, "everysec")  # no web server, no store
    assert told("pause", "store_put") == (0, "store_put is paused: pushes go on, nothing is taken from it\n")
    asyncio.run(push())  # web may push to a paused queue too
    code, shown = told("queues", "--json")
    assert [(row["queued"], row["paused"]) for row in json.loads(shown) if row["name"] == "store_put"] == [(2, True)]
    assert told("resume", "store_put")[0] == 0
    assert told("dead", "list") == (0, "there are no dead letters\n")
    assert len(json.loads(told("trace", "1a", "--json")[1])["messages"]) == 2
