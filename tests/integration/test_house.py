"""A role more: the list of docs/development.md is followed in a copy of gorgond, which is then run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from gorgond.commands.control import ask
from gorgond.redpill import Caller, Message, Producer, connect, keys, now_ms
from gorgond.service.access import OPERATOR
from tests.integration.house import House, house
from tests.integration.test_access import Guarded
from tests.waiting import eventually, eventually_async
from tools.speed.ports import free_port

__all__ = ["house"]

HOST = keys.word(socket.gethostname())
GORGONCTL = "import sys; from gorgond.gorgonctl import main; sys.exit(main())"

ROLE = '''"""Echo: answers what it is asked, and who connects is greeted."""

import asyncio
import json

from gorgond.http.server import open_port
from gorgond.redpill import Done, Message, Outcome
from gorgond.service.life import Service
from gorgond.service.systemd import listening_sockets


class Echo(Service):
    role = "echo"

    async def start(self) -> None:
        self.concurrent_consumer("echo_get", self.answer)
        sockets = listening_sockets("echo") or open_port(self.config.echo.address, self.config.echo.port)
        self.servers = [await asyncio.start_server(self.greet, sock=each) for each in sockets]

    async def answer(self, message: Message) -> Outcome:
        return Done(json.dumps(message.args).encode())

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.config.echo.greeting.encode())
        writer.close()

    async def close(self) -> None:
        for server in self.servers:
            server.close()

    def doing(self) -> str:
        return self.consuming()
'''

ROW = """        Role(
            "echo",
            "gorgond.roles.echo:Echo",
            title="echo server",
            many="echo servers",
            help="run an echo server",
            flags={"echo": ("address", "port")},
            testing=True,
            ends=3,
            access=Access(consumes=("echo_get",), replies=True),
            unit=Unit(port=True, secrets=("echo.greeting",)),
        ),
"""

SECTION = '''@dataclass(frozen=True, slots=True)
class Echo(Section):
    """The echo servers."""

    address: str = setting("127.0.0.1", matching("an address", r"[\\\\w.:-]*"), "where they listen")
    port: int = setting("3002", whole(0, 65535), "the port")
    greeting: str = setting("hello", matching("a word", r"\\\\w*"), "what they say")


'''.replace("\\\\", "\\")


@pytest.fixture
def echoing(house: House) -> House:
    """With a role more, by the list: its file, its row, its settings, and what is made of the row."""
    house.add("gorgond/roles/echo.py", ROLE)
    house.insert("gorgond/roles/__init__.py", "    )\n}\n\nCOMMANDS", ROW)
    house.insert("gorgond/settings.py", "@dataclass(frozen=True, slots=True)\nclass Chaos(Section):", SECTION)
    house.insert("gorgond/settings.py", "    log: Log\n", "    echo: Echo\n")
    house.run("tools/made.py")
    return house


async def answer(url: str) -> Any:
    """What is answered over the queue of the new role."""
    broker = connect(url, durable=False)
    async with (
        Producer(broker, "test") as producer,
        Caller(broker, producer, "test_data", "test") as caller,
    ):
        reply = await caller.call("echo_get", Message("echo", {"say": "hi"}, deadline=now_ms() + 60_000))
        assert reply.error is None
        return json.loads(reply.body)


def test_a_role_more_is_in_the_package(echoing: House) -> None:
    # given a role more, then it has a unit, with its socket, user, secret and page of the manual
    unit = echoing.read("systemd/gorgon-echo@.service")
    assert "User=gorgon-echo\nExecStart=/usr/bin/gorgond echo --instance %i\n" in unit
    assert "Sockets=gorgon-echo.socket\n" in unit
    assert "ListenStream=127.0.0.1:3002\n" in echoing.read("systemd/gorgon-echo.socket")
    assert 'u gorgon-echo - "gorgond echo servers"\n' in echoing.read("debian/gorgond.sysusers")
    rows = echoing.read("systemd/lib/gorgond-generator").splitlines()
    assert ["echo", "127.0.0.1:3002", "-", "echo.greeting", "-", "-", "1"] in [row.split() for row in rows]
    assert "\necho = 1\n" in echoing.read("etc/gorgond.conf")
    assert ".B echo\nRun an echo server.\n" in echoing.read("debian/man/gorgond.8")
    # and it is known to every command
    assert "\n    echo      run an echo server\n" in echoing.run("-m", "gorgond", "--help")
    assert "\necho = 1\n" in echoing.run("-m", "gorgond", "config", "--show")
    assert ", echo\n" in echoing.run("-c", GORGONCTL, "scale", "--help", COLUMNS="200")
    assert "echo-kill" in echoing.run("-m", "gorgond.chaos.cli", "drill", "--list")
    # and it may do what its row says, and nothing else
    rights = echoing.users().partition("user echo ")[2].splitlines()[0]
    assert "~gorgon:{echo_get}" in rights
    assert "store_get" not in rights


@pytest.mark.usefixtures("redis_binary")
async def test_a_role_more_runs_under_gorgond_up(echoing: House, tmp_path: Path) -> None:
    port, echo, output = free_port(), free_port(), tmp_path / "output"
    with tempfile.TemporaryDirectory() as data:  # a short path, for sockets
        few = ("--web", "1", "--apps", "0", "--stores", "1", "--no-provider")
        ports = ("--port", str(port), "--stats-port", "0", "--echo-port", str(echo))
        control = Path(data) / "control.sock"

        def state() -> dict[str, Any]:
            found: dict[str, Any] = {each["name"]: each for each in ask(control, "list")["processes"]}["echo@1"]
            return found

        # given a `gorgond up` with everything real
        with echoing.started("up", "--data", data, *few, *ports, output=output) as process:
            eventually(lambda: "all is up" in output.read_text())
            # then one of the new role is there, answers over its queue, and listens
            assert state()["state"] == "up"
            assert await answer(f"unix://{data}/calls.sock") == {"say": "hi"}
            with socket.create_connection(("127.0.0.1", echo)) as greeted:
                assert greeted.recv(100) == b"hello"
            # when it is killed, then it is started again and answers
            ask(control, "stop", name="echo@1")
            ask(control, "start", name="echo@1")
            await eventually_async(lambda: state()["state"] == "up")
            assert await answer(f"unix://{data}/calls.sock") == {"say": "hi"}

            # and the operator sees it where the table has it
            def seen() -> tuple[list[str], str]:
                picture = json.loads(echoing.run("-c", GORGONCTL, "status", "--json", "--data", data, code=None))
                return [role["role"] for role in picture["roles"]], picture["verdict"]["state"]

            eventually(lambda: seen() == (["web", "store", "auth", "notify", "journal", "stats", "echo"], "well"))
            # when all is to end, then it ends between those who ask and those who answer
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        lines = [" ".join(line.split()[-2:]) for line in output.read_text().splitlines()]
        steps = [f"{role}@1.{HOST} {step}" for role in ("web", "echo", "store") for step in ("drains", "ended")]
        assert [line for line in lines if line in steps][-6:] == steps


async def test_a_role_more_is_let_in_by_the_broker(echoing: House, tmp_path: Path, redis_binary: str) -> None:
    # given a Redis with a user for each role
    rights = tmp_path / "users.acl"
    rights.write_text(echoing.users())
    server = Guarded(redis_binary, tmp_path, aclfile=str(rights), appendonly="yes")
    server.start()
    try:
        # when one of the new role runs as its own, and is asked
        with echoing.started("echo", "--broker", server.address("echo"), "--port", "0", output=tmp_path / "output"):
            assert await answer(server.address(OPERATOR)) == {"say": "hi"}
        # then it was refused nothing
        assert server.cli("ACL", "LOG") == ""
    finally:
        server.close()


PROGRAM = """#!{python} -I
# A role that has nothing of gorgond: says that it is there, and that it lives, as sd_notify(3) does.
import os, signal, socket, sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
say = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
say.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
print(sys.argv[1], "runs as", os.getpid(), "at", os.environ["GORGOND_BROKER_URL"].partition(":")[0], flush=True)
while not signal.sigtimedwait([signal.SIGTERM], 1):
    say.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])
"""

FOREIGN = """        Role(
            "foreign",
            "",
            title="foreign server",
            many="foreign servers",
            program="PROGRAM %i",
            access=Access(consumes=("foreign_get",), replies=True),
        ),
"""


@pytest.mark.usefixtures("redis_binary")
def test_a_role_in_another_language_is_a_program(house: House, tmp_path: Path) -> None:
    # given a role more whose row says what runs it
    program, output = tmp_path / "program", tmp_path / "output"
    program.write_text(PROGRAM.replace("{python}", sys.executable))
    program.chmod(0o755)
    house.insert("gorgond/roles/__init__.py", "    )\n}\n\nCOMMANDS", FOREIGN.replace("PROGRAM", str(program)))
    house.run("tools/made.py")
    # then its unit runs that, and gorgond has no command of its name, nor simulates it
    unit = house.read("systemd/gorgon-foreign@.service")
    assert f"\nExecStart={program} %i\n" in unit
    assert "\nUser=gorgon-foreign\n" in unit
    assert "foreign" not in house.run("-m", "gorgond", "--help")
    assert "foreign" not in house.run("-m", "gorgond", "simulate", "--duration", "0.1", "--port", "0", "--count", "1")
    # and `gorgond up` keeps it running
    with tempfile.TemporaryDirectory() as data:
        few = ("--web", "1", "--apps", "0", "--stores", "1", "--no-provider")
        ports = ("--port", str(free_port()), "--stats-port", "0")
        with house.started("up", "--data", data, *few, *ports, output=output) as process:
            runs = re.compile(r"^.*\b1 runs as ([0-9]+) at unix$", re.MULTILINE)
            [pid] = eventually(lambda: runs.findall(output.read_text()))
            os.kill(int(pid), signal.SIGKILL)
            eventually(lambda: len(runs.findall(output.read_text())) == 2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0


def test_a_role_more_is_simulated_and_helps_in_tests(echoing: House) -> None:
    assert "echo      consuming echo_get: " in echoing.run(
        "-m", "gorgond", "simulate", "--duration", "1.5", "--port", "0", "--echo-port", "0", "--count", "10"
    )
    script = (
        "from gorgond.testing import serving\nwith serving() as site: print(site.call('echo_get', 'echo', {'a': 1}))"
    )
    assert echoing.run("-c", script) == "{'a': 1}\n"
