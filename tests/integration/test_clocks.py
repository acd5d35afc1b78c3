"""Real processes whose clock is off, or is set while they run: who looks is told whose it is, and by how much;
nothing is lost and nothing expires by it; and a host whose clock is far off is not worked on."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gorgond.chaos.hosts.clock import Clock
from tests.conftest import RedisServer
from tests.faketime import for_redis, off_by
from tests.integration.watched import Fabric, fabric_in
from tests.programs import asked, ended
from tests.waiting import HANGS, eventually

HOST = socket.gethostname()
ANY = {"GORGOND_BROKER_CLOCK_LIMIT": "1d"}  # whatever its clock says, it works
FAR = ("+15", "-15", "+3600", "-3600")
MEND = "mend it, with timedatectl or chrony"


@pytest.fixture
def fabric(tmp_path: Path, redis_factory: Callable[..., RedisServer]) -> Iterator[Fabric]:
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield fabric


@pytest.fixture
def clock(tmp_path: Path, faketime_library: str) -> Clock:
    """One that some processes have."""
    return Clock(faketime_library, tmp_path / "clock")


@pytest.fixture
def fabric_by_clock(
    tmp_path: Path,
    redis_factory: Callable[..., RedisServer],
    c_compiler: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Fabric]:
    """One whose brokers have that clock."""
    with ExitStack() as processes:
        with monkeypatch.context() as environment:
            for name, text in {**clock.environment, "LD_PRELOAD": for_redis(c_compiler, tmp_path)}.items():
                environment.setenv(name, text)
            durable, calls = redis_factory(appendonly="yes", appendfsync="always"), redis_factory()
        yield Fabric(durable, calls, tmp_path, processes)


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


def ends_off(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends as one whose host's clock is off."""
    return process.wait(timeout=HANGS) == 75


class Asked:
    """How many writes and reads were asked for, and which of them were answered otherwise than well."""

    def __init__(self) -> None:
        self.count = 0
        self.failed: list[str] = []


@contextmanager
def asking(fabric: Fabric) -> Iterator[Asked]:
    """Write and read without a pause meanwhile."""
    so_far, over = Asked(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            so_far.count += 1
            if asked(f"{fabric.web}/info/5", b'{"title": "%d"}' % so_far.count) is None:
                so_far.failed.append(f"POST {so_far.count}")
            if asked(f"{fabric.web}/info/5?lim=1") is None:
                so_far.failed.append(f"GET {so_far.count}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield so_far
    finally:
        over.set()
        thread.join()


def expired(fabric: Fabric) -> int:
    """How many messages were dropped past their deadlines."""
    return sum(
        int(server.cli("HGET", f"gorgon:{{{queue}}}:counts", "expired") or 0)
        for server in (fabric.durable, fabric.calls)
        for queue in ("store_get", "store_put")
    )


# ---- a clock that is off from the beginning


@pytest.mark.parametrize(("seconds", "words"), [("+1", "1.0 s ahead of"), ("-1", "1.0 s behind")])
def test_a_host_that_is_off_a_little_works_and_is_named(
    fabric: Fabric, faketime_library: str, seconds: str, words: str
) -> None:
    fabric.start("stats")
    fabric.start("web")
    fabric.start("store", **off_by(faketime_library, seconds))
    told = f"the clock of {HOST} is {words} the broker's: {MEND}"
    # then the verdict names its host and by how much, before what comes of it
    eventually(lambda: fabric.says(f"Degraded: {told}"))
    assert fabric.picture()["verdict"]["reasons"][0] == told
    # and so does Prometheus, of each process
    eventually(lambda: len(clocks(fabric)) == 3)
    found = clocks(fabric)
    assert found["store@1"] == pytest.approx(float(seconds), abs=0.1)
    assert found["web@1"] == pytest.approx(0, abs=0.1)
    # and its log
    assert f"the clock of this host, {HOST}, is {words} the broker's: {MEND}" in log_of(fabric, "store")
    assert "clock" not in log_of(fabric, "web")


@pytest.mark.parametrize("seconds", FAR)
def test_a_host_that_is_far_off_is_refused_with_a_line_until_it_is_mended(
    fabric: Fabric, clock: Clock, seconds: str
) -> None:
    # given a store that ran, and is started again when the clock of its host is wrong
    fabric.start("stats")
    store = fabric.start("store", **clock.environment)
    eventually(lambda: len(clocks(fabric)) == 2)
    assert ended(store) == 0
    fabric.durable.cli("FLUSHALL")
    clock.set(float(seconds))
    assert ends_off(fabric.start("store", "--mode", "both", **clock.environment))
    # then it has taken nothing, and says in one line why, and what to do
    (line,) = log_of(fabric, "store---mode-both").splitlines()
    assert line.count(f"the clock of this host, {HOST}, is {float(seconds.strip('+-')):,.1f} s ") == 1
    assert f"more than [broker] clock_limit allows (2 s): {MEND}" in line
    assert fabric.durable.cli("EXISTS", "gorgon:{store_put}:lanes") == "0"
    # and so does the verdict
    eventually(lambda: fabric.says("cannot run: the clock of this host"))
    # when it is mended, and systemd starts it again, it works
    clock.set(0)
    fabric.start("web")
    fabric.start("store", **clock.environment)
    assert eventually(lambda: asked(f"{fabric.web}/info/5", b'{"title": "a"}'))


@pytest.mark.parametrize("seconds", FAR)
def test_whatever_their_clocks_say_nothing_expires_between_processes(
    fabric: Fabric, faketime_library: str, seconds: str
) -> None:
    # given a web server whose requests have two seconds, and stores, all of which have other clocks than Redis
    off, opposite = off_by(faketime_library, seconds), off_by(faketime_library, f"{-float(seconds):+g}")
    short = {"GORGOND_WEB_DEADLINE": "60s", **ANY}
    fabric.start("web", **short, **off)
    fabric.start("store", "--mode", "read", **ANY, **opposite)
    fabric.start("store", "--mode", "write", **ANY)
    # then they answer, and the other way round
    assert eventually(lambda: asked(f"{fabric.web}/info/5", b'{"title": "a"}'))
    for n in range(20):
        assert asked(f"{fabric.web}/info/5", b'{"title": "%d"}' % n)
        assert asked(f"{fabric.web}/info/5?lim=1")
    assert expired(fabric) == 0


# ---- a clock that is set while it is worked by


@pytest.mark.parametrize("seconds", FAR)
def test_when_a_hosts_clock_is_set_wrong_what_runs_there_drains_and_others_work_on(
    fabric: Fabric, clock: Clock, seconds: str
) -> None:
    # given a store on one host, another and a web server on another
    fabric.start("web", GORGOND_WEB_DEADLINE="60s")
    store = fabric.start("store", "--instance", "2", **clock.environment)
    fabric.start("stats")
    eventually(lambda: asked(f"{fabric.web}/info/5?lim=1"))
    fabric.start("store", "--instance", "1")
    eventually(lambda: len(clocks(fabric)) == 4)
    with asking(fabric) as so_far:
        clock.set(float(seconds))
        assert ends_off(store)
        # when its clock is right again it comes back
        clock.set(0)
        fabric.start("store", "--instance", "2", **clock.environment)
        eventually(fabric.well)
    # then no request has failed and nothing was dropped
    assert so_far.failed == []
    assert expired(fabric) == 0


@pytest.mark.parametrize("seconds", FAR)
def test_when_a_hosts_clock_is_set_nothing_expires_that_it_has_in_hand(
    fabric: Fabric, clock: Clock, seconds: str
) -> None:
    """As in the moment before it is noticed: here nobody minds."""
    fabric.start("web", GORGOND_WEB_DEADLINE="60s", **ANY, **clock.environment)
    fabric.start("store", **ANY)
    fabric.start("stats", **ANY, **clock.environment)
    eventually(lambda: asked(f"{fabric.web}/info/5?lim=1"))
    eventually(lambda: len(clocks(fabric)) == 3)
    with asking(fabric) as so_far:
        clock.set(float(seconds))
        eventually(lambda: clocks(fabric).get("web@1") == pytest.approx(float(seconds), abs=0.5))
        count = so_far.count
        eventually(lambda: so_far.count > count + 20)
    assert so_far.failed == []
    assert expired(fabric) == 0


@pytest.mark.parametrize("seconds", FAR)
def test_when_the_brokers_clock_is_set_everybody_works_on(fabric_by_clock: Fabric, clock: Clock, seconds: str) -> None:
    fabric = fabric_by_clock
    stats, web, *stores = (
        fabric.start("stats"),
        fabric.start("web", GORGOND_WEB_DEADLINE="60s"),
        *(fabric.start("store", "--instance", str(n)) for n in (1, 2)),
    )
    eventually(lambda: asked(f"{fabric.web}/info/5?lim=1"))
    eventually(fabric.well)
    with asking(fabric) as so_far:
        clock.set(float(seconds))
        # then all tell it, and nobody ends
        eventually(lambda: {round(ahead + float(seconds)) for ahead in clocks(fabric).values()} == {0})
        eventually(lambda: fabric.says(f"the clock of {HOST} is {float(seconds.strip('+-')):,.1f} s "))
        count = so_far.count
        eventually(lambda: so_far.count > count + 20)
        # also when it comes right again
        clock.set(0)
        eventually(fabric.well)
    assert [each.poll() for each in (stats, web, *stores)] == [None] * 4
    assert so_far.failed == []
    assert expired(fabric) == 0
