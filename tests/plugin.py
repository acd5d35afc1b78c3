"""A package that is installed nowhere: its modules and entry points in a directory that is put into PYTHONPATH."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def make_plugin(directory: Path, modules: Mapping[str, str], points: Mapping[str, Mapping[str, str]]) -> Path:
    """The directory, with these modules by their names, and entry points: group → name → "module:Object"."""
    metadata = directory / "throwaway-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: throwaway\nVersion: 1.0\n")
    lines = []
    for group, named in points.items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in named.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, text in modules.items():
        (directory / f"{name}.py").write_text(text)
    return directory
