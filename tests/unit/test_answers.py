"""Answers: what may go into them of what other processes say."""

from __future__ import annotations

import pytest

from gorgond.http.answers import sendable


@pytest.mark.parametrize("name", ["Location", "X-Total", "Set-Cookie"])
def test_a_header_is_passed_on(name: str) -> None:
    assert sendable({name: "/items/1; a=b"}) == {name: "/items/1; a=b"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("X", "a\r\nSet-Cookie: b"), ("X\r\nY", "a"), ("X", "a\nb"), ("", "a"), ("A b", "c"), ("X", "€"), ("X", "\0"),
        ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("X-Request-Id", "1"),
    ],
)  # fmt: skip
def test_what_would_break_an_answer_is_left_out(name: str, text: str) -> None:
    assert sendable({name: text, "Kept": "yes"}) == {"Kept": "yes"}
