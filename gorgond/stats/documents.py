"""The documentation as it lies on this host: in the checkout, or where the Debian package puts it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

PLACES = (Path(__file__).parents[2] / "docs", Path("/usr/share/doc/gorgond"))
_NAME = re.compile(r"[a-z0-9-]+\.md")


def document(name: str) -> bytes | None:
    """The text of one of the files of docs/, which Debian keeps compressed; None where it is not installed."""
    for place in PLACES if _NAME.fullmatch(name) else ():
        if (plain := place / name).is_file():
            return plain.read_bytes()
        if (packed := place / f"{name}.gz").is_file():
            return gzip.decompress(packed.read_bytes())
    return None
