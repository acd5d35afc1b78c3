"""For which time an ID token is good."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.auth import oauth2


@pytest.mark.parametrize(
    ("claims", "current"),
    [
        ({"iat": 1000, "exp": 1010}, True),
        ({"iat": 1060, "exp": 1070}, True),
        ({"iat": 1061, "exp": 1070}, False),
        ({"iat": 900, "exp": 941}, True),
        ({"iat": 900, "exp": 940}, False),
        ({"iat": 900, "nbf": 1061, "exp": 2000}, False),
        ({"iat": 900.5, "exp": 2000}, True),
        ({"iat": "900", "exp": 2000}, False),
        ({"iat": 900, "exp": None}, False),
        ({"iat": 900, "exp": True}, False),
        ({"iat": 900, "nbf": [1], "exp": 2000}, False),
    ],
)
def test_it_is_good_between_its_times_by_the_brokers_clock_with_a_minute_of_tolerance(
    claims: dict[str, Any], current: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth2, "now_ms", lambda: 1_000_000)
    assert oauth2.is_current(claims) is current
