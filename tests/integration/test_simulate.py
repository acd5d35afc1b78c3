"""`gorgond simulate`: the whole thing in one process, and real processes in the place of its roles, one by one."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path
from typing import Any

from tests.conftest import RedisServer
from tests.programs import asked, ended, gorgond, started
from tests.waiting import eventually
from tools.speed.ports import free_port


def notes(url: str) -> list[dict[str, Any]]:
    """The notes that a web server answers with; none while it does not."""
    found: list[dict[str, Any]] = json.loads(asked(url) or b'{"items": []}')["items"]
    return found


def test_everything_in_one_process(tmp_path: Path) -> None:
    # given a simulation with 200 notes for 10 users
    port, output, events = free_port(), tmp_path / "output", tmp_path / "events.log"
    arguments = ["simulate", "--port", str(port), "--count", "200", "--users", "10", "--rate", "1000"]
    with started(*arguments, output=output, GORGOND_JOURNAL_FILE=str(events)) as process:
        # when a user's notes are asked for
        url = f"http://localhost:{port}/info/5?lim=100"
        eventually(lambda: len(notes(url)) == 20)
        # then they are there, the newest first
        assert [note["id"] for note in notes(url)][:2] == ["random:0-10-1800-195", "random:0-10-1800-185"]
        # and the queues are shown
        eventually(lambda: re.search(r"store_get .*\nstore_search .*\nstore_put +0 +0 +0 +0", output.read_text()))
        # and every note is announced to the journal, once
        eventually(lambda: events.read_text().count("\n") >= 200)
        # and Ctrl-C drains
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    written = output.read_text()
    assert "pushed 200 items in " in written
    assert written.count("ended") == 8
    assert sorted(json.loads(line)["id"] for line in events.read_text().splitlines()) == sorted(
        f"random:0-10-1800-{number}" for number in range(200)
    )


def test_runs_for_as_long_as_it_is_told_to() -> None:
    done = gorgond("simulate", "--duration", "1.5", "--port", str(free_port()), "--count", "10")
    assert done.returncode == 0
    queues = "auth_store_get, auth_store_put, notify_store_get, provider_store_get, store_get, store_put, store_search"
    assert f"store     consuming {queues}" in done.stdout


def test_real_processes_take_the_place_of_the_simulated_ones_one_by_one(
    shared_redis: RedisServer, tmp_path: Path
) -> None:
    """The way that docs/simulate.md goes. Each step has a seed of its own: 50 notes more, 10 of them of user 3."""
    port, output = str(free_port()), tmp_path / "output"
    url, database = f"http://localhost:{port}/info/3?lim=100", f"sqlite:///{tmp_path / 'test.db'}"
    broker = ("--broker", shared_redis.url)
    pushing = (*broker, "--count", "50", "--users", "5", "--rate", "1000", "--seed")
    # given a simulation without a store, on a real Redis, whose notes wait in the queue
    with started("simulate", *pushing, "1", "--port", port, "--without", "store", output=output) as simulation:
        eventually(lambda: re.search(r"store_put +50 ", output.read_text()))
        # when a real store takes its place
        with started("store", *broker, "--store", database) as store:
            # then it writes them, and answers the simulated web server
            eventually(lambda: len(notes(url)) == 10)
            assert ended(simulation) == 0
            # when a real web server takes the place of the simulated one
            less = ("--without", "store", "--without", "web")
            with (
                started("simulate", *pushing, "2", *less) as rest,
                started("web", *broker, "--port", port) as web,
            ):
                # then it answers with what the simulated provider pushes
                eventually(lambda: len(notes(url)) == 20)
                assert ended(rest) == 0
                # when the simulation is over, and a real provider pushes
                pushed = gorgond("provider", *pushing, "3")
                # then nothing of it is refused, and all is there
                assert "pushed 50 items in " in pushed.stderr
                assert "refused 0, retried 0" in pushed.stderr
                eventually(lambda: len(notes(url)) == 30)
                # and nobody's events are kept, since no journal is simulated on a real broker
                assert shared_redis.cli("EXISTS", "gorgon:{store_notify}:groups") == "0"
                # and both end in order
                assert [ended(web), ended(store)] == [0, 0]


def test_a_taken_port_ends_it_with_exit_code_78() -> None:
    with socket.create_server(("", 0)) as taken:
        done = gorgond("simulate", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 78
    assert "cannot listen on" in done.stderr
