"""The unit tests that the oldest libraries can fail: `python -m tests.oldest` prints their files.

A test is among them when it, or a module of gorgond that it imports, imports such a library: what is beyond that module
has tests of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.programs import ROOT

LIBRARIES = {"redis", "pymongo", "bson", "psycopg", "tornado", "argon2", "jwt", "idna", "croniter"}


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Each module that a file imports a name from, and the name."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def file_of(module: str, name: str) -> Path | None:
    """Where gorgond has this name of a module: itself, one of its files, or where a package has it from."""
    path = ROOT.joinpath(*module.split("."))
    for each in (path / f"{name}.py", path.with_suffix(".py")):
        if each.exists():
            return each
    package = path / "__init__.py"
    if not package.exists():
        return None
    origin = next((origin for origin, each in imports(package) if each == name and origin != module), "")
    return file_of(origin, name) if origin else package


def touches(file: Path, depth: int = 1) -> bool:
    """Whether it imports such a library, or something of ours that does."""
    for module, name in imports(file):
        if module.partition(".")[0] in LIBRARIES:
            return True
        if depth and module.startswith("gorgond") and (found := file_of(module, name)) and touches(found, depth - 1):
            return True
    return False


if __name__ == "__main__":
    for each in sorted((ROOT / "tests/unit").glob("test_*.py")):
        if touches(each):
            print(each.relative_to(ROOT))
