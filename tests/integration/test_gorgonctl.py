"""gorgonctl on a `gorgond up` with real processes: what it shows is so, what it does happens."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gorgond.gorgonctl import main
from gorgond.redpill import connect
from gorgond.redpill.broker import Batch, Room
from gorgond.redpill.codec import dumps
from tests.programs import ROOT, asked, started
from tests.waiting import eventually
from tools.speed.ports import free_port

CONTROL = [sys.executable, "-c", "import sys; from gorgond.gorgonctl import main; sys.exit(main())"]


class Fabric:
    """A `gorgond up` with one web server and one store, and gorgonctl for it."""

    def __init__(self, data: Path, port: int, output: Path) -> None:
        self.data = data
        self.output = output
        self.url = f"http://localhost:{port}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What gorgonctl does, within this process: a new one takes too long to start on a busy machine."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*arguments, "--data", str(self.data)])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def ok(self, *arguments: str) -> str:
        """What it prints when it succeeds."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def well(self, *arguments: str) -> str:
        """What status prints, as soon as all is well: on a busy machine something may be late at first."""
        return eventually(lambda: done.stdout if (done := self.run("status", *arguments)).returncode == 0 else "")

    def state(self, instance: str) -> str:
        rows = {row["name"].partition(".")[0]: row["state"] for row in self.json("instances")}
        return str(rows.get(instance, ""))

    def add(self, title: str) -> str:
        """Hand in a job: its id."""
        headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        request = Request(f"{self.url}/info/5", json.dumps({"title": title}).encode(), headers)
        with urlopen(request, timeout=60) as answer:
            assert answer.status == 202
            return str(json.loads(answer.read())["ids"][0])

    def push(self, *raws: bytes) -> None:
        """Put bytes on store_put."""

        async def push() -> None:
            link = connect(f"unix://{self.data}/broker.sock").link("test")
            assert await link.push(f"test-{time.time_ns()}", Room(1000), [Batch("store_put", 1, raws)]) == [None]
            await link.close()

        asyncio.run(push())


pytestmark = pytest.mark.usefixtures("redis_binary")


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """For tests that leave it as it was, whatever their order."""
    with up(tmp_path_factory.mktemp("up") / "output") as found:
        yield found


@contextmanager
def up(output: Path) -> Iterator[Fabric]:
    with TemporaryDirectory(prefix="gorgond-") as data:
        port = free_port()
        arguments = ("--no-provider", "--web", "1", "--stores", "1", "--port", str(port), "--stats-port", "0")
        with started("up", "--data", data, *arguments, output=output) as process:
            eventually(lambda: "all is up" in output.read_text())
            found = Fabric(Path(data), port, output)
            yield found
            process.terminate()
            process.wait(timeout=60)


def test_what_is_well_is_told_in_the_first_line(fabric: Fabric) -> None:
    shown = fabric.well().splitlines()
    assert shown[0] == "● All is well"
    assert any(line.startswith(f"broker {fabric.data}/broker.sock: Redis ") for line in shown)
    assert json.loads(fabric.well("--json"))["verdict"]["state"] == "well"
    for instance in ("web@1", "store@1", "journal@1", "stats@1"):
        eventually(lambda: fabric.state(instance) == "up")  # noqa: B023 - asked here and now
    assert fabric.ok("instances").splitlines()[0].startswith("instance ")
    eventually(lambda: "store_get" in {row["name"] for row in fabric.json("queues")})


def test_the_operator_gives_roles(fabric: Fabric) -> None:
    # given a user
    login = {"email": "ada@notes.example", "password": "a violin in the attic"}
    assert asked(f"{fabric.url}/auth/register", json.dumps({**login, "name": "Ada"}).encode())
    assert fabric.ok("roles", "ada@notes.example") == "ada@notes.example has no role\n"
    # when the operator gives them roles, then these are all that they have
    assert fabric.json("roles", "Ada@notes.example", "editor", "admin") == {"roles": ["editor", "admin"]}
    assert fabric.ok("roles", "ada@notes.example", "admin") == "ada@notes.example has admin\n"
    begun = json.loads(asked(f"{fabric.url}/auth/login", json.dumps(login).encode()) or b"")
    assert begun["user"]["roles"] == ["admin"]
    assert fabric.json("roles", "ada@notes.example", "--none") == {"roles": []}
    # and who is not there has none
    assert "there is no user b@notes.example" in fabric.run("roles", "b@notes.example", "admin").stderr


def test_a_job_is_traced_through_a_pause(fabric: Fabric) -> None:
    # given a queue from which nothing is taken
    assert fabric.ok("queues").count("paused") == 0
    fabric.add("the queue is used")
    assert fabric.ok("pause", "store_put") == "store_put is paused: pushes go on, nothing is taken from it\n"
    # when a job comes
    id = fabric.add("waits")
    # then it waits, and all is not well
    assert re.search(r"^store_put +waits, 0 before it +items.insert +sent ", fabric.ok("trace", id), re.MULTILINE)
    eventually(lambda: "Degraded: queue store_put is paused, with 1 message waiting" in fabric.run("status").stdout)
    assert fabric.run("status").returncode == 1
    assert [row["paused"] for row in fabric.json("queues") if row["name"] == "store_put"] == [True]
    # until the queue is resumed
    assert fabric.json("resume", "store_put") == {"done": ["store_put is resumed"]}
    assert fabric.json("resume", "store_put") == {"done": ["store_put was not paused"]}
    eventually(lambda: len(fabric.json("trace", id)["events"]) == 1)
    found = fabric.json("trace", id)
    assert [item["title"] for item in found["stored"]] == ["waits"]
    assert re.fullmatch(rf"[0-9T:.+-]+ items.added {id}", found["events"][0])
    shown = fabric.ok("trace", id)
    assert "database  is stored  item" in shown
    assert "events    is logged  20" in shown


@pytest.mark.parametrize(
    ("op", "args", "why"),
    [("items.insert", '{"nonsense":1}', "nonsense: not an argument here"), ("items.nonsense", "{}", "store_put takes")],
)
def test_a_refused_job_that_nobody_waits_for_is_found(
    tmp_path_factory: pytest.TempPathFactory, op: str, args: str, why: str
) -> None:
    # given jobs of an unknown operation, or with an unknown argument, and nobody who waits for an answer
    with up(tmp_path_factory.mktemp("refused") / "output") as fabric:
        fabric.push(b'{"id":"refused-1","op":"%s","args":%s,"sent":1}' % (op.encode(), args.encode()))
        # then it is a dead letter with the reason; trace finds it
        eventually(lambda: fabric.json("dead", "list", "store_put"))
        (letter,) = fabric.json("dead", "list", "store_put")
        assert letter["reason"].startswith("refused: 400: ")
        assert why in letter["reason"]
        assert "store_put  was given up: dead letter 1" in fabric.ok("trace", "refused-1")
        # and the log has a line, and the books are even
        assert "gives up 1 message of store_put: refused: 400: " in fabric.output.read_text()

        def even() -> bool:
            rows = {row["name"]: row for row in fabric.json("queues")}
            row = rows.get("store_put")
            return row is not None and (row["dead"], row["done"], row["difference"]) == (1, 0, 0)

        eventually(even)


def test_what_nobody_knows_has_no_trace(fabric: Fabric) -> None:
    done = fabric.run("trace", "nobody")
    assert done.returncode == 1
    assert done.stdout.startswith("there is no trace of nobody: ")


def test_a_slip_of_the_keyboard_pauses_nothing(fabric: Fabric) -> None:
    done = fabric.run("pause", "store_gte")
    assert done.returncode == 1
    assert done.stderr.startswith("gorgonctl: there is no queue store_gte; there are ")


def test_a_group_that_nobody_consumes_is_seen_and_dropped(fabric: Fabric) -> None:
    # given a group of an application that is not there any more
    async def join() -> None:
        link = connect(f"unix://{fabric.data}/broker.sock").link("test")
        await link.join("store_notify", "removed", 1000)
        await link.close()

    asyncio.run(join())
    fabric.add("an event for it")
    # then it is shown beside what is consumed, with what it keeps
    rows = eventually(lambda: {row["name"]: row for row in fabric.json("groups") if row["kept"] or row["idle"]})
    eventually(lambda: {row["name"]: row["kept"] for row in fabric.json("groups")}["store_notify/removed"] == 1)
    assert "store_notify/journal" in rows
    assert re.search(r"^store_notify/removed +1 .* 1,000 +never consumed$", fabric.ok("groups"), re.MULTILINE)
    # when it is dropped, then it is gone, and that is in the log
    dropped = "the group store_notify/removed is dropped, and the 1 event that it kept"
    assert fabric.ok("groups", "drop", "store_notify/removed") == f"{dropped}\n"
    eventually(lambda: dropped in fabric.output.read_text())
    assert "removed" not in fabric.ok("groups")
    # but one that is consumed, or is not there, is not dropped
    done = fabric.run("groups", "drop", "store_notify/journal")
    assert (done.returncode, done.stderr[:50]) == (1, "gorgonctl: store_notify/journal is consumed: stop what co"[:50])
    done = fabric.run("groups", "drop", "store_notify/removed")
    assert done.stderr.startswith("gorgonctl: there is no group store_notify/removed; there are ")


@pytest.fixture
def troubled(tmp_path: Path) -> Iterator[Fabric]:
    """For a test after which all is not well for a while."""
    with up(tmp_path / "output") as found:
        yield found


def test_dead_letters_are_listed_shown_put_back_and_dropped(troubled: Fabric) -> None:
    assert troubled.ok("dead", "list") == "there are no dead letters\n"
    # given two messages that are none
    troubled.push(b"\xff\xfe garbage", b'{"id":7}')
    eventually(lambda: len(troubled.json("dead", "list")) == 2)
    # then they are shown with the reason
    table = troubled.ok("dead", "list", "store_put").splitlines()
    assert re.match(r"store_put +1 +\S+ +0 +no message +undecodable: does not begin", table[1])
    assert "\\xff\\xfe garbage" in troubled.ok("dead", "show", "store_put", "1")
    assert '  "id": 7' in troubled.ok("dead", "show", "store_put", "2")
    assert troubled.run("dead", "show", "store_put", "9").returncode == 1
    # when one is put back it is handled, and given up, again
    assert troubled.ok("dead", "requeue", "store_put", "1") == "1 dead letter of store_put put back into the queue\n"
    eventually(lambda: [row["letter"] for row in troubled.json("dead", "list")] == ["2", "3"])
    # when a letter is not there, nothing is done
    assert "store_put has no dead letter 1; there are 2 3" in troubled.run("dead", "drop", "store_put", "2", "1").stderr
    assert troubled.ok("dead", "drop", "store_put", "--all") == "2 dead letters of store_put deleted\n"
    assert troubled.json("dead", "list") == []
    # and the log has who did what
    did = rf"the operator \({re.escape(os.environ.get('SUDO_USER', f'uid {os.getuid()}'))}\): "
    for what in ("1 dead letter of store_put put back into the queue", "2 dead letters of store_put deleted"):
        assert re.search(did + what, troubled.output.read_text())


def test_what_a_client_wrote_does_nothing_to_the_operators_terminal(troubled: Fabric) -> None:
    bad = "\x1b]0;owned\x07\x9b2J\u202e"
    troubled.push(dumps({"id": bad, "op": f"items.{bad}", "sent": 1, "args": {bad: bad}}))
    eventually(lambda: troubled.json("dead", "list"))
    for command in (["list"], ["show", "store_put", "1"], ["list", "--json"]):
        shown = troubled.ok("dead", *command)
        assert "]0;owned" in shown
        assert all(line.isprintable() for line in shown.split("\n"))
    [row] = troubled.json("dead", "list")
    assert row["id"] == bad
    assert all(line.isprintable() for line in troubled.output.read_text().split("\n"))


def test_an_instance_is_drained_and_started_again(fabric: Fabric) -> None:
    shown = fabric.ok("drain", "journal@1")
    assert "journal@1 has finished and ended" in shown
    eventually(lambda: fabric.state("journal@1") == "gone")
    assert fabric.json("restart", "journal") == {"done": ["restarting journal@1"]}
    eventually(lambda: fabric.state("journal@1") == "up")
    done = fabric.run("drain", "journal@9")
    assert done.returncode == 1
    assert "there is no journal@9 here" in done.stderr


def test_a_role_is_scaled_while_it_runs(fabric: Fabric) -> None:
    assert fabric.ok("scale", "journal", "2") == "started journal@2\n"
    eventually(lambda: fabric.state("journal@2") == "up")
    assert fabric.ok("scale", "journal", "1") == "stopping journal@2\n"
    assert fabric.run("scale", "journal", "many").returncode == 1


def test_without_a_stats_server_it_looks_itself(fabric: Fabric) -> None:
    fabric.ok("drain", "stats@1")
    try:
        found = json.loads(fabric.well("--json"))
        assert {"web", "store", "journal"} <= {row["role"] for row in found["roles"] if row["up"] == 1}
        assert found["uptime"] < 60
        assert "store_put" in fabric.ok("queues")
    finally:
        fabric.ok("restart", "stats@1")


# ---- top


class Terminal:
    """A terminal with a program in it; `frame` is what it has drawn last."""

    def __init__(self, command: list[str], rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        environ = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], cwd=ROOT, env=environ, stdin=slave, stdout=slave, stderr=slave
        )
        self.slave = slave
        self.written = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def frame(self) -> list[str]:
        while select.select([self.master], [], [], 0.05)[0]:
            self.written += os.read(self.master, 1 << 16).decode(errors="replace")
        whole = self.written.rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
        return [line.removesuffix("\x1b[K") for line in whole.split("\r\n")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)
        os.close(self.master)
        os.close(self.slave)


def shown(frame: list[str], *starts: str) -> bool:
    """Whether for each there is a line that starts with it."""
    return all(any(line.startswith(start) for line in frame) for start in starts)


def test_top_shows_all_fits_the_terminal_and_leaves_it_as_it_was(fabric: Fabric) -> None:
    terminal = Terminal([*CONTROL, "top", "--data", str(fabric.data)], 50, 150)
    try:
        # given the whole picture on a large terminal, each line of it in its place
        frame = eventually(lambda: frame if shown(frame := terminal.frame(), "store@1.", "web@1.") else [])
        assert frame[0][0] in "●▲○"
        assert (len(frame), frame[-1]) == (50, "q quits")
        # when the terminal is made smaller, then it shows what has room
        terminal.resize(8, 40)
        small = eventually(lambda: frame if len(frame := terminal.frame()) == 8 else [])
        assert (small[0][0] in "●▲○", small[-1]) == (True, "q quits")
        assert max(map(len, small)) <= 40
        # when q is pressed, then it ends, and the terminal is as it was
        os.write(terminal.master, b"q")
        assert terminal.process.wait(timeout=60) == 0
        terminal.frame()
        assert terminal.written.endswith("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_top_wants_a_terminal(fabric: Fabric) -> None:
    done = fabric.run("top")
    assert done.returncode == 1
    assert done.stderr == "gorgonctl: top needs a terminal; gorgonctl status shows the same once\n"


# ---- when nothing runs


def test_where_no_broker_answers_it_says_so_at_once(expected_logs: Callable[[str], None]) -> None:
    expected_logs("is away, waiting for it")
    with TemporaryDirectory(prefix="gorgond-") as data:
        nothing = Fabric(Path(data), 1, Path(os.devnull))
        status = nothing.run("status")
        assert status.returncode == 2
        assert status.stdout.startswith(f"✖ Down: broker {data}/broker.sock has been away for 0 s: ")
        for arguments in (["queues"], ["instances"], ["dead", "list"], ["pause", "q"], ["trace", "x"]):
            done = nothing.run(*arguments)
            assert done.returncode == 69, arguments
            assert re.match(r"gorgonctl: the broker .*does not answer: ", done.stderr)
        assert nothing.run("drain", "store@1").returncode == 1


def test_a_web_server_answers_meanwhile(fabric: Fabric) -> None:
    """The commands above have left the fabric as it was."""
    assert asked(f"{fabric.url}/info/5") is not None
    assert fabric.well()
