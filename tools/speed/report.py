"""The report: rows of figures, as a table and as JSON."""

from __future__ import annotations

import json
import operator
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

from tools.speed import servers
from tools.speed.measure import Answers

_COMPARE: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge}
_LIBRARIES = ("pymongo", "tornado", "redis", "hiredis", "httptools", "uvloop", "orjson")

HEADLINES = (
    "info_ratio",
    "flow_ratio",
    "rpc_cpu_us",
    "ingest_per_s",
    "ingest_ratio",
    "ingest_cpu_us",
    "queue_per_s",
    "load_p50_ms",
    "load_p99_ms",
)
"""The top-level keys of the JSON; null where a case was not run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a case, with its value in each round. `must` is what it has to reach: "≥ 0.9"."""

    name: str
    values: Sequence[float]
    must: str = ""
    headline: str = ""

    @property
    def middle(self) -> float:
        return median(self.values)

    @property
    def good(self) -> bool | None:
        """Whether it reaches what it must; None when there is nothing to reach."""
        if not self.must:
            return None
        sign, number = self.must.split()
        return _COMPARE[sign](self.middle, float(number))

    def json(self) -> dict[str, Any]:
        """Median, extremes and every round, rounded to what can mean something."""
        figures: dict[str, Any] = {"median": _round(self.middle), "min": _round(min(self.values))}
        figures |= {"max": _round(max(self.values)), "rounds": [_round(value) for value in self.values]}
        return figures | ({"must": self.must, "reached": self.good} if self.must else {})

    def line(self) -> str:
        verdict = {None: "", True: "yes", False: "NO"}[self.good]
        span = f"{_format(min(self.values))} .. {_format(max(self.values))}" if len(self.values) > 1 else ""
        return f"  {self.name:36} {_format(self.middle):>10}  {span:24} {self.must:10} {verdict}".rstrip()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a case: its rows, and facts that are no figures."""

    case: str
    rows: Sequence[Row]
    facts: dict[str, Any] = field(default_factory=dict)


def rows_of_answers(rounds: Sequence[Answers], prefix: str = "") -> list[Row]:
    """The figures of rounds of asking."""
    rows = [
        Row(f"{prefix}per_s", [each.per_s for each in rounds]),
        Row(f"{prefix}p50_ms", [each.p50_ms for each in rounds]),
        Row(f"{prefix}p99_ms", [each.p99_ms for each in rounds]),
    ]
    return rows + rows_of_cpu([each.cpu_us for each in rounds], prefix)


def rows_of_cpu(rounds: Sequence[dict[str, float]], prefix: str = "") -> list[Row]:
    """µs of CPU by process."""
    return [Row(f"{prefix}{name}_cpu_us", [each[name] for each in rounds]) for name in rounds[-1]]


def circumstances() -> dict[str, str]:
    """The circumstances, beside gorgond, on which the figures depend."""
    found = {name: servers.version(name) for name in ("redis-server", "mongod", "wrk")}
    found |= {"python": platform.python_version(), "system": platform.platform()}
    found |= {name: _library(name) for name in _LIBRARIES}
    return found | {"cores": str(os.cpu_count()), "load at start": " ".join(f"{load:.2f}" for load in os.getloadavg())}


def table(results: Sequence[Result], circumstances: dict[str, str], settings: dict[str, Any]) -> str:
    """For people."""
    lines = [f"  {'':36} {'median':>10}  {'min .. max':24} must reach"]
    for result in results:
        lines += ["", result.case, *(row.line() for row in result.rows)]
        lines += [f"  {name}: {_text(fact)}" for name, fact in result.facts.items()]
    return "\n".join([*lines, "", _text(settings), _text(circumstances)])


def as_json(results: Sequence[Result], circumstances: dict[str, str], settings: dict[str, Any]) -> str:
    """For programs: the headlines, and all details below them."""
    headlines: dict[str, Any] = dict.fromkeys(HEADLINES)
    headlines |= {row.headline: _round(row.middle) for result in results for row in result.rows if row.headline}
    details = {result.case: {row.name: row.json() for row in result.rows} | result.facts for result in results}
    whole = headlines | {"details": details, "settings": settings, "circumstances": circumstances}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _library(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "not installed"


def _text(fact: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in fact.items()) if isinstance(fact, dict) else str(fact)


def _round(value: float) -> float:
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
