"""`gorgond up --reload`: the servers read an application anew as soon as one of its files is saved.

What is no Python is told here, once, with its line; whatever else cannot be loaded the servers tell, and refuse it. In
both cases what ran before goes on. Modules of other packages that an application imports want a restart.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gorgond.app.loading import search_here, top_of
from gorgond.blame import describe_fault
from gorgond.config import Config
from gorgond.service.life import log

LOOK = 0.3  # seconds between two looks

Seen = dict[Path, tuple[int, int]]  # when each file was changed, and its size


class Reloading:
    """Looks at the files of the applications; `reload` is called when some have changed."""

    def __init__(self, config: Config, reload: Callable[[], None]) -> None:
        search_here()
        self._tops = {top_of(name) for name in config.app.module.split()} - {"gorgond"}
        self._directory = config.app.directory
        self._reload = reload

    async def run(self) -> None:
        """Look again and again."""
        before = self._look()
        while True:
            await asyncio.sleep(LOOK)
            now = self._look()
            changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
            before = now
            if not changed:
                continue
            if faults := [fault for path in changed if path in now and (fault := _fault_of(path))]:
                log.error("%s; what ran before goes on", "; ".join(faults))
            else:
                log.info("%s changed: read anew", ", ".join(path.name for path in changed))
                self._reload()

    def _look(self) -> Seen:
        seen: Seen = {}
        for path in self._files():
            try:
                about = path.stat()
            except OSError:  # it is just being replaced
                continue
            seen[path] = (about.st_mtime_ns, about.st_size)
        return seen

    def _files(self) -> Iterator[Path]:
        """The files that a reload reads anew."""
        folders = {Path(self._directory)} if self._directory else set()
        for top in self._tops:
            spec = importlib.util.find_spec(top)
            if spec is None or spec.origin is None:
                continue
            file = Path(spec.origin)
            if spec.submodule_search_locations:
                yield from _below(file.parent)
            else:
                yield file
                folders.add(file.parent)
        for folder in folders:
            if str(folder) == self._directory:
                yield from folder.glob("*.py")
            for name in ("templates", "static"):
                yield from _below(folder / name)


def _below(top: Path) -> Iterator[Path]:
    """All files of a directory and those within it, but hidden ones, and what Python keeps."""
    for directory, inner, names in os.walk(top):
        inner[:] = [each for each in inner if not each.startswith(".") and each != "__pycache__"]
        yield from (Path(directory, name) for name in names if not name.startswith("."))


def _fault_of(path: Path) -> str:
    """Where a file is no Python; nothing if it may be read anew."""
    if path.suffix != ".py":
        return ""
    try:
        compile(path.read_bytes(), str(path), "exec")
    except FileNotFoundError:
        return ""
    except (OSError, SyntaxError, ValueError) as error:
        return describe_fault(str(path), error)
    return ""
