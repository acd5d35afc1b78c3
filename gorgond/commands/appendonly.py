"""Makes Redis' append-only files readable again after a power failure.

    python3 -m gorgond.commands.appendonly DIRECTORY     as gorgon-broker.service does before each start

Redis writes, then waits for the disk, then confirms. When the power fails in between, the file system may know the
file's new size without its data, and the file ends in zeros. Redis starts with a file whose last command is cut short,
but refuses one with zeros at its end. None of them was ever confirmed, and no command ends in a zero: they are cut off.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

BLOCK = 1 << 16  # bytes looked at together


def cut_zeros(directory: Path) -> list[str]:
    """Cut the zeros off the files of the Redis whose `dir` this is, and which does not run; a line for each that had
    some. Raises OSError."""
    return [
        f"{file} ended in {zeros} zeros, as a power failure may leave them: cut off"
        for file in sorted(directory.glob("appendonlydir/*.incr.aof"))
        if (zeros := _cut(file))
    ]


def _cut(path: Path) -> int:
    """How many zeros were at the end of the file."""
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - BLOCK)
            file.seek(begin)
            rest = file.read(end - begin).rstrip(b"\0")
            end = begin + len(rest)
            if rest:
                break
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())
        return size - end


if __name__ == "__main__":
    for line in cut_zeros(Path(sys.argv[1])):
        print(line)
