"""Which line is to blame when foreign code fails as it is imported: one that its author has written, however deep in
other libraries the error was raised."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from gorgond.errors import ConfigError

_OURS = str(Path(__file__).parent) + "/"
_INSTALLED = ("site-packages", "dist-packages")  # directories of other people's packages
_PYTHON = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib")})


def describe_fault(what: str, error: Exception) -> str:
    """Place and error in words, for the import of `what`."""
    if isinstance(error, SyntaxError) and not (error.filename or "<").startswith("<"):  # not of an annotation
        return f"{error.filename}:{error.lineno}: {error.msg}"
    name = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    return f"{line_of(error) or what}: {name}{error}"


def line_of(error: Exception) -> str:
    """The innermost line of the author's own, as file:number; where there is none, of a package, or of Python itself.
    Empty where all of it is ours."""
    lines = [
        (_rank(frame.filename), f"{frame.filename}:{frame.lineno}")
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", _OURS))
    ]
    best = min((rank for rank, _ in lines), default=0)
    return next((line for rank, line in reversed(lines) if rank == best), "")


def _rank(file: str) -> int:
    if any(part in _INSTALLED for part in Path(file).parts):
        return 1
    return 2 if file.startswith(_PYTHON) else 0
