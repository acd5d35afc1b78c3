"""What the client reports."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gorgond.commands.report import Report


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    """Two seconds, three answers a second after 0.8, 1.8 and 40 ms, and an error."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    report = Report("http://localhost:3000", 3, 3.0)
    report.begin()
    for second in (0.5, 1.5):
        now = 100 + second
        for milliseconds in (0.8, 1.8, 40):
            report.count_sent(now)
            report.answer(now - milliseconds / 1000)
    report.error("reset")
    now = 102.0
    report.end()
    return report


def test_figures(report: Report) -> None:
    figures = json.loads(report.json())
    assert (figures["answers"], figures["throughput"], figures["errors"]) == (6, 3.0, {"reset": 1})
    assert figures["latency_ms"]["max"] == pytest.approx(40, abs=0.01)
    assert figures["latency_ms"]["p50"] == pytest.approx(1.8, rel=0.07)
    assert [second["answers"] for second in figures["seconds"]] == [3, 3]
    assert figures["late_ms"]["max"] == 0


def test_text_shows_throughput_errors_and_a_histogram(report: Report) -> None:
    lines = report.text().splitlines()
    assert lines[2:4] == ["answers     6, 3.0/s", "errors      1 (reset: 1)"]
    bars = [line.split()[1:4] for line in lines if line.lstrip().startswith("≤")]
    assert bars == [
        ["1", "ms", "2"],
        ["2", "ms", "2"],
        ["5", "ms", "0"],
        ["10", "ms", "0"],
        ["20", "ms", "0"],
        ["50", "ms", "2"],
    ]


def test_nothing_answered_is_a_report_too() -> None:
    report = Report("http://localhost:3000", 1, None)
    report.begin()
    report.end()
    assert "answers     0" in report.text()


def test_picture(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from gorgond.commands.plot import plot

    nothing = Report("http://localhost:3000", 1, None)
    nothing.begin()
    nothing.end()
    for name, each in (("some.png", report), ("none.png", nothing)):
        plot(each, str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
