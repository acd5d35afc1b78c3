"""What a command prints, to a reader who may have seen enough (`gorgonctl dead list | head`) or onto a full disk."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run a command; its exit code.

    It is 0 when the reader of its output has gone. It is EX_IOERR, 74, with a line on stderr, when the output cannot be
    written for another reason.
    """
    before = sys.stdout
    if before is not sys.__stdout__:  # a caller has put it elsewhere, and meets its errors itself
        return command()
    output = _Output(os.devnull if before is None else before.fileno())
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=before.encoding if before is not None else None,
        errors=before.errors if before is not None else None,
        line_buffering=output.isatty(),
    )
    try:
        try:
            code = command()
        finally:  # also of --help, which ends by SystemExit
            sys.stdout.flush()
    except (OSError, SystemExit):
        if output.error is None:
            raise
    finally:
        sys.stdout = before
    if output.error is None:
        return code
    if output.error.errno == errno.EPIPE:
        return 0
    print(f"{program}: the output is not complete: {output.error.strerror}", file=sys.stderr)
    return os.EX_IOERR


class _Output(io.FileIO):
    """A file that remembers why it could not be written, and from then on takes what comes and drops it.

    So an error of standard output is told from that of another file, also where a library caught it.
    """

    def __init__(self, place: str | int) -> None:
        super().__init__(place, "wb", closefd=isinstance(place, str))
        self.error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
                raise
        return memoryview(data).nbytes
