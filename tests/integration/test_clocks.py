"""Real processes whose clock is off: who looks is told whose it is, and by how much."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import RedisServer
from tests.integration.watched import Fabric, fabric_in
from tests.programs import asked
from tests.waiting import eventually

HOST = socket.gethostname()


@pytest.fixture
def fabric(tmp_path: Path, redis_factory: Callable[..., RedisServer]) -> Iterator[Fabric]:
    """One whose requests have two seconds, so that a few seconds are far off."""
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield fabric


def off_by(library: str, seconds: str) -> dict[str, str]:
    """The environment of a process whose clock is so much ahead."""
    return {"LD_PRELOAD": library, "FAKETIME": f"{seconds}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def clocks(fabric: Fabric) -> dict[str, float]:
    """By how much each process is ahead, as Prometheus is told."""
    families = text_string_to_metric_families((asked(f"{fabric.stats}/metrics") or b"").decode())
    return {
        sample.labels["process"].partition(".")[0]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "gorgond_process_clock_ahead_seconds"
    }


def log_of(fabric: Fabric, role: str) -> str:
    (file,) = fabric.directory.glob(f"{role}-[0-9]*")
    return file.read_text()


def test_a_store_that_is_ahead_is_named_while_requests_expire_in_it(fabric: Fabric, faketime_library: str) -> None:
    # given a store server four seconds ahead of web servers whose requests have two
    fabric.start("stats")
    fabric.start("web", GORGOND_WEB_DEADLINE="2s")
    fabric.start("store", **off_by(faketime_library, "+4"))
    told = f"the clock of {HOST} is 4.0 s ahead of the broker's: messages expire there too early"
    # then the verdict names its host and by how much, before what comes of it
    eventually(lambda: fabric.says(f"Degraded: {told}"))
    assert fabric.picture()["verdict"]["reasons"][0].startswith(told)
    # and so does Prometheus, of each process
    eventually(lambda: len(clocks(fabric)) == 3)
    found = clocks(fabric)
    assert found["store@1"] == pytest.approx(4, abs=0.5)
    assert found["web@1"] == pytest.approx(0, abs=0.5)
    # and its log, which has looked once, perhaps while the machine was busy
    assert asked(f"{fabric.web}/info/5") is None
    assert re.search(rf"the clock of this host, {HOST}, is (3\.[5-9]|4\.[0-5]) s ahead of", log_of(fabric, "store"))
    assert "clock" not in log_of(fabric, "web")


@pytest.mark.parametrize(
    ("role", "seconds", "words"),
    [
        ("auth", "+11", "11.0 s ahead of the broker's: messages expire there too early"),
        ("auth", "-11", "11.0 s behind the broker's: what it sends expires elsewhere too early"),
    ],
)
def test_whoever_is_off_all_is_not_well(
    fabric: Fabric, faketime_library: str, role: str, seconds: str, words: str
) -> None:
    for other in ("stats", "web", "store"):
        fabric.start(other)
    eventually(fabric.well)
    fabric.start(role, **off_by(faketime_library, seconds))
    eventually(lambda: fabric.says(f"Degraded: the clock of {HOST} is {words}; mend it, with timedatectl"))
