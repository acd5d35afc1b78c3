"""Drills as JUnit XML, for CI: a suite for each drill, a case for each check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from gorgond.chaos.drill import Result


def write(results: Sequence[Result], path: Path) -> None:
    """Write the file."""
    root = Element("testsuites", name="gorgon-chaos")
    for result in results:
        checks = result.verdict.checks
        suite = SubElement(
            root,
            "testsuite",
            name=result.drill.name,
            tests=str(len(checks) or 1),
            failures=str(sum(not check.passed for check in checks)),
            errors=str(int(result.error is not None)),
            skipped=str(int(bool(result.skipped))),
            time=f"{result.seconds:.1f}",
        )
        SubElement(SubElement(suite, "properties"), "property", name="seed", value=str(result.seed))
        if result.skipped:
            SubElement(_case(suite, result, "drill"), "skipped", message=result.skipped)
        if result.error:
            SubElement(_case(suite, result, "drill"), "error", message=str(result.error))
        for check in checks:
            case = _case(suite, result, check.name)
            if not check.passed:
                SubElement(case, "failure", message=check.text)
    indent(root)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: Element, result: Result, name: str) -> Element:
    return SubElement(suite, "testcase", classname=f"gorgon-chaos.{result.drill.name}", name=name)
