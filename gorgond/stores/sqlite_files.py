"""The files of a SQLite database as a connection opened them. A process that holds a file that was removed or replaced
goes on writing into it, and nobody will ever read that: so each batch looks, before and after, whether the names still
lead there.

A file that is missing is never made anew under a running store, and another one in its place is not taken for it: what
was answered as stored is in the old one, which lives as long as it is held open. When it is back all goes on.
"""

from __future__ import annotations

from pathlib import Path

from gorgond.errors import StoreAway

Identity = tuple[int, int] | None
"""Device and inode; None for a file that is not there."""


class Files:
    """The database at `path` with its log and the memory that its users share, as they are now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
        self._found = [_identity(name) for name in self._names]

    def see(self, database_alone: bool = False) -> None:
        """Raises StoreAway when a name leads to another file by now, or to none."""
        for name, found in zip(self._names[:1] if database_alone else self._names, self._found, strict=False):
            now = _identity(name)
            if now != found:
                raise StoreAway(f"SQLite {self._path}: {self._advice(name, now)}")

    def _advice(self, name: Path, now: Identity) -> str:
        if name != self._names[0]:
            which = name.name.rpartition("-")[2]
            return f"its -{which} was removed or replaced: stop all stores, which saves what is in it, then start them"
        if now is None:
            return "its file was removed: put it back, or stop all stores to begin with an empty one"
        return "its file was replaced: put the old one back, or stop all stores to go on with the new one"


def _identity(name: Path) -> Identity:
    try:
        found = name.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
