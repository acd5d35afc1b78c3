"""The documentation as the stats server shows it."""

from __future__ import annotations

import html
import re

import pytest

from gorgond.stats.documents import PLACES, document, document_page

NAMES = sorted(path.name for path in PLACES[0].glob("*.md"))


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_shown_whole_with_links_to_what_is_there(name: str) -> None:
    page = (document_page(name) or b"").decode()
    for target in re.findall(r'<a href="([^"]+)">', page):
        there = target.partition("#")[0]
        assert there == "../" or target.startswith("https://") or there in NAMES, target
    # without what makes the links, it is the text
    shown = html.unescape(re.sub("<[^>]+>", "", page.partition("<h1>")[2]))
    plain = re.sub(r"!?\[([^][]*)\]\([^)]*\)", r"\1", (document(name) or b"").decode())
    assert shown.split() == plain.removeprefix("# ").split()


def test_what_is_no_document_is_none() -> None:
    assert document_page("../README.md") is None
    assert document_page("none.md") is None
