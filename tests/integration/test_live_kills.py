"""Notification servers of one port that are killed and restarted: who listens is told each notification once, in order,
and is soon back at another one. The example of docs/notifications.md is such a client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from gorgond.app.notifying import QUEUE, SEND, notification_id, send_args
from gorgond.commands.control import ask
from gorgond.redpill import Message, Producer, connect, now_ms
from tests.integration.browsing import PASSWORD
from tests.integration.listening import MODULE, client, listening, node
from tests.integration.telling import COMMENT
from tests.programs import ROOT, asked, ended, started
from tests.waiting import eventually
from tools.speed.ports import free_port

pytest.importorskip("socketio")

KILLS = int(os.environ.get("KILLS", "6"))
BACK = 5.0  # seconds within which a client is connected again when a server is restarted in order
EXAMPLE = re.compile(r"```js\n(.*?)```", re.DOTALL)


class Fabric:
    """A `gorgond up` with three notification servers on one socket."""

    def __init__(self, data: Path, port: int, live: int) -> None:
        self.data = data
        self.url, self.live = f"http://localhost:{port}", f"http://localhost:{live}"
        self.control = data / "control.sock"

    def post(self, path: str, body: Any) -> Any:
        found = asked(f"{self.url}{path}", json.dumps(body).encode())
        return None if found is None else json.loads(found)

    def user(self, name: str) -> tuple[str, str]:
        """Somebody new: their id, and the token of their session."""
        login = {"email": f"{name}@notes.example", "password": PASSWORD}
        id = self.post("/auth/register", {**login, "name": name})["id"]
        return id, self.post("/auth/login", login)["token"]

    def notify(self, user: str, first: int, last: int) -> None:
        """Have a user notified; the `data` of each is its number here."""

        async def push() -> None:
            async with Producer(connect(f"unix://{self.data}/broker.sock"), "test") as producer:
                for number in range(first, last + 1):
                    id = notification_id(user, "live", str(number))
                    told = send_args(id, user, COMMENT, "A comment", number, now_ms())
                    await producer.push(QUEUE, Message(SEND, told, id))
                    await asyncio.sleep(0.005)

        asyncio.run(push())

    def servers(self) -> dict[str, int]:
        """The notification servers that run, with their process ids."""
        rows = ask(self.control, "list")["processes"]
        return {each["name"]: each["pid"] for each in rows if each["role"] == "notify" and each["pid"]}


@contextmanager
def three(output: Path) -> Iterator[Fabric]:
    port, live = free_port(), free_port()
    few = ("--web", "1", "--apps", "1", "--stores", "1", "--no-provider")
    ports = ("--port", str(port), "--stats-port", "0", "--notify-port", str(live))
    with (
        TemporaryDirectory(prefix="gorgond-") as data,
        started("up", "--data", data, *few, *ports, output=output) as up,
    ):
        eventually(lambda: "all is up" in output.read_text())
        fabric = Fabric(Path(data), port, live)
        for _ in range(2):
            ask(fabric.control, "add", role="notify")
        yield fabric
        assert ended(up) == 0


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    with three(tmp_path_factory.mktemp("live") / "output") as made:
        yield made


def test_kills_lose_nothing_and_double_nothing(fabric: Fabric) -> None:
    # given clients of two users at three servers
    people = {name: fabric.user(name) for name in ("nora", "bob")}
    clients = [
        client(f"{name}-{number}", token=token, since=0)
        for name, (_, token) in people.items()
        for number in range(6)
    ]  # fmt: skip
    with listening(fabric.live, clients) as heard:
        for each in clients:
            heard.wait("ready", name=each["name"])
        # when both are notified all the time, and servers are killed
        count = 0
        for _ in range(KILLS):
            victims = fabric.servers()
            os.kill(victims[sorted(victims)[count % len(victims)]], signal.SIGKILL)
            for id, _ in people.values():
                fabric.notify(id, count + 1, count + 20)
            count += 20
        # then each is told all of them, once and in order
        for each in clients:
            heard.wait("notification", count, each["name"])
            assert heard.numbers(each["name"]) == list(range(1, count + 1))
            assert not heard.of("reset", each["name"])
        for name in people:
            told = [each["data"] for each in heard.of("notification", f"{name}-0")]
            assert sorted(told) == list(range(1, count + 1))


def test_restarts_in_order_miss_nothing_and_are_short(fabric: Fabric) -> None:
    id, token = fabric.user("rolled")
    clients = [client(str(number), token=token, since=0) for number in range(12)]
    with listening(fabric.live, clients) as heard:
        for each in clients:
            heard.wait("ready", name=each["name"])
        began = time.monotonic()
        for number, server in enumerate(sorted(fabric.servers())):
            ask(fabric.control, "restart", name=server)
            fabric.notify(id, number * 10 + 1, number * 10 + 10)
        for each in clients:
            heard.wait("notification", 30, each["name"])
            assert heard.numbers(each["name"]) == list(range(1, 31))
        # then each was cut as the connection's end, after which a client comes again by itself
        reasons = {reason for each in clients for reason in heard.of("disconnect", each["name"])}
        assert reasons == {"transport close"}
        assert time.monotonic() - began < BACK * 3 + 60


def test_the_example_of_the_documentation_is_a_client(fabric: Fabric, tmp_path: Path) -> None:
    # given the program in docs/notifications.md, with what it leaves to its reader
    (source,) = EXAMPLE.findall((ROOT / "docs/notifications.md").read_text())
    assert "https://notes.example.org" in source
    id, token = fabric.user("reader")
    (tmp_path / "node_modules").symlink_to(MODULE.parent)
    program, output = tmp_path / "example.mjs", tmp_path / "output"
    program.write_text(
        f"const token = {json.dumps(token)}; const log = (what) => console.log(JSON.stringify(what));\n"
        "const show = (each) => log(each.data), showItem = log, readInbox = log, markRead = log, logIn = log;\n"
        + source.replace("https://notes.example.org", fabric.live).replace("let since;", "let since = 0;")
    )
    with output.open("wb") as file:
        process = subprocess.Popen([node(), str(program)], stdout=file)
    try:
        # when its user is notified, then it shows that, also after its server was killed
        for number in (1, 2, 3):
            fabric.notify(id, number, number)
            eventually(lambda: len(output.read_text().splitlines()) >= number)  # noqa: B023 - it is over by then
            for pid in fabric.servers().values():
                os.kill(pid, signal.SIGKILL)
        assert [json.loads(line) for line in output.read_text().splitlines()] == [1, 2, 3]
    finally:
        process.kill()
        process.wait(timeout=60)
