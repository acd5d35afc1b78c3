"""Parts of an installed fabric that die, hang or are restarted, and how soon they are back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from statistics import median

import pytest

from gorgond.roles import ROLES
from tests.neighbours import Neighbours
from tests.system.conftest import get, post, traffic
from tests.system.machine import Machine
from tests.waiting import eventually

INSTANCES = [f"gorgon-{role}@{'slow' if role == 'provider' else '1'}.service" for role in ROLES]
PROVIDER = "\n[provider.slow]\nkind = random\nrate = 1\ncount = 0\n"


@pytest.fixture
def roles(fabric: Machine) -> Iterator[list[str]]:
    """One unit of each role, all running."""
    conf = fabric.root / "etc/gorgond/gorgond.conf"
    before = conf.read_text()
    besides = set(INSTANCES) - set(fabric.units())
    conf.write_text(before + PROVIDER)
    fabric.run(f"systemctl start {' '.join(besides)}")
    yield INSTANCES
    fabric.run(f"systemctl stop {' '.join(besides)}")
    conf.write_text(before)


def pid(machine: Machine, unit: str) -> int:
    return int(machine.show(unit, "MainPID"))


def running(machine: Machine, unit: str, was: int) -> bool:
    """Whether another process than before runs as this unit."""
    return pid(machine, unit) not in (0, was) and machine.show(unit, "SubState") == "running"


def consuming(machine: Machine, unit: str, was: int) -> bool:
    """The same, and it says that it serves."""
    return running(machine, unit, was) and any(
        word in machine.show(unit, "StatusText") for word in ("consuming", "serving", "pushing")
    )


def test_whoever_is_killed_is_back_at_once(fabric: Machine, roles: list[str]) -> None:
    for unit in roles:
        # given an instance that serves
        eventually(partial(consuming, fabric, unit, 0))
        was = pid(fabric, unit)
        # when it is killed, then another process does its work
        with Neighbours() as neighbours:
            fabric.run(f"systemctl kill --kill-whom=main --signal=KILL '{unit}'")
            eventually(partial(consuming, fabric, unit, was))
        assert away(fabric, unit) <= 10 * neighbours.slowdown, unit


def test_whoever_hangs_is_replaced_and_its_stacks_are_in_the_journal(fabric: Machine, roles: list[str]) -> None:
    # given one instance of each role, when they are stopped in the middle of what they do
    was = {unit: pid(fabric, unit) for unit in roles}
    patience = {unit: watchdog_seconds(fabric, unit) for unit in roles}
    stopped: dict[str, float] = {}
    with Neighbours() as neighbours:
        for unit in roles:
            time.sleep(1)  # one after another: it is not looked at how soon a host starts all its processes at once
            stopped[unit] = time.monotonic()
            fabric.run(f"systemctl kill --kill-whom=main --signal=STOP {unit}")
        # then each serves again within its watchdog's time and 2 seconds, and what its threads did is in the journal
        for unit in roles:
            eventually(partial(consuming, fabric, unit, was[unit]))
        for unit in roles:
            assert ready(fabric, unit) - stopped[unit] <= patience[unit] + 2 * neighbours.slowdown, unit
            assert "most recent call first" in fabric.journal(unit)


def watchdog_seconds(machine: Machine, unit: str) -> float:
    """The patience of a unit's watchdog."""
    text = machine.show(unit, "WatchdogUSec")
    units = {"min": 60, "s": 1}
    return sum(float(word.rstrip("mins")) * units[word.lstrip("0123456789")] for word in text.split())


def ready(machine: Machine, unit: str) -> float:
    """When it said so to systemd the last time, by the clock of time.monotonic."""
    return int(machine.show(unit, "ActiveEnterTimestampMonotonic")) / 1e6


def away(machine: Machine, unit: str) -> float:
    """Seconds from when systemd saw it dead to when it was ready again, the last time."""
    return ready(machine, unit) - int(machine.show(unit, "ActiveExitTimestampMonotonic")) / 1e6


def test_a_broker_that_is_killed_is_a_pause(fabric: Machine) -> None:
    pauses: list[float] = []
    with traffic(fabric):
        for _ in range(3):
            was = pid(fabric, "gorgon-broker")
            with Neighbours() as neighbours:
                fabric.run("systemctl kill --kill-whom=main --signal=KILL gorgon-broker")
                eventually(partial(running, fabric, "gorgon-broker", was))
                pauses.append(away(fabric, "gorgon-broker") / neighbours.slowdown)
            eventually(lambda: get(fabric, "/info/1"))
    assert median(pauses) <= 1, pauses  # the slowdown is an average, a moment may be worse


def test_a_broker_starts_on_what_a_power_failure_leaves(fabric: Machine) -> None:
    note = post(fabric, "/info/5", {"title": "kept"})
    fabric.run("systemctl stop gorgon.target gorgon.slice")
    # given zeros at the end of its file, as a file system may leave them
    fabric.run("truncate --size=+3000 /var/lib/gorgond/broker/appendonlydir/*.incr.aof")
    # when all is started, then it answers, the note is there, and the journal says what was done
    fabric.run("systemctl start gorgon.target")
    assert eventually(lambda: get(fabric, "/info/5"))["items"][0]["id"] == note["ids"][0]
    assert "ended in 3000 zeros" in fabric.journal("gorgon-broker")


def test_web_servers_restarted_one_after_another_are_not_noticed(fabric: Machine) -> None:
    was = {unit: pid(fabric, unit) for unit in fabric.units("gorgon-web@*")}
    longest: list[float] = []
    for _ in range(3):
        with traffic(fabric) as load, Neighbours() as neighbours:
            fabric.run("gorgonctl restart web")
            slowdown = neighbours.slowdown
        assert load.requests > 50
        longest.append(load.longest / slowdown)
    assert all(pid(fabric, unit) != before for unit, before in was.items())
    assert median(longest) <= 0.25, longest


def test_the_whole_fabric_restarted_at_once_fails_no_request(fabric: Machine) -> None:
    was = {unit: pid(fabric, unit) for unit in fabric.units()}
    with traffic(fabric):
        fabric.run("systemctl restart gorgon.target")
        eventually(lambda: all(pid(fabric, unit) not in (0, before) for unit, before in was.items()))
        eventually(lambda: fabric.units() == sorted(was))


def test_stopped_it_is_gone_and_started_it_is_back(fabric: Machine) -> None:
    before = fabric.units("gorgon*")
    # when all is stopped, then no process is left, and nobody holds the port
    fabric.run("systemctl stop gorgon.target gorgon.slice")
    eventually(lambda: fabric.processes() == [])
    assert get(fabric, "/healthz") is None
    assert fabric.units("gorgon*") == []
    # when it is started, then the same is there
    fabric.run("systemctl start gorgon.target")
    eventually(lambda: get(fabric, "/info/1"))
    eventually(lambda: set(fabric.units("gorgon*")) >= set(before) - {"gorgon-web-socket.service", "gorgon.slice"})
