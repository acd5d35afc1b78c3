"""An instance that is missed is missed by the next stats server, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gorgond.stats.instances import SETTLED, Instances
from gorgond.stats.roster import FILE, Roster
from tests.unit.test_stats_instances import Process

AT = 1_700_000_000.0  # seconds since 1970 at which the monotonic clock began


def states(instances: Instances) -> dict[str, str]:
    return {each.name: each.state for each in instances.all.values()}


def hear(instances: Instances, now: float, *names: str, **changes: Any) -> None:
    for name in names:
        instances.hear({**Process(name, uptime=1000.0).snapshot(), **changes}, now)


def successor(instances: Instances, now: float, directory: Path) -> Instances:
    """The next stats server, after `instances` ended at `now`."""
    instances.look(now, True)
    Roster(directory).write(instances.expected(now, AT + now))
    after = Instances(now)
    after.expect(Roster(directory).read(), now, AT + now)
    return after


def test_who_was_there_is_missed_by_the_next_unless_it_has_ended_in_good_order(tmp_path: Path) -> None:
    # given some that are there, one that has ended, one that drains, and one that is silent for long
    first = Instances(0.0)
    hear(first, 1.0, "web@1.h", "web@2.h", "web@3.h", "web@4.h", "web@5.h")
    hear(first, 100.0, "web@1.h", "web@2.h")
    hear(first, 100.0, "web@3.h", state="gone")
    hear(first, 100.0, "web@4.h", state="draining")
    # when the next one hears but one of them
    second = successor(first, 100.0, tmp_path)
    assert states(second) == {}
    hear(second, 101.0, "web@1.h")
    second.look(100.0 + SETTLED, True)
    assert states(second) == {"web@1.h": "up"}
    # then it misses the others, that one since it was heard
    hear(second, 104.0, "web@1.h")
    second.look(100.5 + SETTLED, True)
    assert states(second) == {"web@1.h": "up", "web@2.h": "silent", "web@5.h": "silent"}
    assert second.all["web@5.h"].silent(104.0) == 103.0
    # and so does the one after that, until one is back, and the other is forgotten
    third = successor(second, 105.0, tmp_path)
    hear(third, 106.0, "web@1.h", "web@2.h")
    third.forget("web@5.h")
    third.look(109.0, True)
    assert "web@5.h" not in states(third)
    assert third.all["web@2.h"].restarts == 0
    assert [each.name for each in successor(third, 109.0, tmp_path).expected(109.0, AT)] == ["web@1.h", "web@2.h"]


def test_one_that_cannot_run_is_missed_by_the_next_with_its_reason(tmp_path: Path) -> None:
    first = Instances(0.0)
    hear(first, 1.0, "web@1.h")
    first.note_failure("web@1.h", "1 of 1", "shop.py:3: NameError", 2.0)
    second = successor(first, 3.0, tmp_path)
    second.look(3.1 + SETTLED, True)
    assert (second.all["web@1.h"].state, second.all["web@1.h"].why) == ("failed", "shop.py:3: NameError")
    assert second.take_events() == []
    # when it runs, then it is there, and what it did before is not counted as done now
    process = Process("web@1.h", uptime=1000.0)
    process.answer(9)
    done = second.hear(process.snapshot(), 8.0)
    assert (done is None or done.operations, states(second)) == ({}, {"web@1.h": "up"})


def test_nobody_is_missed_while_the_broker_is_away(tmp_path: Path) -> None:
    first = Instances(0.0)
    hear(first, 1.0, "web@1.h")
    second = successor(first, 2.0, tmp_path)
    second.look(60.0, False)
    second.look(60.5 + SETTLED / 2, True)
    assert states(second) == {}
    second.look(60.5 + SETTLED, True)
    assert states(second) == {"web@1.h": "silent"}


def test_it_is_written_when_something_changes_and_not_each_second(tmp_path: Path) -> None:
    instances, roster = Instances(0.0), Roster(tmp_path)
    hear(instances, 1.0, "web@1.h")
    roster.write(instances.expected(1.0, AT))
    (tmp_path / FILE).unlink()
    roster.write(instances.expected(2.0, AT + 1))
    assert list(tmp_path.iterdir()) == []
    instances.look(9.0, True)
    roster.write(instances.expected(9.0, AT + 8))
    assert [each.state for each in Roster(tmp_path).read()] == ["silent"]


@pytest.mark.parametrize("text", ["", "[7]", '[{"name": "web@1.h"}]', '[{"heard": "x", "name": 1}]', "{}x"])
def test_a_file_that_is_none_is_told_and_nobody_is_missed(text: str, tmp_path: Path, expected_logs: Any) -> None:
    (tmp_path / FILE).write_text(text)
    assert Roster(tmp_path).read() == []
    expected_logs("who is to be missed is not known from before")
