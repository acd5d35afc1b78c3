"""Processes that are asked to end: while they start, while the broker is away, and again while they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from argparse import _SubParsersAction
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.cli import _parser
from gorgond.service import signals
from tests.conftest import RedisServer
from tests.neighbours import Neighbours
from tests.programs import ROOT, started
from tests.waiting import HANGS, eventually

ROLES = [each for each in signals.SERVERS if each != "up"]
SOON = {"never": 2.0, "gone": 2.0, "hung": 4.0}
"""Seconds in which ends who has nothing in hand. A broker that hangs may still answer, so a stats server offers it its
history first."""

STORM = 0.002  # seconds between two signals


def environ(directory: Path, broker: str) -> dict[str, str]:
    return {
        "GORGOND_BROKER_URL": broker,
        "GORGOND_STORE_URL": f"sqlite:///{directory}/test.db",
        "GORGOND_WEB_PORT": "0",
        "GORGOND_JOURNAL_FILE": str(directory / "events"),
        "GORGOND_APP_MODULE": "gorgond.app.notes",
        "GORGOND_PROVIDER_RANDOM_RATE": "50",
    }


def takes_signals(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has a handler for SIGTERM, by what the kernel says."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def end_in_a_storm(process: subprocess.Popen[bytes]) -> int:
    """Ask it to end again and again until it has; its exit code."""
    while process.poll() is None:
        process.terminate()
        time.sleep(STORM)
    return process.returncode


@pytest.mark.parametrize("when", ["never", "gone", "hung"])
@pytest.mark.parametrize("role", ROLES)
def test_who_has_nothing_in_hand_ends_soon_whatever_the_broker_does(
    role: str, when: str, redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    # given a process that has started, in so many seconds
    redis = redis_factory()
    if when == "never":
        redis.kill()
    output = tmp_path / "log"
    began = time.monotonic()
    with started(role, output=output, **environ(tmp_path, redis.url)) as process:
        eventually(lambda: " started" in output.read_text())
        ordinary = time.monotonic() - began
        if when == "never":
            eventually(lambda: "is away, waiting for it" in output.read_text())
        else:
            consumers = f"gorgon:{role}@"
            eventually(lambda: consumers in redis.cli("CLIENT", "LIST"))
        # when its broker is away, or hangs, and it is asked to end
        if when == "gone":
            redis.kill()
        elif when == "hung":
            redis.pause()
        with Neighbours() as neighbours:
            asked = time.monotonic()
            process.terminate()
            # then it does, in order, without waiting for what will not come
            assert process.wait(timeout=60) == 0
            took = time.monotonic() - asked
            assert took < SOON[when] * neighbours.slowdown + 2 * ordinary, output.read_text()
        assert "could not finish" not in output.read_text()


@pytest.mark.parametrize("command", signals.SERVERS)
def test_who_is_asked_to_end_as_soon_as_it_can_hear_it_ends_well(command: str, tmp_path: Path) -> None:
    broker = f"unix://{tmp_path}/none.sock"
    arguments = ("--data", str(tmp_path / "up"), "--port", "0") if command == "up" else ()
    for _ in range(3):
        with started(command, *arguments, output=tmp_path / "log", **environ(tmp_path, broker)) as process:
            eventually(lambda: takes_signals(process))
            assert end_in_a_storm(process) == 0


@pytest.mark.parametrize("role", ROLES)
def test_who_is_asked_twice_ends_as_well_as_who_is_asked_once(
    role: str, shared_redis: RedisServer, tmp_path: Path
) -> None:
    output = tmp_path / "log"
    with started(role, output=output, **environ(tmp_path, shared_redis.url)) as process:
        eventually(lambda: " started" in output.read_text())
        assert end_in_a_storm(process) == 0
        assert f"{role}@" in output.read_text()
        assert " ended" in output.read_text()


@pytest.mark.parametrize(("command", "taken"), [("web", True), ("up", True), ("client", False)])
def test_signals_are_taken_before_anything_heavy_is_imported(command: str, taken: bool) -> None:
    script = f"""
import signal, sys, types
import gorgond.__main__
def main():
    print(callable(signal.getsignal(signal.SIGTERM)))
    print([name for name in ("asyncio", "logging", "gorgond.config", "gorgond.redpill") if name in sys.modules])
    return 0
sys.argv[1:] = [{command!r}]
sys.modules["gorgond.cli"] = types.SimpleNamespace(main=main)
gorgond.__main__.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=HANGS
    )
    assert done.stdout == f"{taken}\n[]\n"


def test_every_server_is_known_to_be_one() -> None:
    choices = next(action.choices for action in _parser()._actions if isinstance(action, _SubParsersAction))
    services = {name for name, parser in choices.items() if "--queue-limit" in parser.format_help()}
    assert services | {"up"} == set(signals.SERVERS)
