"""Single faults by hand: kill, stop, start, restart, pause, resume what a pattern names.

A fault that lasts (a stop, a pause) stays in the undo log until the opposite, or `gorgon-chaos undo`.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gorgond.chaos.errors import Refused
from gorgond.chaos.faults import Faults
from gorgond.chaos.rails import check_number
from gorgond.chaos.target import Target, Victim, chosen
from gorgond.chaos.undo import UndoLog


@dataclass(frozen=True, slots=True)
class Again:
    """Not all that fit but `number` of them at random, `every` so many seconds, for `seconds`."""

    number: int
    every: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Hand:
    """The tools for single faults."""

    target: Target
    journal: UndoLog
    most: int
    seed: int
    say: Callable[[str], None]
    dry: bool

    def act(self, verb: str, patterns: Sequence[str], number: signal.Signals, again: Again | None) -> None:
        """Do it to all that fit, or again and again to some. Raises Refused."""
        faults = Faults(self.target, self.journal, self.most, self.say, time.monotonic, self.dry)
        if again is None:
            victims = chosen(self.target.victims(), patterns)
            if verb not in ("start", "resume"):
                check_number([each.name for each in victims], self.most)
            for victim in victims:
                self._do(faults, verb, victim, number)
            return
        check_number(["a victim"] * again.number, self.most)
        chance, end = random.Random(self.seed), time.monotonic() + again.seconds
        while time.monotonic() < end:
            alive = [each for each in chosen(self.target.victims(), patterns) if each.pid]
            for victim in chance.sample(alive, min(again.number, len(alive))):
                self._do(faults, verb, victim, number)
            if self.dry:
                return
            time.sleep(again.every)

    def _do(self, faults: Faults, verb: str, victim: Victim, number: signal.Signals) -> None:
        name = victim.name
        match verb:
            case "kill":
                if not victim.pid:
                    raise Refused(f"{name} does not run: it is {victim.state}")
                faults.kill(name, number)
                faults.over("kill", name)
            case "stop":
                faults.stop(name)
            case "pause":
                faults.pause(name)
            case "restart":
                faults.restart(name)
            case "start":
                faults.start(name)
                self.journal.settle("start", name)
            case "resume":
                faults.resume(name)
                self.journal.settle("resume", name)
