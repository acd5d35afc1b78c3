"""An application that counts what a search finds is told when there is more than is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from gorgond.stores import contract, sqlite
from gorgond.testing import serving
from tests.waiting import eventually

COUNTS = """
from gorgond import App

app = App("counts")


@app.post("/notes")
async def note(ctx, body: dict) -> dict:
    await ctx.store.insert("items", body)
    return body


@app.get("/number")
async def number(ctx, q: str) -> int:
    return await ctx.store.count("items", search=q)
"""


def test_a_number_that_was_not_counted_to_its_end_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an application that answers with a count
    for module in (contract, sqlite):
        monkeypatch.setattr(module, "COUNTED", 2)
    (tmp_path / "ta_counts.py").write_text(COUNTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    with serving("ta_counts", store__url=f"sqlite:///{tmp_path}/test.db") as site:
        for title in ("fox", "hare", "hare", "wolf", "wolf", "wolf"):
            assert site.post("/notes", {"title": title}).status == 200
        eventually(lambda: site.get("/number?q=fox").status == 200)  # when the index is there
        # then its number is exact up to what is counted
        for q, number in (("fox", 1), ("hare", 2)):
            answer = site.get(f"/number?q={q}")
            assert answer.json == number
            assert "x-more" not in answer.headers
        # and of more it says so
        answer = site.get("/number?q=wolf")
        assert answer.json == 2
        assert answer.headers["x-more"] == "true"
