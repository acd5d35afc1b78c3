"""The stats page of a fabric whose broker is a set: who is the master, who follows, what hurts."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from tests.browser.fabric import Fabric
from tests.browser.viewer import Viewer

A, B, C = "10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"


def server(where: str, **changes: Any) -> dict[str, Any]:
    well = {"where": where, "role": "replica", "follows": A, "lacks": 0, "heard": 0, "error": "", "is_copy": True}
    return {**well, "ends_in": 500 * 86_400, **changes}


REPLICATION = {
    "name": "gorgon", "needed": 1, "named": A, "copies": 2,
    "holds": "two copies, and nobody takes over when the master's host dies",
    "servers": [
        server(A, role="master", follows="", lacks=None, heard=None), server(B, lacks=1804, heard=1),
        server(C, role="", follows="", lacks=None, heard=None, error="no answer within 2 s", ends_in=None),
    ],
    "sentinels": [
        {"where": f"10.0.0.{n}:26379", "names": A if n < 3 else "", "error": "" if n < 3 else "no answer within 2 s",
         "ends_in": 20 * 86_400 if n < 3 else None}
        for n in (1, 2, 3)
    ],
    "failovers": 1, "failover": {"ago": 240, "from": C, "to": A},
}  # fmt: skip
REASON = "no server answers at 10.0.0.3: start that host, or mend its network (no answer within 2 s)"
NOTE = f"failover 4 min ago: {A} is the master of gorgon, before it was {C}"


@pytest.fixture
def page_of_a_set(browser: Browser, fabric: Fabric) -> Any:
    """The page, told of a set of three of which one host is away."""
    viewer = Viewer(browser, fabric.stats_url, {"width": 1440})

    def change(route: Route) -> None:
        picture = fabric.picture
        picture["redis"][0]["replication"] = REPLICATION
        picture["verdict"] = {
            "state": "degraded", "text": f"Degraded: {REASON}; {NOTE}", "reasons": [REASON], "notes": [NOTE],
        }  # fmt: skip
        data = f"retry: 500\nevent: picture\ndata: {json.dumps(picture)}\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=data)

    viewer.page.route(re.compile("/api/stats$|/api/stream|/api/live|/api/events"), change)
    viewer.page.reload()
    yield viewer
    viewer.close()


def test_it_shows_each_server_and_what_holds(page_of_a_set: Viewer) -> None:
    page = page_of_a_set
    page.sees("#servers-holds", "Two copies, and nobody takes over")
    page.sees("#servers-holds", f"{A} has been the master for 4 min, before it was {C}")
    page.verdict("Degraded: no server answers at 10.0.0.3")
    page.sees("#reasons", "Failover 4 min ago")
    assert page.number("#servers", B, "Lacks") == 1.8
    rows = page.find("#servers tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row).strip() for row in rows][1].startswith(f"{B} replica of {A} 1.8 kB 1 s ago")
    assert page.barriers() == []
    if shots := os.environ.get("SCREENSHOTS"):
        page.page.screenshot(path=Path(shots) / "servers.png", full_page=True)


def test_a_redis_by_itself_has_no_table(page: Viewer) -> None:
    page.verdict("All is well")
    assert page.find("#servers-part").is_hidden()
