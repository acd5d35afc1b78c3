"""A wrong configuration is told with file, line and reason, and never makes a running fabric worse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.neighbours import Neighbours
from tests.system.conftest import get
from tests.system.machine import Machine
from tests.waiting import eventually


@pytest.fixture
def conf(fabric: Machine) -> Iterator[Path]:
    file = fabric.root / "etc/gorgond/gorgond.conf"
    before = file.read_text()
    yield file
    file.write_text(before)
    fabric.run("systemctl daemon-reload; systemctl reset-failed; systemctl start gorgon.target")


def has_said(machine: Machine, unit: str, text: str) -> bool:
    return text in machine.journal(unit)


def break_it(conf: Path) -> str:
    """Make the configuration wrong; what must be said of it."""
    text = conf.read_text()
    conf.write_text(text.replace("queue_limit = 100000", "queue_limit = lots"))
    line = text[: text.index("queue_limit")].count("\n") + 1
    return f"/etc/gorgond/gorgond.conf:{line}: [broker] queue_limit cannot be 'lots'; allowed: a whole number"


def test_a_wrong_configuration_is_refused_at_reload(fabric: Machine, conf: Path) -> None:
    was = {unit: fabric.show(unit, "MainPID") for unit in fabric.units()}
    # given a valid change, when it is reloaded, then all have read it
    conf.write_text(conf.read_text().replace("level = info", "level = warning"))
    fabric.run("systemctl reload gorgon.target")
    conf.write_text(conf.read_text().replace("level = warning", "level = info"))
    fabric.run("systemctl reload gorgon.target")
    for unit in was:
        eventually(partial(has_said, fabric, unit, "has read its configuration again"))
    # given an invalid one, when it is reloaded, then each says why it stays with the old one
    said = break_it(conf)
    fabric.run("systemctl reload gorgon.target")
    for unit in was:
        eventually(partial(has_said, fabric, unit, f"the old one stays: {said}"))
    assert {unit: fabric.show(unit, "MainPID") for unit in fabric.units()} == was
    assert get(fabric, "/info/1")
    # and a rolling restart or scaling does not even begin
    assert fabric.process("gorgonctl restart").returncode == 78
    assert fabric.process("gorgonctl scale web 1").returncode == 78


def test_a_wrong_configuration_at_start_is_shown_by_status_and_not_tried_again(fabric: Machine, conf: Path) -> None:
    said = break_it(conf)
    assert fabric.process("systemctl restart gorgon-store@1").returncode != 0
    assert fabric.show("gorgon-store@1", "ActiveState") == "failed"
    assert fabric.show("gorgon-store@1", "NRestarts") == "0"
    assert said in fabric.try_run("systemctl status --no-pager --full gorgon-store@1")


def test_a_wrong_configuration_at_install(machine: Machine) -> None:
    # given a configuration that was left here, with an error
    conf = machine.root / "etc/gorgond/gorgond.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[store]\nurl = mysql://here\n")
    # when the package is installed, then that succeeds, and its units are failed and say why
    machine.run("apt-get install -y -qq -o Dpkg::Options::=--force-confold gorgond")
    status = machine.try_run("systemctl status --no-pager --full gorgon-store@1")
    assert "/etc/gorgond/gorgond.conf:2: [store] url cannot be" in status
    assert machine.show("gorgon-store@1", "ActiveState") == "failed"
    # when it is mended, then it runs
    conf.write_text("")
    machine.run("systemctl start gorgon.target")
    assert eventually(lambda: get(machine, "/info/1"))


def test_who_fails_again_and_again_waits_longer_each_time(fabric: Machine) -> None:
    def kill_and_time() -> float:
        """Kill a store server; the seconds from when systemd saw it dead to when it started another process."""
        was = fabric.show("gorgon-store@2", "MainPID")
        fabric.run("systemctl kill --kill-whom=main --signal=KILL gorgon-store@2")
        eventually(lambda: fabric.show("gorgon-store@2", "MainPID") not in ("0", was))
        eventually(lambda: fabric.show("gorgon-store@2", "SubState") == "running")
        times = ("ActiveExitTimestampMonotonic", "ExecMainStartTimestampMonotonic")
        left, began = (int(fabric.show("gorgon-store@2", each)) for each in times)
        return (began - left) / 1e6

    # given a store server that was restarted in good order, when it is killed five times in a row
    fabric.run("systemctl restart gorgon-store@2")
    with Neighbours() as neighbours:
        pauses = [kill_and_time() for _ in range(5)]
        # then the first restarts follow at once, later ones after a pause
        assert max(pauses[:3]) < 1 * neighbours.slowdown
    assert pauses[3] >= 1
    assert pauses[4] >= 2
    fabric.run("systemctl restart gorgon-store@2")


def test_what_a_unit_has_in_place_of_what_is_common_has_the_last_word(fabric: Machine) -> None:
    assert fabric.show("gorgon-provider@demo", "Restart") == "on-failure"
    for stand_in in ("gorgon-web-socket", "gorgon-notify-socket", "gorgon-stats-socket"):
        assert (fabric.show(stand_in, "Type"), fabric.show(stand_in, "Restart")) == ("oneshot", "no")
    assert fabric.show("gorgon-store@1", "Restart") == "always"
