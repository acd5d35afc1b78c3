"""How a database is set up, as a driver finds it: what `gorgond store --check` tells, and what lets no store start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gorgond.errors import ConfigError

ABSENT = "not there yet"
"""How something is found that the first store makes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a database, and how it is. `advice` says what to change where it could be better; one that
    `breaks` a promise must be."""

    about: str
    found: str
    advice: str = ""
    breaks: bool = False


def demand_safe(findings: Iterable[Finding]) -> None:
    """Raises ConfigError, which says what to change, when any of them breaks a promise."""
    broken = [f"its {each.about} is {each.found}: {each.advice}" for each in findings if each.breaks]
    if broken:
        raise ConfigError("; ".join(broken))


def size(number: float) -> str:
    """Bytes, for people: 4 kB, 1.8 GB."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.3g} {units[0]}"
