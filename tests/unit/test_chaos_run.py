"""What a drill's body has in its hands, and the checks of its own that a drill makes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from gorgond.chaos.attempts import Book
from gorgond.chaos.drill import Options, Run
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.drills.roles import killing
from gorgond.chaos.faults import Faults
from gorgond.chaos.load import Load
from gorgond.chaos.servers import Server
from gorgond.chaos.target import Target, Victim
from gorgond.chaos.undo import UndoLog

LARGE = 60_000_000  # bytes
HOLD = f"data = b'x' * {LARGE}; print('there', flush=True); input()"


class Dummies(Target):
    """A target of processes that are given; one that is killed is back under another number."""

    place = "dummies"

    def __init__(self, *victims: Victim) -> None:
        self._victims = list(victims)

    def victims(self) -> list[Victim]:
        return self._victims

    def signal(self, name: str, number: signal.Signals) -> None:
        self._victims = [
            Victim(each.name, each.role, each.pid + (each.name == name), each.state) for each in self._victims
        ]

    def stop(self, name: str) -> None:
        pass

    start = hurry = restart = add = remove = stop


class Answering:
    """In place of a server that is there."""

    @staticmethod
    def answers() -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes what a short drill has in its hands."""
    with ExitStack() as stack:
        journal = stack.enter_context(UndoLog(tmp_path / "undo"))
        book = stack.enter_context(Book(tmp_path / "book"))

        def run(target: Target, servers: tuple[str, ...] = ()) -> Run:
            faults = Faults(target, journal, 9, lambda _: None, lambda: book.now)
            answering = {name: cast("Server", Answering()) for name in servers}
            options = Options(1, 9, tmp_path, short=True)
            return Run(target, faults, answering, cast("Load", None), book, options, 60, None)

        yield run


def test_memory_is_that_of_the_largest_process_of_a_role(run: Callable[..., Run]) -> None:
    # given web servers of which one is large, one away and one ended just now, and a store
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as large:
        assert large.stdout is not None
        assert large.stdout.readline() == b"there\n"
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        numbers = (os.getpid(), large.pid, 0, gone.pid)
        webs = [Victim(f"web@{n}", "web", pid, "up") for n, pid in enumerate(numbers, 1)]
        found = run(Dummies(*webs, Victim("store@1", "store", os.getpid(), "up")))
        # then the largest counts, of this role alone
        ours = psutil.Process().memory_info().rss
        assert found.memory("web") >= max(LARGE, 0.9 * ours)
        assert found.memory("store") == pytest.approx(ours, rel=0.2)
        assert found.memory("auth") == 0
        large.communicate(b"\n")


@pytest.mark.parametrize(("largest", "passes"), [(148_000_000, True), (152_000_000, False)])
def test_redis_down_wants_the_memory_of_web_servers_bounded(
    largest: int, passes: bool, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given web servers that grow while their brokers are away, and shrink again
    sizes: Iterator[Any] = iter([100_000_000, 120_000_000, largest, *[110_000_000] * 99])
    monkeypatch.setattr(Run, "memory", lambda _, role: next(sizes) if role == "web" else 0)
    monkeypatch.setattr(Run, "sleep", lambda *_: None)
    brokers = ("broker", "calls")
    found = run(Dummies(*(Victim(name, name, 1, "up") for name in brokers)), brokers)
    # when they are drilled, then what they had at most counts
    DRILLS["redis-down"].body(found)
    assert [(check.name, check.passed) for check in found.checks] == [("memory", passes)]
    assert f"had {largest / 1e6:.0f} MB at most (≤ 150)" in found.checks[0].text


def test_a_victim_that_has_just_come_back_lives_on_for_a_moment(run: Callable[..., Run]) -> None:
    # given a role of one instance, which is back at once
    running = run(Dummies(Victim("auth@1", "auth", 1, "up")))
    # when it is killed again and again
    killing(20, "auth")(running)
    # then each successor could do something before it was killed, too
    faults = running.faults.done
    assert len(faults) == 3
    assert min(after.begin - before.end for before, after in pairwise(faults)) >= 0.02
