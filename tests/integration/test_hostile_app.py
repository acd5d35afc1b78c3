"""Handlers that try to end more than themselves, in a real app server: it lives, and its log has their stacks."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gorgond.redpill import Message, Producer, connect
from tests.conftest import RedisServer
from tests.programs import started
from tests.waiting import LONG, eventually
from tools.speed.ports import free_port

MODULE = '''
import asyncio
import os
import sys
from pathlib import Path

from gorgond import App, Refused, Response

HERE = Path(__file__).parent
app = App("hostile")


async def deed(what):
    if what == "exit":
        sys.exit(3)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "base":
        raise BaseException("odd")
    if what == "cancel":
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
    if what == "cancel and return":
        asyncio.current_task().cancel()
    if what == "exit in another task":
        await asyncio.gather(asyncio.sleep(0), exits())
    if what == "refuse 7":
        raise Refused(7, "no")
    if what == "refuse nothing":
        raise Refused("x", "no")
    if what == "refuse 499":
        raise Refused(499, "no")
    if what == "everybody":
        for task in asyncio.all_tasks():
            task.cancel()


async def exits():
    sys.exit(3)


@app.get("/do/{what}")
async def do(ctx, what: str):
    await deed(what)
    return os.getpid()


@app.get("/text/{status:int}/{size:int}")
async def text(ctx, status: int, size: int):
    return Response("x" * size, status=status, content_type="text/plain")


@app.get("/wait")
async def wait(ctx):
    """Answers when the test lets it."""
    (HERE / "waiting").touch()
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return os.getpid()


@app.on("deeds")
async def heard(ctx, event):
    with (HERE / "heard").open("a") as file:
        file.write(event.op + "\\n")
    await deed(event.op)


@app.every(1)
async def often(ctx):
    with (HERE / "often").open("a") as file:
        file.write("once\\n")
    what = HERE / "often does"
    if what.exists():
        await deed(what.read_text())
'''

DEEDS = ["exit", "interrupt", "base", "cancel", "cancel and return", "exit in another task"]


class HostileApp:
    """A web server and an app server with that application."""

    def __init__(self, directory: Path, broker: RedisServer, closing: ExitStack) -> None:
        self.directory = directory
        self.broker = broker.url
        self.port = free_port()
        (directory / "hostile_app.py").write_text(MODULE)
        common = ("--module", "hostile_app", "--directory", "", "--broker", broker.url)
        environ = {"PYTHONPATH": str(directory)}
        self.web = closing.enter_context(
            started("web", *common, "--port", str(self.port), output=directory / "web.log", **environ)
        )
        self.app = closing.enter_context(started("app", *common, output=directory / "app.log", **environ))
        for name in ("web", "app"):
            eventually(lambda name=name: " started" in self.log(name))  # type: ignore[misc]
        broker.wait_for_group("deeds", "hostile")

    def get(self, path: str, accept: str = "application/json") -> tuple[int, bytes]:
        """Status and body."""
        request = Request(f"http://localhost:{self.port}{path.replace(' ', '%20')}", headers={"Accept": accept})
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []

    def log(self, name: str = "app") -> str:
        return (self.directory / f"{name}.log").read_text()


@pytest.fixture
def site(redis_factory: Callable[..., RedisServer], tmp_path: Path) -> Iterator[HostileApp]:
    with ExitStack() as closing:
        yield HostileApp(tmp_path, redis_factory(appendonly="yes"), closing)


def test_a_request_is_500_and_its_neighbour_is_answered(site: HostileApp) -> None:
    # given a request under way
    with ThreadPoolExecutor(1) as threads:
        neighbour = threads.submit(site.get, "/wait")
        eventually((site.directory / "waiting").exists)
        # when handlers do their worst
        for what in [*DEEDS, "refuse 7", "refuse nothing"]:
            before = len(site.log())
            status, body = site.get(f"/do/{what}")
            # then the client is told at once, and the log has the stack
            assert (status, json.loads(body)["error"]["code"]) == (500, 500), what
            told = site.log()[before:]
            assert "hostile.do failed" in told, what
            assert "in deed" in told or what == "cancel and return", told
        # and the neighbour is answered by the same process
        (site.directory / "go").touch()
        assert neighbour.result() == (200, str(site.app.pid).encode())
    assert site.get("/do/nothing") == (200, str(site.app.pid).encode())


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_status_without_a_name_is_answered(site: HostileApp, accept: str) -> None:
    status, body = site.get("/do/refuse 499", accept)
    assert (status, b"no" in body) == (499, True)


async def test_events_and_schedules_do_no_harm_either(site: HostileApp) -> None:
    # when handlers of events do their worst
    async with Producer(connect(site.broker, durable=False), "test") as producer:
        await producer.publish("deeds", *map(Message, DEEDS))
        await producer.publish("deeds", Message("fine"))
    # then each comes again, three times in all, and the others are heard
    eventually(lambda: sorted(site.lines("heard")) == sorted([*DEEDS * 3, "fine"]), 2 * LONG)
    # and a schedule that does goes on
    for what in DEEDS:
        (site.directory / "often does").write_text(what)
        seen = len(site.lines("often"))
        eventually(lambda seen=seen: len(site.lines("often")) >= seen + 3)  # type: ignore[misc]
    (site.directory / "often does").unlink()
    assert site.get("/do/nothing") == (200, str(site.app.pid).encode())


def test_who_cancels_every_loop_ends_the_process_which_says_so(site: HostileApp) -> None:
    site.get("/do/everybody")
    assert site.app.wait(timeout=60) == 1
    assert "was cancelled, and nobody had asked it to end" in site.log()


def test_a_hangup_while_it_starts_is_no_end(redis_server: RedisServer, tmp_path: Path) -> None:
    # given an application that takes its time to be imported
    (tmp_path / "slow_app.py").write_text(
        "import os, time\nfrom pathlib import Path\nfrom gorgond import App\napp = App('slow')\n"
        "here = Path(__file__).parent\n(here / 'importing').touch()\n"
        "while not (here / 'go').exists(): time.sleep(0.01)\n"
    )
    arguments = ("--module", "slow_app", "--directory", "", "--broker", redis_server.url)
    output = tmp_path / "log"
    with started("app", *arguments, output=output, PYTHONPATH=str(tmp_path)) as app:
        eventually((tmp_path / "importing").exists)
        # when it is asked to read its configuration again meanwhile
        os.kill(app.pid, 1)
        (tmp_path / "go").touch()
        # then it does so once it can
        eventually(lambda: "has read its configuration again" in output.read_text())
        app.terminate()
        assert app.wait(timeout=60) == 0


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_must_have_no_body_has_none(site: HostileApp, status: int, size: int) -> None:
    # when a handler gives such an answer a body all the same, and its client asks on
    with socket.create_connection(("localhost", site.port), timeout=60) as client:
        asked = (f"/text/{status}/{size}", "/healthz")
        client.sendall("".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in asked).encode())
        client.shutdown(socket.SHUT_WR)
        answers = client.makefile("rb").read()
    # then nothing of it is taken for the next answer
    first, second = answers.split(b"\r\n\r\n", 1)
    assert (first[:13], second[:13]) == (b"HTTP/1.1 %d " % status, b"HTTP/1.1 200 ")
