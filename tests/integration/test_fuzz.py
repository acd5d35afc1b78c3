"""Nothing that is sent ends in a 500, a hang or the end of an instance, and /openapi.json is true: tools/prove fuzz in
short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.programs import tool

REQUESTS = 3000


@pytest.mark.usefixtures("redis_binary")
@pytest.mark.parametrize("parser", ["llhttp", "tornado"])
def test_nothing_that_is_sent_does_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parser: str) -> None:
    figures = tmp_path / "figures.json"
    if parser == "tornado":  # as where httptools is not installed
        (tmp_path / "httptools.py").write_text("raise ImportError('hidden')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # when a whole gorgond is sent what is wrong in every way, and what its description allows
    tool("tools/prove", "fuzz", "--requests", str(REQUESTS), "--json", str(figures))
    # then each is answered or refused as it should be
    found = json.loads(figures.read_text())
    assert found["faults"] == {}
    assert found["own"] + found["schemathesis"] >= REQUESTS
    assert found["schemathesis"] > 50  # operations are that many
