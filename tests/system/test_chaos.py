"""gorgon-chaos on the units of an installed fabric: what it must be allowed, single faults, short drills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.machine import Machine
from tests.waiting import HANGS, eventually

CONF = "etc/gorgond/gorgond.conf"
NAMED = "--host $(hostname)"
DRILLS = ("redis-kill", "redis-full", "store-kill", "up-down", "slow-network")


@pytest.fixture
def allowed(fabric: Machine) -> Iterator[Machine]:
    """The machine, whose operator allows it."""
    conf = fabric.root / CONF
    before = conf.read_text()
    conf.write_text(before.replace("allowed = no", "allowed = yes"))
    yield fabric
    conf.write_text(before)


def stopped(machine: Machine, unit: str) -> bool:
    """Whether its process is stopped by a signal."""
    pid = machine.show(unit, "MainPID")
    return "\nState:\tT" in machine.run(f"cat /proc/{pid}/status")


def test_a_host_that_does_not_allow_it_or_is_not_meant_is_refused(fabric: Machine) -> None:
    was = fabric.show("gorgon-store@1", "MainPID")
    done = fabric.process(f"gorgon-chaos kill store@1 {NAMED}")
    assert (done.returncode, "[chaos] allowed = yes" in done.stderr) == (3, True)
    assert fabric.show("gorgon-store@1", "MainPID") == was
    # to look is always allowed
    assert "store@1" in fabric.run("gorgon-chaos list")


def test_a_host_must_be_meant(allowed: Machine) -> None:
    for wrong in ("", "--host elsewhere"):
        done = allowed.process(f"gorgon-chaos kill store@1 {wrong}")
        assert done.returncode == 3
        assert "this host" in done.stderr


def test_single_faults_are_done_to_units_and_undone(allowed: Machine) -> None:
    # given a unit that is paused and another one that is stopped
    allowed.run(f"gorgon-chaos pause store@1 {NAMED}")
    allowed.run(f"gorgon-chaos stop web@2 {NAMED}")
    assert stopped(allowed, "gorgon-store@1")
    assert allowed.show("gorgon-web@2", "ActiveState") == "inactive"
    # then no drill begins, until it is undone
    assert allowed.process(f"gorgon-chaos drill redis-kill {NAMED}").returncode == 3
    allowed.run(f"gorgon-chaos undo {NAMED}")
    assert not stopped(allowed, "gorgon-store@1")
    assert allowed.show("gorgon-web@2", "ActiveState") == "active"


@pytest.mark.dear(0)
def test_drills_on_units_pass(allowed: Machine) -> None:
    def well() -> bool:
        return all(" up " in line for line in allowed.run("gorgon-chaos list").splitlines()[1:])

    eventually(well)
    before = allowed.units()
    done = allowed.process(f"gorgon-chaos drill {' '.join(DRILLS)} --short --seed 1 {NAMED}", timeout=HANGS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": passed in ") == len(DRILLS)
    assert allowed.redis("LLEN", "'gorgon:{store_put}'") == "0"  # their notes are deleted, not only about to be
    # and all is as it was: the same units, nothing to undo, none of the drills' notes
    eventually(lambda: allowed.units() == before)
    assert allowed.run("cat /run/gorgon-chaos/undo") == ""
