"""`gorgond up --reload`: what is saved runs, and what cannot run is told and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.upping import SHOP, up_with
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("redis_binary")

PAGE = """from gorgond import App, Response

app = App("shop")


@app.get("/shop")
async def shop(ctx):
    return Response({}, template="shop.html")
"""


def test_what_is_saved_runs_and_a_mistake_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with up_with(tmp_path, "--reload", "--web", "1", "--apps", "1", "--stores", "1") as running:
        # given no made-up notes, for nobody has asked for them
        assert not [name for name in running.processes() if name.startswith("provider")]
        pids = running.processes()
        # when the module is saved, then it runs
        running.module.write_text(SHOP.replace("first", "second"))
        eventually(lambda: running.shop() == '"second"')
        # when it is no Python, then its line is told, once, and what ran before goes on
        running.module.write_text(SHOP.replace("async def shop(ctx)", "async def shop(ctx"))
        eventually(lambda: "; what ran before goes on" in running.written)
        assert running.shop() == '"second"'
        assert running.written.count(f"{running.module}:7: ") == 1
        # when it cannot be loaded, then its servers say so
        running.module.write_text(SHOP.replace("(ctx)", "(ctx, n: 'itn')"))
        eventually(lambda: "the old one stays: " in running.written)
        assert running.shop() == '"second"'
        # when it is mended and has a page, then that runs, and so does what becomes of the page
        page = tmp_path / "templates/shop.html"
        page.parent.mkdir()
        page.write_text("third")
        running.module.write_text(PAGE)
        eventually(lambda: running.shop() == "third")
        page.write_text("fourth")
        eventually(lambda: running.shop() == "fourth")
        assert running.processes() == pids
