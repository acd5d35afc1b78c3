"""Applications in real processes: killed in the middle of a request, changed while they run, wrong from the start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RedisServer
from tests.programs import ROOT, asked, gorgond
from tests.waiting import HANGS, eventually
from tools.speed.ports import free_port

MODULE = '''
import asyncio
import os
from pathlib import Path

from gorgond import App

HERE = Path(__file__).parent
app = App("trial")


def note(what):
    with (HERE / "notes").open("a") as file:
        file.write(f"{what} {os.getpid()}\\n")


@app.get("/slow/{n:int}")
async def slow(ctx, n: int):
    """Takes until the test lets it go."""
    note(f"slow{n}")
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return {"n": n, "pid": os.getpid()}


@app.get("/version")
async def version(ctx):
    return 1


@app.every(1)
async def tick(ctx):
    note("tick")
'''


class Trial:
    """A web server, two app servers and a Redis, with an application that the test may change."""

    def __init__(self, directory: Path, broker: str, closing: ExitStack) -> None:
        self.directory = directory
        self.port = free_port()
        self.module = directory / "trial_app.py"
        self.module.write_text(MODULE)
        self._broker = broker
        self._closing = closing
        self.web = self.start("web", "1", "--port", str(self.port), "--deadline", "30s")
        self.apps = {number: self.start("app", number) for number in ("1", "2")}
        for name in ("web1", "app1", "app2"):  # before that a SIGHUP would be its end
            eventually(lambda name=name: " started" in self.log(name))  # type: ignore[misc]
        eventually(lambda: self.get("/version") == 1)

    def start(self, role: str, number: str, *arguments: str) -> subprocess.Popen[bytes]:
        """An instance that takes others for dead after a second."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
        environ = {
            "TEST_SILENCE": "1",
            "TEST_LEASE": "3",
            "PYTHONPATH": str(self.directory),
            "GORGOND_CONFIG": os.devnull,
        }
        command = [sys.executable, "-m", "tests.integration.runner", role, "--instance", number]
        command += ["--module", "trial_app", "--directory", "", "--broker", self._broker, *arguments]
        with (self.directory / f"{role}{number}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env={**kept, **environ}, stdout=log, stderr=log)
        self._closing.callback(process.wait)
        self._closing.callback(process.kill)
        return process

    def get(self, path: str) -> Any:
        """The value that is answered; None when there is no success."""
        answer = asked(f"http://localhost:{self.port}{path}")
        return None if answer is None else json.loads(answer)

    def notes(self, what: str) -> list[int]:
        """The processes in which this happened, in order."""
        path = self.directory / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == what]

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()


@pytest.fixture
def trial(redis_factory: Callable[..., RedisServer], tmp_path: Path) -> Iterator[Trial]:
    with ExitStack() as closing:
        yield Trial(tmp_path, redis_factory(appendonly="yes").url, closing)


def test_a_request_whose_instance_is_killed_is_answered_by_another(trial: Trial) -> None:
    with ThreadPoolExecutor(1) as pool:
        # given a request that is being handled
        answer: Future[Any] = pool.submit(trial.get, "/slow/1")
        [pid] = eventually(lambda: trial.notes("slow1"))
        # when its instance is killed, and nobody starts it again
        os.kill(pid, signal.SIGKILL)
        (trial.directory / "go").touch()
        # then another one answers it
        found = answer.result(30)
    assert found["n"] == 1
    assert found["pid"] != pid
    assert found["pid"] in {process.pid for process in trial.apps.values()}


def test_its_successor_finds_the_request_at_once(trial: Trial) -> None:
    with ThreadPoolExecutor(1) as pool:
        # given a request that is being handled by the only instance there is
        trial.apps["2"].send_signal(signal.SIGTERM)
        assert trial.apps["2"].wait(timeout=60) == 0
        answer: Future[Any] = pool.submit(trial.get, "/slow/1")
        [pid] = eventually(lambda: trial.notes("slow1"))
        # when it is killed and started again, as systemd does
        os.kill(pid, signal.SIGKILL)
        successor = trial.start("app", "1")
        (trial.directory / "go").touch()
        # then its successor answers
        assert answer.result(30) == {"n": 1, "pid": successor.pid}


def test_what_runs_every_second_moves_when_its_instance_is_killed(trial: Trial) -> None:
    # given one of the two runs it
    eventually(lambda: len(trial.notes("tick")) >= 2)
    pid = trial.notes("tick")[-1]
    # when that one is killed
    os.kill(pid, signal.SIGKILL)
    # then the other one does
    before = len(trial.notes("tick"))
    eventually(lambda: len(trial.notes("tick")) >= before + 2)
    [other] = {process.pid for process in trial.apps.values()} - {pid}
    assert set(trial.notes("tick")[before:]) == {other}


def test_a_changed_module_is_served_after_a_reload_and_a_wrong_one_is_refused(trial: Trial) -> None:
    processes = [*trial.apps.values(), trial.web]
    # when the module is changed, in what it does and in its routes
    changed = MODULE.replace("return 1", "return 22").replace('"/version"', '"/versions/{which}"')
    trial.module.write_text(changed.replace("def version(ctx)", "def version(ctx, which: str)"))
    for process in processes:
        process.send_signal(signal.SIGHUP)
    # then it is served
    eventually(lambda: trial.get("/versions/new") == 22)
    assert trial.get("/version") is None
    description = trial.get("/openapi.json")
    assert "/versions/{which}" in description["paths"]
    # when it is broken, then that is told, and the old one stays
    trial.module.write_text("app = App('trial')\n")
    for process in processes:
        process.send_signal(signal.SIGHUP)
    for name in ("app1", "app2", "web1"):
        eventually(lambda name=name: f"{trial.module}:1: NameError" in trial.log(name))  # type: ignore[misc]
    assert trial.get("/versions/new") == 22
    # and all end in order
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("role", ["web", "app"])
def test_a_module_that_cannot_be_loaded_is_one_line_and_exit_code_78(role: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\nimport nothing_of_this_name\n")
    done = gorgond(
        role, "--module", "broken", "--port" if role == "web" else "--requests", "1", PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 78
    assert f"{tmp_path}/broken.py:2: ModuleNotFoundError" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_examples_pass_their_own_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-c", os.devnull, "."],
        cwd=ROOT / "examples/notes", check=False, capture_output=True, text=True, timeout=HANGS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
