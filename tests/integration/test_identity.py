"""Whose an answer is, while auth and app servers are killed: tools/prove kills in short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.programs import tool


@pytest.mark.usefixtures("redis_binary")
def test_no_request_fails_and_nobody_gets_what_is_anothers_while_instances_are_killed(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    # when users ask as fast as they are answered, while instances are killed at random moments
    store = f"sqlite:///{tmp_path}/notes.db"
    tool("tools/prove", "kills", "--answers", "3000", "--store", store, "--json", str(figures))
    # then each is answered, with what is theirs
    found = json.loads(figures.read_text())
    assert {name: found[name] for name in ("answered", "failed", "wrong_user", "dead_letters")} == {
        "answered": 3000, "failed": 0, "wrong_user": 0, "dead_letters": 0,
    }  # fmt: skip
    assert found["auth_kills"] > 0
    assert found["app_kills"] > 0
