"""The processes of a `gorgond up`, which does what it is asked over its control socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gorgond.commands.control import ask
from gorgond.errors import GorgonError
from gorgond.roles import restarting

Say = Callable[[str], None]


def drain(control: Path, name: str, say: Say) -> None:
    """Let one finish and end. Raises GorgonError."""
    say(f"draining {name}")
    ask(control, "stop", name=name)
    say(f"{name} has finished and ended; gorgonctl restart {name} starts it again")


def restart(control: Path, chosen: Iterable[str], say: Say) -> None:
    """Restart processes one after another: all services, or those of these roles or names. Raises GorgonError."""
    wanted = list(chosen)
    found = [each["name"] for each in _services(control) if not wanted or {each["name"], each["role"]} & set(wanted)]
    names = sorted(found, key=restarting)
    if wanted and not names:
        raise GorgonError(f"nothing of {' '.join(wanted)} is running")
    for name in names:
        say(f"restarting {name}")
        ask(control, "restart", name=name)


def scale(control: Path, role: str, number: str, say: Say) -> None:
    """Add or remove processes of a role until there are so many, for as long as the `gorgond up` runs. Raises
    GorgonError."""
    if not number.isdecimal():
        raise GorgonError(f"{number!r} is no number of processes")
    names = [each["name"] for each in _services(control) if each["role"] == role]
    for _ in range(int(number) - len(names)):
        say(f"started {ask(control, 'add', role=role)['name']}")
    for name in reversed(names[int(number) :]):
        say(f"stopping {name}")
        ask(control, "remove", name=name)


def _services(control: Path) -> list[dict[str, Any]]:
    return [each for each in ask(control, "list")["processes"] if each["instance"]]
