"""Imports point one way: cli → commands → roles → (stats, live) → (http, stores, …) → app → (service → redpill,
outside).

Everybody may read the table of roles, which imports nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from gorgond import redpill

PACKAGE = Path(__file__).parents[2] / "gorgond"

TABLE = {
    "gorgond.roles",
    "gorgond.roles.row",
    "gorgond.providers",
    "gorgond.sinks",
    "gorgond.notifiers",
    "gorgond.stores.drivers",
}

# Each part and the parts it may import; itself always. No other part may exist.
EVERYWHERE = {"bounds", "errors", "config", "settings", "validators", "table", "plugins", "blame"}
SERVICE = {"redpill"} | EVERYWHERE
MIDDLE = {"service"} | SERVICE
PARTS = {"auth", "http", "stores", "providers", "notifiers", "sinks"}
ROLES = PARTS | MIDDLE | {"app", "live", "stats", "outside"}
MAY_IMPORT = {
    "__init__": {"app"},  # when an application asks for it
    "redpill": set[str](),
    "errors": {"redpill"},  # only its errors: one tree has one root
    "validators": set[str](),
    "bounds": set[str](),
    "table": {"plugins"},
    "blame": {"errors"},
    "plugins": {"errors", "blame"},
    "settings": {"validators", "redpill", "table"},
    "config": {"errors", "settings", "table", "plugins"},
    "service": SERVICE,
    "outside": {"errors", "validators"},  # whoever asks somebody may use it
    "app": MIDDLE | {"outside"},
    **dict.fromkeys(PARTS, MIDDLE),
    "auth": MIDDLE | {"app"},
    "http": MIDDLE | {"app"},
    "providers": MIDDLE | {"outside"},
    "notifiers": MIDDLE | {"app", "outside"},
    "stats": MIDDLE | {"app", "http"},
    "live": MIDDLE | {"app", "http", "stores"},
    "roles": ROLES,
    "testing": ROLES | {"roles"},
    "commands": ROLES | {"roles"},
    "chaos": SERVICE | {"service", "commands", "app"},
    "cli": ROLES | {"roles", "commands"},
    "gorgonctl": MIDDLE | {"commands"},
    "__main__": {"cli", "service"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """`gorgond.http.api` is of the part `http`; `gorgond` itself is `__init__`, the table of roles its own."""
    if module in TABLE:
        return "table"
    return [*module.split("."), "__init__"][1]


def taken(path: Path) -> Iterator[tuple[str, str]]:
    """What of gorgond this module imports, at its top, in a function or for its types: the module, and the name in it,
    which is empty for the module as a whole."""
    package = ["gorgond", *path.relative_to(PACKAGE).parent.parts] if path.is_relative_to(PACKAGE) else []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level], node.module] if node.level else [node.module]
            found = [(".".join(filter(None, base)), alias.name) for alias in node.names]
        else:
            continue
        yield from (each for each in found if each[0].split(".")[0] == "gorgond")


def imports(path: Path) -> Iterator[str]:
    """The modules of gorgond that this one imports; a name of gorgond itself as if it were one."""
    for module, name in taken(path):
        yield f"{module}.{name}" if module == "gorgond" or is_module(f"{module}.{name}") else module


def is_module(name: str) -> bool:
    found = PACKAGE.parent.joinpath(*name.split("."))
    return found.with_suffix(".py").is_file() or (found / "__init__.py").is_file()


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of an import circle, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    # given a module of one part
    part = part_of(".".join(["gorgond", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"))
    allowed = MAY_IMPORT[part] | {part}
    # then all it imports is of that part or of one below
    assert {name for name in imports(path) if part_of(name) not in allowed | {"__version__"}} == set()


def test_errors_import_nothing_of_redpill_but_its_errors() -> None:
    for module, name in taken(PACKAGE / "errors.py"):
        assert module == "gorgond.redpill"
        assert issubclass(getattr(redpill, name), redpill.GorgonError)


def test_no_modules_import_each_other_in_a_circle() -> None:
    # given all imports, also those in functions and for types; a table that names modules to be imported when they are
    # asked for, as redpill's DRIVERS, holds texts and no imports
    graph = {name_of(path): set(imports(path)) for path in modules()}
    # then one can go through all modules so that each comes after those that it imports
    assert circle(graph) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"a"}}) == ["a", "d", "b", "a"]


OUTSIDE = [
    path
    for root in (PACKAGE, PACKAGE.parent / "tools", PACKAGE.parent / "examples")
    for path in sorted(root.rglob("*.py"))
    if PACKAGE / "redpill" not in path.parents
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_redpill_is_met_at_its_public_face(path: Path) -> None:
    # given a module outside of redpill
    from_redpill = {(module, name) for module, name in taken(path) if module.startswith("gorgond.redpill")}
    # then it takes what redpill offers, and nothing out of redpill's modules
    assert {module for module, _ in from_redpill} <= {"gorgond.redpill"}
    assert {name for _, name in from_redpill} <= {*redpill.__all__, ""}


def test_every_kind_of_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a module that imports in every way there is
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    module = tmp_path / "redpill/queue.py"
    module.parent.mkdir()
    module.write_text(
        "import os, gorgond.cli\n"
        "from gorgond import http, __version__\n"
        "from gorgond.stores.mongo import MongoStore\n"
        "from . import keys\n"
        "from .message import Message\n"
        "from ..service import health\n"
        "from .. import roles\n"
        "def late():\n"
        "    import gorgond.providers.random as providers\n"
    )
    # then all of them are found
    assert {part_of(name) for name in imports(module)} == {
        "cli", "http", "__version__", "stores", "redpill", "service", "table", "providers"
    }  # fmt: skip
