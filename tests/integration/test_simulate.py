"""`gorgond simulate`: the whole thing in one process, and a real process in the place of one of its roles."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path
from typing import Any

from tests.conftest import RedisServer
from tests.programs import asked, free_port, gorgond, started
from tests.waiting import eventually


def notes(url: str) -> list[dict[str, Any]]:
    """The notes that a web server answers with; none while it does not."""
    found: list[dict[str, Any]] = json.loads(asked(url) or b'{"items": []}')["items"]
    return found


def test_everything_in_one_process(tmp_path: Path) -> None:
    # given a simulation with 200 notes for 10 users
    port, output = free_port(), tmp_path / "output"
    arguments = ["simulate", "--port", str(port), "--count", "200", "--users", "10", "--rate", "1000"]
    with started(*arguments, output=output) as process:
        # when a user's notes are asked for
        url = f"http://localhost:{port}/info/5?lim=100"
        eventually(lambda: len(notes(url)) == 20, 20)
        # then they are there, the newest first
        assert [note["id"] for note in notes(url)][:2] == ["random-0-195", "random-0-185"]
        # and the queues are shown
        eventually(lambda: re.search(r"store_put +0 +0 +0 +0", output.read_text()))
        # and Ctrl-C drains
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    written = output.read_text()
    assert "pushed 200 items in " in written
    assert written.count("ended") == 6


def test_runs_for_as_long_as_it_is_told_to() -> None:
    done = gorgond("simulate", "--duration", "1.5", "--port", str(free_port()), "--count", "10")
    assert done.returncode == 0
    assert "store     consuming store_get, store_put" in done.stdout


def test_a_real_store_takes_the_place_of_the_simulated_one(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given a simulation without a store, on a real Redis
    port, output = free_port(), tmp_path / "output"
    arguments = ["simulate", "--broker", shared_redis.url, "--without", "store", "--port", str(port)]
    with started(*arguments, "--count", "50", "--users", "5", "--rate", "1000", output=output) as simulation:
        # whose notes wait in the queue
        eventually(lambda: re.search(r"store_put +50 ", output.read_text()), 20)
        # when a real store process starts
        url = f"sqlite:///{tmp_path / 'test.db'}"
        with started("store", "--broker", shared_redis.url, "--store", url, output=tmp_path / "store") as store:
            # then it writes them and answers the simulated web server
            address = f"http://localhost:{port}/info/3"
            eventually(lambda: len(notes(address)) == 10, 20)
            # and both end in order
            for process in (simulation, store):
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=20) == 0


def test_a_taken_port_ends_it_with_exit_code_78() -> None:
    with socket.create_server(("", 0)) as taken:
        done = gorgond("simulate", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 78
    assert "cannot listen on" in done.stderr
