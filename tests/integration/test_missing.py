"""A missing instance is told until it is back, or until the operator says that it will not be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.integration.upping import Running, up_with
from tests.programs import asked
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("redis_binary")

FEW = ("--apps", "0", "--web", "1", "--stores", "1")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """One whose provider ends soon."""
    with up_with(tmp_path, *FEW, "--count", "400", "--rate", "40", "--users", "10") as made:
        yield made


def stored(running: Running) -> int:
    """How many messages of store_put were done, as the stats server knows."""
    return sum(row["done"] for row in running.picture()["queues"] if row["name"] == "store_put")


def test_what_is_done_is_not_missing(running: Running) -> None:
    # given a provider that the stats server has heard, and that has pushed all its notes
    eventually(
        lambda: [row for row in running.picture()["roles"] if row["role"] == "provider" and row["up"] + row["done"]]
    )
    eventually(lambda: running.processes()["provider@random"][1] == "done")
    # then all is well, and it is told as what it is
    eventually(lambda: running.verdict() == "● All is well")

    def provider() -> tuple[int, int, int]:
        [row] = [each for each in running.picture()["roles"] if each["role"] == "provider"]
        return row["up"], row["done"], row["gone"]

    eventually(lambda: provider() == (0, 1, 0))
    assert running.verdict() == "● All is well"


def test_a_broker_that_was_emptied_has_lost_something(running: Running) -> None:
    # given notes that were accepted, which the stats server has seen, and saved
    eventually(lambda: stored(running) >= 400)
    # when somebody empties the broker
    with redis.Redis(unix_socket_path=str(running.data / "broker.sock")) as client:
        client.flushall()
    # then what it has lost is told, by the next stats server too
    told = "has less than it had accepted: "
    eventually(lambda: told in running.verdict())
    assert running.ctl("status")[0] == 1
    assert running.ctl("restart", "stats")[0] == 0
    eventually(lambda: told in running.verdict())
    # and the journal hears of what is stored from now on
    asked(f"http://localhost:{running.port}/info/77", b'{"title": "after"}')
    eventually(lambda: '"userid":77' in (running.data / "events.log").read_text())
    # until the operator has taken note
    assert running.ctl("forget", "store@9")[0] == 1
    code, said = running.ctl("forget", "durable")
    assert (code, said) == (0, "durable is missed no more\n")
    eventually(lambda: running.verdict() == "● All is well")
