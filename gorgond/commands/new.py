"""`gorgond new NAME`: a small working application with a test, to be changed into what one wants."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

from gorgond.errors import GorgonError

_SKELETON = Path(__file__).parent / "skeleton"
_FILES = {"application.txt": "{}.py", "test.txt": "test_{}.py", "readme.txt": "README.md"}
_NAME = re.compile("[a-z][a-z0-9_]{0,31}")


def new(name: str) -> Path:
    """Write the application into a new directory of its name: that directory. Raises GorgonError."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise GorgonError(f"an application cannot be called {name!r}; allowed: a-z, then a-z 0-9 _, up to 32")
    directory = Path(name)
    if not directory.exists() and importlib.util.find_spec(name) is not None:
        raise GorgonError(f"there is a Python module {name} already: choose another name")
    try:
        directory.mkdir()
        for source, target in _FILES.items():
            text = Template((_SKELETON / source).read_text()).substitute(name=name)
            (directory / target.format(name)).write_text(text)
    except OSError as error:
        raise GorgonError(f"{error.filename}: {error.strerror}") from None
    return directory
