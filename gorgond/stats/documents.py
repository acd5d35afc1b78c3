"""The documentation as it lies on this host, in the checkout or where the Debian package puts it, to be read in a
browser: its text as it is written, with headings that stand out and links that lead on."""

from __future__ import annotations

import gzip
import html
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


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · gorgond</title><link rel="icon" href="../static/well.svg">
<link rel="stylesheet" href="../static/page.css"></head>
<body><main class="document"><p><a href="../">Stats</a></p><h1>{title}</h1><pre>{text}</pre></main></body></html>
"""
_PICTURE = re.compile(r"!\[([^]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^][]+)\]\((https?://[^) ]+|[a-z0-9-]+\.md(?:#[\w-]*)?)\)")
_OTHER = re.compile(r"\[([^][]+)\]\([^)]*\)")  # to a file that is not served
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def document_page(name: str) -> bytes | None:
    """The page of a document; None where it is not installed."""
    found = document(name)
    if found is None:
        return None
    text = _PICTURE.sub(r"\1", html.escape(found.decode()))
    title, _, text = text.removeprefix("# ").partition("\n")
    text = _OTHER.sub(r"\1", _LINK.sub(r'<a href="\2">\1</a>', text))
    return _PAGE.format(title=title, text=_HEADING.sub(r"<strong>\g<0></strong>", text)).encode()
