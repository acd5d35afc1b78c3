"""Three hosts under load whose broker has one master: it may die, hang, be cut off or lose its disk, and whatever was
acknowledged is there, once. `tools/prove failovers` does it 200 times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gorgond.chaos import report
from gorgond.chaos.drill import Drill, Options, Result, run_drill
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.drills.hosts import failing
from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.lab import Hosts
from gorgond.chaos.undo import UndoLog
from tests.conftest import left_out

Drilled = Callable[..., Result]


@pytest.fixture
def drilled(tmp_path: Path) -> Iterator[Drilled]:
    """Runs a short drill; its result, which is judged."""
    redpill = logging.getLogger("gorgond.redpill")
    level = redpill.level
    redpill.setLevel(logging.ERROR)  # that a broker is away is our own doing

    def run(drill: Drill) -> Result:
        with UndoLog(tmp_path / "undo") as journal:
            result = run_drill(drill, None, Options(1, 2, tmp_path, short=True), journal, print)
        if isinstance(result.error, Refused):
            left_out(str(result.error))
        assert result.judged, result.error
        return result

    yield run
    redpill.setLevel(level)


def of(kinds: Sequence[str]) -> Drill:
    """A drill that does each of these once."""
    return replace(DRILLS["broker-failover"], body=failing(kinds, len(kinds)))


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["killed", "frozen", "slow"], id="it dies, hangs, is slow"),
        pytest.param(["isolated", "mute", "replica isolated"], id="it or a replica is cut off"),
        pytest.param(["off while alone", "off while one lacks", "wiped"], id="its host dies"),
    ],
)
def test_what_was_acknowledged_is_there_once_whatever_becomes_of_the_master(drilled: Drilled, kinds: list[str]) -> None:
    result = drilled(of(kinds))
    assert result.verdict.passed, report.text(result)


def test_without_copies_some_of_it_is_lost(drilled: Drilled) -> None:
    # given a broker whose master acknowledges what no replica has, when it dies before they hear of it
    result = drilled(replace(of(["off while alone"]), cast=Hosts(copies=0)))
    # then that is seen: the test is not blind
    assert result.verdict.figures["lost"] > 0, report.text(result)
    assert result.verdict.figures["duplicated"] == 0


def test_a_primary_that_steps_down_dies_or_is_cut_off_loses_nothing(drilled: Drilled) -> None:
    result = drilled(DRILLS["primary-failover"])
    assert result.verdict.passed, report.text(result)


def test_hosts_that_are_rebooted_one_after_another_fail_no_request(drilled: Drilled) -> None:
    result = drilled(DRILLS["rolling-reboot"])
    assert result.verdict.passed, report.text(result)
    assert result.verdict.figures["failed"] == {}
