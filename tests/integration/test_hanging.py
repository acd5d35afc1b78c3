"""A test that hangs ends, says where, and leaves nothing: hanging.py and bounded.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.programs import ROOT
from tests.waiting import HANGS

PLUGIN = """
from tests.hanging import Watch

def pytest_configure(config):
    config.pluginmanager.register(Watch(config))
"""
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null"]
BOUNDED = "import sys; from tests import bounded; bounded.GRACE = 2; sys.exit(bounded.main(*sys.argv[1:]))"

ONE_HANGS = """
import pathlib, threading, pytest

@pytest.fixture
def server():
    yield
    pathlib.Path(__file__).with_name("closed").touch()

def test_hangs(server):
    wait_for_nobody()

def wait_for_nobody():
    threading.Event().wait()

def test_that_follows():
    pass
"""
NOTHING_INTERRUPTS_IT = """
import pathlib, subprocess, time

def test_hangs():
    command = "sleep 1000 >/dev/null 2>&1 & echo $!"
    pid = subprocess.run(["setsid", "sh", "-c", command], capture_output=True, text=True).stdout
    pathlib.Path(__file__).with_name("started").write_text(pid)
    while True:
        try:
            wait_for_nobody()
        except BaseException:
            pass

def wait_for_nobody():
    time.sleep(1000)
"""


def pytest_of(directory: Path, text: str) -> list[str]:
    """The command that runs these tests, with the plugin."""
    (directory / "conftest.py").write_text(PLUGIN)
    (directory / "test_some.py").write_text(text)
    return [*PYTEST, f"--rootdir={directory}", f"--basetemp={directory}/base", str(directory)]


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environ}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANGS
    )


def test_a_test_that_hangs_fails_its_fixtures_are_closed_and_others_go_on(tmp_path: Path) -> None:
    done = run(*pytest_of(tmp_path, ONE_HANGS), ASYNC_TEST_SECONDS="2")
    assert "1 failed, 1 passed" in done.stdout
    assert "test_some.py::test_hangs (call) has taken 3 s" in done.stderr
    assert "in wait_for_nobody" in done.stderr
    assert (tmp_path / "closed").exists()


def test_a_stage_that_hangs_is_ended_says_in_which_test_and_what_it_had_started_goes(tmp_path: Path) -> None:
    command = [*pytest_of(tmp_path, NOTHING_INTERRUPTS_IT), "-n", "1", "-v"]
    # when its time is over, which was enough for the test to begin and to start something that nobody waits for
    started = tmp_path / "started"
    for seconds in ("5", "20", "80", "320"):
        done = run(sys.executable, "-c", BOUNDED, seconds, *command)
        if started.exists():
            break
    # then it has ended, and what it had started
    assert done.returncode == 124
    assert "test_some.py::test_hangs" in done.stdout
    assert "test_some.py::test_hangs (call) is told to end" in done.stderr
    assert "in wait_for_nobody" in done.stderr
    assert "left behind, and killed: " in done.stderr
    assert not psutil.pid_exists(int(started.read_text()))
