"""What a session was begun with, as its user knows it."""

from __future__ import annotations

import pytest

from gorgond.service.agents import browser_of

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/126 Safari/537.36", "Chrome on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64) {WEBKIT} Chrome/126 Safari/537.36 Edg/126.0", "Edge on Windows"),
        (
            f"Mozilla/5.0 (Linux; Android 14) {WEBKIT} Chrome/126 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        (
            f"Mozilla/5.0 (iPhone; like Mac OS X) {WEBKIT} Version/17.5 Safari/604.1",
            "Safari on iPhone",
        ),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/17.4 Safari/605.1", "Safari on macOS"),
        ("curl/8.7.1", "curl"),
        ("x" * 300, "x" * 40),
        ("", "unknown"),
    ],
)
def test_a_browser_is_called_as_people_call_it(agent: str, shown: str) -> None:
    assert browser_of(agent) == shown
