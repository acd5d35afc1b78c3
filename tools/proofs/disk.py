"""A file system of its own whose power can fail: what was written to it and not yet fsynced is gone.

    with Disk(directory) as disk:
        …                   files below disk.path
        disk.fail()         from now on whoever still has a file open gets EIO
        disk.restore()      the power is back: what was on the disk is there

It is an ext4 in a file. It fails by the ioctl that is made for such tests (EXT4_IOC_SHUTDOWN, as `godown` of xfstests
does): pages and journal that are in memory alone stay there. Nothing but fsync brings them to the disk, since it is
mounted such that the kernel does not do so by itself within some seconds, nor for a file that replaces another one.
Wants root and loop devices.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.speed.processes import BenchError

SIZE = 2 << 30  # bytes, of which the file has those that were written
OPTIONS = "loop,commit=600,noauto_da_alloc"
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN of the kernel's fs/ext4/ext4.h, and its harshest way


class Disk:
    """`path` is its root directory, whose files are those of `directory`/image."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "disk"
        self._image = directory / "image"

    def __enter__(self) -> Self:
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _run("mkfs.ext4", "-q", str(self._image))
        self._mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._unmount()

    def fail(self) -> None:
        """The power fails. Kill the writers just before, so that nobody sees it happen."""
        root = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(root, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(root)

    def restore(self) -> None:
        """The power is back. Nobody may have a file of it open."""
        self._unmount()
        # A mount namespace that somebody made meanwhile still has what failed. So its blocks get another one.
        copy = self._image.with_suffix(".copy")
        _run("cp", "--sparse=always", str(self._image), str(copy))
        copy.replace(self._image)
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", OPTIONS, str(self._image), str(self.path))

    def _unmount(self) -> None:
        _run("umount", str(self.path))


def _run(*command: str) -> None:
    environ = os.environ | {"PATH": f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchError(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise BenchError(f"no file system to try it on, it wants root and loop devices: {done.stderr.strip()}")
