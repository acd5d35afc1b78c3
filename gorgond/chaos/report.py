"""Reports of drills: for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gorgond.chaos.drill import Result
from gorgond.chaos.errors import Refused


def text(result: Result) -> str:
    """A drill's verdict, a line for each check."""
    name = result.drill.name
    if result.skipped:
        return f"{name}: skipped, {result.skipped}"
    if result.error:
        return f"{name}: {'REFUSED' if isinstance(result.error, Refused) else 'ABORTED'}, {result.error}"
    verdict = result.verdict
    lines = [f"{name}: {'passed' if verdict.passed else 'DEVIATED'} in {result.seconds:.0f} s (seed {result.seed})"]
    lines += [f"  {'ok  ' if check.passed else 'FAIL'} {check.name:14} {check.text}" for check in verdict.checks]
    figures = verdict.figures
    for title, key in (("victims away", "away s"), ("recovery", "recovery s")):
        spread = ", ".join(f"{name} {value:g}" for name, value in figures.get(key, {}).items())
        lines.append(f"       {title:14} {spread or '-'}")
    slow = ", ".join(f"{way}: {number}" for way, number in figures.get("slow", {}).items()) or "none"
    lines.append(f"       {'answers':14} p50 {figures.get('p50 ms')} ms, p99 {figures.get('p99 ms')} ms; slow: {slow}")
    return "\n".join(lines)


def figures(results: Sequence[Result]) -> list[dict[str, Any]]:
    """All of it for programs."""
    return [
        {
            "drill": result.drill.name,
            "what": result.what,
            "seed": result.seed,
            "seconds": round(result.seconds, 1),
            "parts": result.parts,
            "skipped": result.skipped,
            "error": str(result.error or ""),
            "passed": result.judged and result.verdict.passed,
            "checks": [asdict(check) for check in result.verdict.checks],
            "figures": result.verdict.figures,
            "faults": [asdict(fault) for fault in result.faults],
        }
        for result in results
    ]


def as_json(results: Sequence[Result]) -> str:
    return json.dumps(figures(results), indent=1)
