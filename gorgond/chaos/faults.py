"""Faults of a fabric: each fault is journaled before it happens, timed, and told.

A fault that lasts (stopped, paused, a setting changed) is over when it is made good; a kill when the victim runs again.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gorgond.chaos.rails import check_number
from gorgond.chaos.servers import Server, servers_of
from gorgond.chaos.target import Target
from gorgond.chaos.undo import Step, UndoLog

HURTING = ("kill", "stop", "pause", "restart")  # the kinds that take a process away


@dataclass(slots=True)
class Fault:
    """From `begin` to `end`, in seconds since the run began; `end` is 0 while it lasts."""

    kind: str
    name: str
    begin: float
    end: float = 0.0


class Faults:
    """Hurts `target`, at most `most` of it at a time. With `dry` it only says what it would do."""

    def __init__(
        self,
        target: Target,
        journal: UndoLog,
        most: int,
        say: Callable[[str], None],
        now: Callable[[], float],
        dry: bool = False,
    ) -> None:
        self.done: list[Fault] = []
        self._target, self._journal, self._most = target, journal, most
        self._say, self._now, self._dry = say, now, dry
        self._first = journal.next
        self._open: dict[tuple[str, str], tuple[Fault, int]] = {}
        self._before: dict[tuple[str, str], str] = {}  # of settings that were changed

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> Fault:
        """Send a signal that ends it; `over` tells when it is back."""
        return self._begin("kill", name, lambda: self._target.signal(name, number), word=number.name)

    def over(self, kind: str, name: str) -> None:
        """Take note that the victim runs again."""
        self._end(kind, name)

    def stop(self, name: str) -> Fault:
        return self._begin("stop", name, lambda: self._target.stop(name), "start", name)

    def start(self, name: str) -> None:
        """End a stop; what waits to be started again is started at once."""
        self._act(f"start {name}", lambda: self._target.start(name))
        self._end("stop", name)

    def pause(self, name: str) -> Fault:
        """SIGSTOP."""
        return self._begin("pause", name, lambda: self._target.signal(name, signal.SIGSTOP), "resume", name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._act(f"resume {name}", lambda: self._target.signal(name, signal.SIGCONT))
        self._end("pause", name)

    def restart(self, name: str) -> Fault:
        fault = self._begin("restart", name, lambda: self._target.restart(name), "start", name)
        self._end("restart", name)
        return fault

    def add(self, role: str) -> str:
        """One more instance: its name. It is no fault that has to end, but it is undone."""
        numbers = [
            int(each.instance) for each in self._target.victims() if each.role == role and each.instance.isdecimal()
        ]
        name = f"{role}@{max(numbers, default=0) + 1}"
        number = 0 if self._dry else self._journal.before("remove", name)
        self._open["add", name] = self._mark("add", name), number
        self._act(f"add {name}", lambda: self._target.add(name))
        return name

    def added_instances(self, role: str) -> list[str]:
        """The instances of a role that were added, in their order."""
        return [name for kind, name in self._open if kind == "add" and name.startswith(f"{role}@")]

    def remove(self, name: str) -> None:
        """End an added instance."""
        self._act(f"remove {name}", lambda: self._target.remove(name))
        self._end("add", name)

    def configure(self, server: Server, key: str, value: str) -> Fault:
        """Change a setting of a Redis, which `reset` sets back."""
        name = server.name
        before = self._before[key, name] = server.setting(key)
        undo = ("configure", name, key, before)
        return self._begin(key, name, lambda: server.set(key, value), *undo, word=f"set {key} {value} of")

    def reset(self, server: Server, key: str) -> None:
        """Set it back to what it was."""
        before = self._before.pop((key, server.name))
        self._act(f"set {key} {before} of {server.name}", lambda: server.set(key, before))
        self._end(key, server.name)

    def begin(self, kind: str, name: str, begin: Callable[[], None], *undo: str) -> Fault:
        """Another fault, that a drill does itself; `end` makes it good."""
        return self._begin(kind, name, begin, *undo)

    def end(self, kind: str, name: str, end: Callable[[], None]) -> None:
        self._act(f"end {kind} {name}", end)
        self._end(kind, name)

    def undo(self) -> list[str]:
        """Make good whatever still lasts; why what could not be."""
        failures = self._journal.undo(lambda step: perform(step, lambda: self._target), self._first)
        for fault, _ in self._open.values():
            fault.end = fault.end or self._now()
        self._open.clear()
        return failures

    # ---- how

    def _begin(self, kind: str, name: str, act: Callable[[], None], *undo: str, word: str = "") -> Fault:
        if kind in HURTING:
            hurt = {each for what, each in self._open if what in HURTING} | {name}
            check_number(sorted(hurt), self._most)
        number = self._journal.before(*undo) if undo and not self._dry else 0
        fault = self._mark(kind, name)
        self._open[kind, name] = fault, number
        self._act(f"{word or kind} {name}", act)
        return fault

    def _mark(self, kind: str, name: str) -> Fault:
        fault = Fault(kind, name, self._now())
        self.done.append(fault)
        return fault

    def _act(self, what: str, act: Callable[[], None]) -> None:
        self._say(f"would {what}" if self._dry else what)
        if not self._dry:
            act()

    def _end(self, kind: str, name: str) -> None:
        found = self._open.pop((kind, name), None)
        if found is not None:
            found[0].end = self._now()
            self._journal.mark_done(found[1])


def perform(step: Step, target: Callable[[], Target]) -> None:
    """Do one step of the undo journal; `target` tells where, for those that need it. Raises ValueError for what is no
    step."""
    match step:
        case ["start", name]:
            target().start(name)
        case ["resume", name]:
            target().signal(name, signal.SIGCONT)
        case ["remove", name]:
            target().remove(name)
        case ["configure", name, key, value]:
            servers_of(target().config)[name].set(key, value)
        case ["rename", source, destination]:
            if Path(source).exists():
                os.replace(source, destination)  # noqa: PTH105 - works for sockets as for files
        case ["clear", directory]:
            shutil.rmtree(directory, ignore_errors=True)
        case _:
            raise ValueError("this is no step of an undo journal")
