"""Each package says in its docstring what its modules are: the map of the code, beside the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.programs import ROOT

PACKAGES = sorted(path.parent.relative_to(ROOT) for path in (ROOT / "gorgond").rglob("__init__.py"))
ROW = re.compile(r" *((?:[\w/]+ )*[\w/]+)  +\S")  # of a map: names, and what they are


def names(package: Path) -> set[str]:
    """Of the modules and packages in there."""
    directory = ROOT / package
    modules = {path.stem for path in directory.glob("*.py")} - {"__init__"}
    return modules | {path.parent.name for path in directory.glob("*/__init__.py")}


def mapped(docstring: str) -> set[str]:
    """What a docstring lists: the first words of its rows, and what it quotes."""
    rows = (match[1] for match in map(ROW.match, docstring.splitlines()) if match)
    return {name.strip("/") for row in rows for name in row.split()} | set(re.findall(r"`(\w+)`", docstring))


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_each_module_is_on_the_map_of_its_package(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    missing = names(package) - mapped(docstring)
    assert not missing, f"say in the docstring of {package}/__init__.py what these are: {' '.join(sorted(missing))}"
