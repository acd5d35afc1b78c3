"""Whether a SQLite file is where it is safe, and how large it is."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gorgond.stores.findings import Finding, size

MOUNTS = Path("/proc/self/mountinfo")

REMOTE = frozenset(
    ("afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "lustre", "nfs",
     "nfs4", "smb3", "smbfs")
)  # fmt: skip
"""File systems of other hosts, on which neither locks nor the memory that a file's users share work."""

VOLATILE = frozenset(("ramfs", "tmpfs"))
"""Those whose files end with the power."""

OLDEST = (3, 38)  # has the operators of JSON by which documents are found


def findings_of(path: Path, connection: sqlite3.Connection) -> Iterator[Finding]:
    """What is found of the file at `path`, over a connection of a store."""
    version = sqlite3.sqlite_version_info
    yield Finding(
        "version", f"SQLite {sqlite3.sqlite_version}",
        "" if version >= OLDEST else f"SQLite {'.'.join(map(str, OLDEST))} or newer is needed", version < OLDEST,
    )  # fmt: skip
    kind = _file_system(path)
    advice = {
        **dict.fromkeys(REMOTE, "SQLite needs a disk of this host: say a [store] url with a path on one"),
        **dict.fromkeys(VOLATILE, "what is stored there is gone after a power failure"),
    }.get(kind, "")
    yield Finding("file system", kind, advice, kind in REMOTE)
    [journal] = connection.execute("PRAGMA journal_mode").fetchone()
    yield Finding(
        "journal", journal,
        "" if journal == "wal" else "it must be wal, which SQLite refuses there: is it a disk of this host?",
        journal != "wal",
    )  # fmt: skip
    [synchronous] = connection.execute("PRAGMA synchronous").fetchone()
    yield Finding("synchronous", "full, as each store has it" if synchronous == 2 else str(synchronous))
    sizes = [Path(f"{path}{suffix}") for suffix in ("", "-wal")]
    used = sum(each.stat().st_size for each in sizes if each.exists())
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    yield Finding("size", size(used))
    yield Finding("free on its disk", size(free), "" if free > used / 10 else "the disk is nearly full: make room")


def _file_system(path: Path) -> str:
    """The kind of the file system that `path` is on; "unknown" where the kernel does not tell."""
    place, found = os.path.realpath(path), (0, "unknown")
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        mount, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split()[4])
        if place == point or place.startswith(point.rstrip("/") + "/"):
            found = max(found, (len(point), source.split()[0]), key=lambda each: each[0])
    return found[1]
