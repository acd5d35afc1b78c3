"""schemathesis sends what /openapi.json allows and what it does not, and holds each answer against the description."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.speed.people import Person
from tools.speed.processes import BenchError

CHECKS = ",".join((
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance", "negative_data_rejection",
))  # fmt: skip
CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 415, 422, 429, 431]
"""
ENDLESS = "^/live$"  # it would be waited for
LAST = "(/logout|^/auth/sessions)$"  # these end the session
THOROUGH = 10_000  # requests in all, from which on the edges of every schema are tried too, and more examples


@dataclass(slots=True)
class Described:
    """The requests that schemathesis has sent, and its findings."""

    requests: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def schemathesis(url: str, people: Sequence[Person], requests: int, seed: int, directory: Path) -> Described:
    """Have it attack with the session of the first of these users, then with that of the last, which ends by it.
    `requests` says how thorough it is."""
    found = Described()
    (directory / "schemathesis.toml").write_text(CONFIGURATION)
    phases, examples = ("coverage,fuzzing", "30") if requests >= THOROUGH else ("fuzzing", "3")
    for person, paths in (
        (people[0], ["--exclude-path-regex", f"{ENDLESS}|{LAST}"]),
        (people[-1], ["--include-path-regex", LAST]),
    ):
        report = directory / "schemathesis.json"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *paths, "--checks", CHECKS]
        command += ["-H", f"Authorization: Bearer {person.token}", "--seed", str(seed), "--max-examples", examples]
        command += ["--phases", phases, "--continue-on-failure", "--no-shrink"]
        command += ["--generation-database", "none", "--report", "json", "--report-json-path", str(report)]
        ran = subprocess.run([*command, "--no-color"], cwd=directory, capture_output=True, text=True, check=False)
        if not report.exists():
            raise BenchError(f"schemathesis failed:\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}")
        _add(found, json.loads(report.read_text()), ran.stdout)
    return found


def _add(found: Described, report: dict[str, Any], said: str) -> None:
    number = report["test_cases"]["generated"]
    found.requests += number
    found.ends["as told"] += number - report["test_cases"]["with_failures"]
    found.ends["not"] += report["test_cases"]["with_failures"]
    faults = [*report["failures"], *report["errors"]]
    if faults or report["exit_code"] != 0:
        found.faults["schemathesis"] += max(len(faults), 1)
        found.examples.append(said)
