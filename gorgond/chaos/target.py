"""The target of faults: the contract between faults and the place where gorgond's processes run."""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gorgond.chaos.errors import Refused
from gorgond.config import Config

BROKERS = ("broker", "calls")
SIGNALS = {name.removeprefix("SIG"): number for name, number in signal.Signals.__members__.items()}


@dataclass(frozen=True, slots=True)
class Victim:
    """A process of gorgond's: `name` is "store@2" or "broker"; `pid` is 0 while it does not run."""

    name: str
    role: str
    pid: int
    state: str  # "up", or in a word what it is instead
    restarts: int = 0

    @property
    def instance(self) -> str:
        return self.name.partition("@")[2]

    @property
    def up(self) -> bool:
        return self.pid != 0 and self.state == "up"


class Target(ABC):
    """A running fabric: `config` says how to reach its brokers, `url` where its web servers are, `place` what it is
    called in messages."""

    config: Config
    url: str
    place: str

    @abstractmethod
    def victims(self) -> list[Victim]:
        """All processes that may be hurt. Raises GorgonError when nobody can tell."""

    @abstractmethod
    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the main process of `name`; nothing happens when it does not run."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """End it in good order, so that it stays ended; back when it has."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Start what was stopped, or waits to be started again; back when it runs."""

    @abstractmethod
    def hurry(self, name: str) -> None:
        """Have what waits to be started again started at once; does not wait for it."""

    @abstractmethod
    def restart(self, name: str) -> None:
        """End it in good order and start it; back when the new process runs."""

    @abstractmethod
    def add(self, name: str) -> None:
        """Start one more instance, of the next number of its role; no restart of the fabric brings it back."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """End an added instance."""

    def victim(self, name: str) -> Victim:
        """The process of this name. Raises Refused when there is none."""
        for victim in self.victims():
            if victim.name == name:
                return victim
        raise Refused(f"there is no {name} at {self.place}")


def chosen(victims: Sequence[Victim], patterns: Sequence[str]) -> list[Victim]:
    """Those whose name fits one of the patterns: store@2, 'store@*', broker. A role alone means all of it.

    Raises Refused when a pattern fits nothing.
    """
    found: dict[str, Victim] = {}
    for pattern in patterns:
        fitting = [each for each in victims if pattern == each.role or fnmatchcase(each.name, pattern)]
        if not fitting:
            raise Refused(f"{pattern!r} fits nothing; there are {' '.join(each.name for each in victims)}")
        found |= {each.name: each for each in fitting}
    return list(found.values())


def signal_of(text: str) -> signal.Signals:
    """A signal by its name or number: KILL, SIGKILL, 9. Raises Refused."""
    name = text.upper().removeprefix("SIG")
    if name in SIGNALS:
        return SIGNALS[name]
    if re.fullmatch("[0-9]+", text) and int(text) in list(signal.Signals):
        return signal.Signals(int(text))
    raise Refused(f"{text!r} is no signal")
