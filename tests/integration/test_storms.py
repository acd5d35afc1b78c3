"""A process that was stopped, and one whose connections are killed all the time: what its log says of it."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gorgond.redpill.broker import BLOCK
from gorgond.redpill.meaning import ROUND_TIMEOUT
from gorgond.redpill.outage import LATE
from gorgond.service.stall import STOOD
from tests.conftest import RedisServer
from tests.programs import started
from tests.waiting import eventually

STOPPED = max(BLOCK + ROUND_TIMEOUT + LATE, STOOD) + 1.5  # seconds after which every limit of a round is over, and late
KILLS = 60


def environ(directory: Path, redis: RedisServer) -> dict[str, str]:
    return {
        "GORGOND_BROKER_URL": redis.url,
        "GORGOND_STORE_URL": f"sqlite:///{directory}/test.db",
        "GORGOND_APP_MODULE": "gorgond.app.notes",
    }


@pytest.mark.parametrize("role", ["auth", "stats", "store"])
def test_a_process_that_was_stopped_says_so_and_blames_nobody(
    role: str, redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    redis = redis_factory(appendonly="yes")
    output = tmp_path / "log"
    with started(role, output=output, **environ(tmp_path, redis)) as process:
        eventually(lambda: " started" in output.read_text())
        eventually(lambda: f"gorgon:{role}@" in redis.cli("CLIENT", "LIST"))
        # when it stands still for longer than it waits for any answer
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(STOPPED)
        os.kill(process.pid, signal.SIGCONT)
        # then it says that, and not that the broker was away
        eventually(lambda: "this process was stopped for " in output.read_text())
        process.terminate()
        assert process.wait(timeout=60) == 0
    said = output.read_text()
    assert float(re.findall(r"was stopped for (\S+) s", said)[0]) > STOPPED / 2
    assert "is away" not in said
    assert "blocks the event loop" not in said


def test_a_storm_of_killed_connections_is_a_few_lines(
    redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    redis = redis_factory(appendonly="yes")
    output = tmp_path / "log"
    with started("auth", output=output, **environ(tmp_path, redis)) as process:
        eventually(lambda: " started" in output.read_text())
        # when somebody kills all its connections again and again
        for _ in range(KILLS):
            redis.cli("CLIENT", "KILL", "TYPE", "normal")
            redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
            threading.Event().wait(0.05)
        eventually(lambda: "gorgon:auth@" in redis.cli("CLIENT", "LIST"))
        process.terminate()
        assert process.wait(timeout=60) == 0
    # then it is told once, not with each
    warnings = [line for line in output.read_text().splitlines() if " warning " in line and "appendonly" not in line]
    away = [line for line in warnings if "is away, waiting for it" in line]
    assert len(away) == 1, away
    assert len(warnings) <= 4, warnings
