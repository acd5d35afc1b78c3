"""Roles whose hosts' clocks are an hour apart, and nobody minds: who is logged in stays so, what is to run every so
often does on one of them, the journal has what happened, and MongoDB knows a request that is repeated."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.conftest import RedisServer
from tests.faketime import off_by
from tests.integration.watched import Fabric, fabric_in
from tests.programs import asked
from tests.waiting import eventually

ACCOUNT = {"email": "ada@example.org", "password": "a violin on the roof"}
MODULE = """
import os
import time
from pathlib import Path

from gorgond import App

app = App("apart")


@app.every(1)
async def tick(ctx):
    with Path(__file__).with_name("ticks").open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\\n")
"""


@pytest.fixture
def fabric(tmp_path: Path, redis_factory: Callable[..., RedisServer]) -> Iterator[Fabric]:
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield fabric


def ask(fabric: Fabric, method: str, path: str, body: object = None, **headers: str) -> Any:
    """The answer, which must be a good one."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    request = Request(f"{fabric.web}{path}", data, {"Content-Type": "application/json", **named}, method=method)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def ticks(fabric: Fabric) -> list[tuple[str, float]]:
    """In which process it ran, and when by the one monotonic clock."""
    file = fabric.directory / "ticks"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(pid, float(at)) for pid, at in (line.split() for line in lines)]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_nothing_that_lasts_goes_by_the_clock_of_a_host(
    fabric: Fabric, faketime_library: str, mongod_url: str, seconds: int
) -> None:
    # given a fabric whose instances run on hosts that are ahead and behind
    (fabric.directory / "apart_app.py").write_text(MODULE)
    events = fabric.directory / "events"
    common = {
        "GORGOND_BROKER_CLOCK_LIMIT": "1d",
        "GORGOND_STORE_URL": f"{mongod_url}clocks_{'ahead' if seconds > 0 else 'behind'}",
        "GORGOND_AUTH_KEY": urlsafe_b64encode(bytes(32)).decode(),
        "GORGOND_APP_MODULE": "apart_app",
        "GORGOND_APP_DIRECTORY": "",
        "GORGOND_JOURNAL_FILE": str(events),
        "GORGOND_WEB_DEADLINE": "60s",
        "PYTHONPATH": str(fabric.directory),
    }
    one, other = (off_by(faketime_library, f"{each:+}") for each in (seconds, -seconds))
    fabric.start("web", **common, **one)
    fabric.start("auth", "--instance", "1", **common, **other)
    fabric.start("auth", "--instance", "2", **common, **one)
    fabric.start("store", "--instance", "1", **common, **one)
    fabric.start("store", "--instance", "2", **common, **other)
    fabric.start("app", "--instance", "1", **common, **one)
    fabric.start("app", "--instance", "2", **common, **other)
    fabric.start("journal", **common, **other)
    fabric.durable.wait_for_group("store_notify", "journal")
    eventually(lambda: asked(f"{fabric.web}/info/5?lim=1"))
    # then whoever logs in is logged in, whichever of them is asked
    ask(fabric, "POST", "/auth/register", ACCOUNT)
    token = ask(fabric, "POST", "/auth/login", ACCOUNT)["token"]
    for _ in range(10):
        assert ask(fabric, "GET", "/auth/me", Authorization=f"Bearer {token}")["email"] == ACCOUNT["email"]
    # and a request that is sent again is known, and what it stored is in the journal
    stored = [ask(fabric, "POST", "/info/5", {"title": "a"}, Idempotency_Key="once") for _ in range(4)]
    assert [each["ids"] for each in stored] == [stored[0]["ids"]] * 4
    [id] = stored[0]["ids"]
    eventually(lambda: events.exists() and id in events.read_text())
    # and what is to run every second runs on one of them, and no sooner
    eventually(lambda: len(ticks(fabric)) > 3)
    ran = ticks(fabric)
    assert len({pid for pid, _ in ran}) == 1
    assert all(after - before > 0.5 for (_, before), (_, after) in pairwise(ran))
