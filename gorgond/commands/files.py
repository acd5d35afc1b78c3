"""Files that root writes for others to read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from gorgond.errors import GorgonError


def write_whole(file: Path, text: str, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Write a file so that it is there whole or as it was, whatever happens, and nowhere else than at `file`: under a
    new name, onto the disk, then renamed. `uid` and `gid` of -1 are ours.

    Raises GorgonError when others may write into its directory, for they could put a link to another file there;
    OSError when it cannot be written.
    """
    directory = os.open(file.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        about = os.fstat(directory)
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise GorgonError(f"{file.parent}: others may write there; chown root and chmod go-w make it safe")
        fresh = f".{file.name}.{token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(fresh, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(made, "w", encoding="utf-8") as writing:
                os.fchown(made, uid, gid)
                os.fchmod(made, mode)
                writing.write(text)
                writing.flush()
                os.fsync(made)
            os.rename(fresh, file.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh, dir_fd=directory)
            raise
        os.fsync(directory)
    finally:
        os.close(directory)
