"""Imports point one way: cli → commands → roles → stats → (http, stores, …) → app → service → redpill."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "gorgond"

# Each part and the parts it may import; itself always. What is not listed here may not exist.
EVERYWHERE = {"errors", "config", "settings", "validators"}
SERVICE = {"redpill"} | EVERYWHERE
MIDDLE = {"service"} | SERVICE
PARTS = {"auth", "http", "stores", "providers", "notifiers", "eventlog"}
ROLES = PARTS | MIDDLE | {"app", "stats"}
MAY_IMPORT = {
    "__init__": {"app"},  # when an application asks for it
    "redpill": set[str](),
    "errors": {"redpill"},  # only its errors: one tree has one root
    "validators": set[str](),
    "settings": {"validators"},
    "config": {"errors", "settings"},
    "service": SERVICE,
    "app": MIDDLE,
    **dict.fromkeys(PARTS, MIDDLE),
    "http": MIDDLE | {"app"},
    "stats": MIDDLE | {"http"},
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
    """`gorgond.http.api` is of the part `http`; `gorgond` itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def imports(path: Path) -> Iterator[str]:
    """The modules of gorgond that this one imports, at its top or in a function."""
    package = ["gorgond", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level], node.module] if node.level else [node.module]
            source = ".".join(filter(None, base))
            found = [f"{source}.{alias.name}" if source == "gorgond" else source for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "gorgond")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    # given a module of one part
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    allowed = MAY_IMPORT[part] | {part}
    # then all it imports is of that part or of one below
    assert {name for name in imports(path) if part_of(name) not in allowed | {"__version__"}} == set()


def test_errors_import_nothing_of_redpill_but_its_errors() -> None:
    assert set(imports(PACKAGE / "errors.py")) == {"gorgond.redpill.errors"}


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
        "    import gorgond.providers as providers\n"
    )
    # then all of them are found
    assert {part_of(name) for name in imports(module)} == {
        "cli", "http", "__version__", "stores", "redpill", "service", "roles", "providers"
    }  # fmt: skip
