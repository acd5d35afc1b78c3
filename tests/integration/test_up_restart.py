"""`gorgond up` is to services what systemd is: it knows who is ready and ends what hangs; a roll stops at a failure."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest

from gorgond.roles import ROLES
from tests.conftest import MongodServer
from tests.integration.upping import SHOP, Running, up_with
from tests.programs import asked
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("redis_binary")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with up_with(tmp_path, "--no-provider", "--stores", "1") as made:
        yield made


def test_a_typo_stops_the_roll_at_the_first_and_the_rest_stays(running: Running) -> None:
    # given a typo in one's module
    before = running.processes()
    running.module.write_text(SHOP.replace("async def shop(ctx)", "async def shop(ctx, n: 'itn')"))
    # when its servers are restarted, then the first says which line it is, and no other is touched
    code, said = running.ctl("restart", "web", "app")
    assert code == 1
    assert "restarting app@1\n" in said
    assert "restarting app@2" not in said
    assert "app@1 was not ready before it ended with exit code 78: wrong configuration: " in said
    assert f"{running.module}:6: NameError: name 'itn' is not defined" in said
    told = re.compile(r"Degraded: instance app@1\.\S+ cannot run: wrong configuration: \S+ta_shop.py:6: ")
    eventually(lambda: told.search(running.verdict()))
    after = running.processes()
    assert after.pop("app@1") == (0, "failed")
    assert after == {name: each for name, each in before.items() if name != "app@1"}
    assert running.shop() == '"first"'
    # and the next stats server says so, too
    assert running.ctl("restart", "stats")[0] == 0
    eventually(lambda: told.search(running.verdict()))
    # and one that dies meanwhile cannot come back, and takes nobody along
    os.kill(after["web@1"][0], signal.SIGKILL)
    eventually(lambda: running.processes()["web@1"] == (0, "failed"))
    assert running.shop() == '"first"'
    # when the module is mended, then all of them come
    running.module.write_text(SHOP.replace("first", "second"))
    code, said = running.ctl("restart", "web", "app")
    assert (code, said) == (0, "".join(f"restarting {each}\n" for each in ("app@1", "app@2", "web@1", "web@2")))
    assert running.shop() == '"second"'


def test_a_roll_leaves_no_second_without_a_server(running: Running) -> None:
    # given clients that ask all the time
    over, failed, longest = threading.Event(), [], [0]

    def client() -> None:
        while not over.is_set():
            if running.shop() is None:
                failed.append("a request")

    def look() -> None:
        while not over.is_set():
            states = [state for name, (_, state) in running.processes().items() if name.startswith("web@")]
            longest[0] = max(longest[0], sum(state != "up" for state in states))

    threads = [threading.Thread(target=each) for each in (client, client, look)]
    for thread in threads:
        thread.start()
    # when all is restarted
    code, _ = running.ctl("restart")
    over.set()
    for thread in threads:
        thread.join()
    # then no request fails, and there never was a moment without a web server
    assert (code, failed, longest[0]) == (0, [], 1)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_what_hangs_or_dies_is_started_again(running: Running, number: signal.Signals) -> None:
    # given a process that is stopped, or killed
    hung, _ = running.processes()["web@1"]
    os.kill(hung, number)
    # then another comes in its place
    eventually(lambda: running.processes()["web@1"][1] == "up" and running.processes()["web@1"][0] != hung, 120)
    assert not psutil.pid_exists(hung)
    assert ("web@1 has not said for 15 s that it lives: it is ended" in running.written) == (number == signal.SIGSTOP)


def test_while_it_is_stopped_itself_its_services_work_and_none_is_ended(running: Running) -> None:
    # given that somebody stops it (Ctrl-Z) for longer than any of its services may be silent
    before = running.processes()
    parent = psutil.Process(psutil.Process(before["web@1"][0]).ppid())
    parent.suspend()
    until = time.monotonic() + ROLES["web"].unit.watchdog + 5
    try:
        eventually(lambda: running.shop() != '"first"' or time.monotonic() > until)
        assert running.shop() == '"first"'
    finally:
        parent.resume()
    # then it finds all as they were
    eventually(lambda: running.processes() == before)


def test_a_roll_stops_where_the_database_does_not_let_one_in(
    tmp_path: Path, mongod_factory: Callable[..., MongodServer]
) -> None:
    # given stores whose password is good
    mongod = mongod_factory()
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(mongod.url, serverSelectionTimeoutMS=20_000)
    with closing(client):
        client.admin.command("createUser", "ada", pwd="good", roles=["root"], writeConcern={"w": 1, "j": True})
    mongod.kill()
    mongod.options = ("--auth",)
    mongod.start()
    file = tmp_path / "gorgond.conf"

    def configured(password: str) -> None:
        url = f"{mongod.url.replace('://', f'://ada:{password}@')}notes?authSource=admin"
        file.write_text(f"[store]\nurl = {url}\n")

    configured("good")
    with up_with(tmp_path, "--no-provider", "--config", str(file), "--apps", "0", "--web", "1") as running:
        before = running.processes()
        # when a wrong one is configured, and they are restarted
        configured("wrong")
        code, said = running.ctl("restart", "store")
        # then the first is refused, which is said, and the other one works on
        assert (code, "restarting store@2" in said) == (1, False)
        assert "store@1 was not ready before it ended with exit code 1: failed: MongoDB does not let us in" in said
        assert running.processes()["store@2"] == before["store@2"]
        assert json.loads(asked(f"http://localhost:{running.port}/info/5") or b"")["items"] == []
        # and while a database is away, a roll goes on
        mongod.kill()
        assert running.ctl("restart", "store")[0] == 0
        mongod.start()
