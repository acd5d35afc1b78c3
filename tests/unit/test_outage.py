"""An outage that several meet: told once, over when it is over for all who still try."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gorgond.redpill.broker import Outage


@pytest.fixture
def outage(expected_logs: Callable[[str], None]) -> Outage:
    expected_logs("database is away, waiting for it: full|database is back after")
    return Outage("database")


def test_it_is_over_when_it_is_over_for_all(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    # given a writer and a reader that meet it
    outage.begin("full", "writer")
    outage.begin("full", "reader")
    # when one of them is answered, then it goes on
    outage.end("reader")
    outage.end("reader")
    assert outage.length > 0
    # when both are, then it is over
    outage.end("writer")
    assert (outage.length, outage.reason) == (0.0, "")
    assert len(caplog.records) == 2


def test_who_tries_no_more_does_not_count(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    outage.begin("full", "writer")
    monkeypatch.setattr(Outage, "GIVEN_UP", 0.0)
    outage.end("reader")
    assert outage.length == 0
