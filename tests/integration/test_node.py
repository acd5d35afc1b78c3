"""A role in Node.js (`node/`), written by docs/protocol.md with nothing of gorgond's but the scripts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gorgond.commands.control import ask
from gorgond.redpill import Caller, Counts, Message, Producer, connect, keys, now_ms
from gorgond.service.access import OPERATOR
from tests.conftest import left_out
from tests.integration.house import House, house
from tests.integration.test_access import Guarded
from tests.waiting import HANGS, eventually, eventually_async
from tools.speed.ports import free_port

__all__ = ["house"]

ROLE = Path(__file__).with_name("node") / "role.mjs"
HOST = keys.word(socket.gethostname())
GORGONCTL = "import sys; from gorgond.gorgonctl import main; sys.exit(main())"
# So systemd-notify cannot say who sent it.
UNPRIVILEGED = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin -- " if os.geteuid() == 0 else ""

ROW = """        Role(
            "node",
            "",
            title="node server",
            many="node servers",
            program="PROGRAM %i",
            ends=3,
            access=Access(consumes=("node_get",), replies=True),
            unit=Unit(instead=("NotifyAccess=all", "MemoryDenyWriteExecute=no")),
        ),
"""


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        left_out("there is no node")
    return found


@pytest.fixture
def nodding(house: House, node: str) -> House:
    """With a role more whose row names the program."""
    program = f"{UNPRIVILEGED}{node} {ROLE} {house.root}/gorgond/redpill/scripts"
    house.insert("gorgond/roles/__init__.py", "    )\n}\n\nCOMMANDS", ROW.replace("PROGRAM", program))
    house.run("tools/made.py")
    assert "NotifyAccess=all" in house.read("systemd/gorgon-node@.service.d/20-own.conf")
    return house


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    broker = connect(url, durable=False)
    async with Producer(broker, f"{OPERATOR}@test") as producer, Caller(broker, producer, "test_data", "test") as made:
        yield made


async def answer(caller: Caller, op: str, **args: Any) -> Any:
    """The value of the answer, or the code and the words of an error."""
    reply = await caller.call("node_get", Message(op, args, deadline=now_ms() + int(HANGS * 1000)))
    return (reply.error.code, reply.error.message) if reply.error is not None else json.loads(reply.body)


async def counts(url: str) -> Counts:
    link = connect(url, durable=False).link("test")
    try:
        [found] = await link.counts(["node_get"])
    finally:
        await link.close()
    return found


@pytest.mark.usefixtures("redis_binary")
async def test_a_role_in_node_is_one_like_any_other(
    nodding: House, tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(r"calls\.sock is (away|back)")
    output = tmp_path / "output"
    with tempfile.TemporaryDirectory() as data:  # a short path, for sockets
        few = ("--web", "1", "--apps", "0", "--stores", "1", "--no-provider")
        ports = ("--port", str(free_port()), "--stats-port", "0")
        control, calls, durable = Path(data) / "control.sock", f"unix://{data}/calls.sock", f"unix://{data}/broker.sock"

        def state() -> dict[str, Any]:
            found: dict[str, Any] = {each["name"]: each for each in ask(control, "list")["processes"]}["node@1"]
            return found

        def seen() -> tuple[list[str], str]:
            picture = json.loads(nodding.run("-c", GORGONCTL, "status", "--json", "--data", data, code=None))
            return [role["role"] for role in picture["roles"]], picture["verdict"]["state"]

        async def has_begun() -> bool:
            return (await counts(calls)).in_flight == 1

        async def is_settled() -> bool:
            found = await counts(durable)
            return found.accepted == found.done + found.dead == 2

        # given a `gorgond up` whose table has the role
        with nodding.started("up", "--data", data, *few, *ports, output=output) as process:
            # then it says how it fares, and when it is started again, that it is ready
            eventually(lambda: "all is up" in output.read_text())
            await asyncio.to_thread(ask, control, "restart", name="node@1")
            await eventually_async(lambda: state()["state"] == "up")
            eventually(lambda: seen() == (["web", "store", "auth", "notify", "journal", "stats", "node"], "well"))
            async with calling(calls) as caller:
                # and it answers, with a value or an error
                assert await answer(caller, "node.double", number=21) == 42
                assert await answer(caller, "node.halve", number=21) == (400, "there is no node.halve")
                # when it is killed with a message in hand, then its successor answers
                asked = asyncio.create_task(answer(caller, "node.wait", file=f"{data}/there"))
                await eventually_async(has_begun)
                before = state()["pid"]
                os.kill(before, signal.SIGKILL)
                (Path(data) / "there").touch()
                assert await asked == "it is there"
                assert state()["pid"] != before
            # when the broker dies, then it waits for the next one and answers
            for step in ("stop", "start"):
                await asyncio.to_thread(ask, control, step, name="calls")
            async with calling(calls) as caller:
                assert await answer(caller, "node.double", number=4) == 8
            # when nobody waits for what it refuses, then that is a dead letter
            broker = connect(durable)
            async with Producer(broker, "test") as producer:
                await producer.push("node_get", Message("node.halve", {}), Message("node.double", {"number": 1}))
            await eventually_async(is_settled)
            link = broker.link("test")
            [letter] = await link.dead("node_get")
            await link.close()
            assert letter.reason == "refused: there is no node.halve"
            # when it is to end, then it gives up its desk
            await asyncio.to_thread(ask, control, "stop", name="node@1")
            assert state()["state"] == "stopped"
            with Redis.from_url(durable) as redis:
                listed = redis.hget("gorgon:{node_get}:lanes", f"node@1.{HOST}")
            assert isinstance(listed, bytes)
            assert listed.split()[1] == b"-"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0


async def test_it_may_do_what_its_row_says(nodding: House, node: str, redis_binary: str, tmp_path: Path) -> None:
    # given a Redis with a user for each role
    rights = tmp_path / "users.acl"
    rights.write_text(nodding.users())
    server = Guarded(redis_binary, tmp_path, aclfile=str(rights), appendonly="yes")
    server.start()
    try:
        # when it runs as its own, and is asked
        environ = {**os.environ, "GORGOND_BROKER_URL": server.address("node")}
        scripts = str(nodding.root / "gorgond/redpill/scripts")
        process = await asyncio.create_subprocess_exec(node, str(ROLE), scripts, "1", env=environ)
        try:
            async with calling(server.address(OPERATOR)) as caller:
                assert await answer(caller, "node.double", number=21) == 42
            process.terminate()
            assert await process.wait() == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        # then it was refused nothing
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()
