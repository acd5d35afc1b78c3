"""The stats page of a fabric that notifies: what each channel has sent, what waits, and why."""

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

WHY = "mail server 127.0.0.1: Connection refused"


def channel(name: str, **changes: Any) -> dict[str, Any]:
    well = {"name": name, "sent": 1804, "later": 0, "dead": 0, "off": 10, "gone": 2, "waiting": 0, "in_flight": 1,
            "delayed": 0, "p50": 4100, "p99": 81_000, "idle": 0.4, "stalled": 0, "reason": ""}  # fmt: skip
    return {**well, **changes}


CHANNELS = [
    channel("email", sent=31, later=9, dead=2, delayed=340, p50=1_200_000, idle=720, stalled=720, reason=WHY),
    channel("inbox"),
]


@pytest.fixture(params=[1440, 390])
def page_of_channels(request: pytest.FixtureRequest, browser: Browser, fabric: Fabric) -> Any:
    """The page, told of channels of which one is stalled; on a desk and on a phone."""
    viewer = Viewer(browser, fabric.stats_url, {"width": request.param})

    def change(route: Route) -> None:
        data = f"retry: 500\nevent: picture\ndata: {json.dumps({**fabric.picture, 'channels': CHANNELS})}\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=data)

    viewer.page.route(re.compile("/api/events"), change)
    viewer.page.reload()
    yield viewer
    viewer.close()


def test_it_shows_what_each_channel_does(page_of_channels: Viewer) -> None:
    page = page_of_channels
    page.sees("#channels-sum", "2 channels, 1 stalled")
    rows = [re.sub(r"\s+", " ", row).strip() for row in page.find("#channels tbody tr").all_inner_texts()]
    assert re.fullmatch(rf"email 31 9 2 12 0 1 340 1\.2 s 81 ms 12 min {WHY}", rows[0]), rows
    assert rows[1].startswith("inbox 1,804 0 0 12 0 1 0 4.1 ms 81 ms 400 ms")
    assert page.barriers() == []
    if shots := os.environ.get("SCREENSHOTS"):
        width = page.page.viewport_size["width"] if page.page.viewport_size else 0
        page.find("#channels-part").screenshot(path=Path(shots) / f"channels-{width}.png")


def test_a_fabric_that_notifies_nobody_has_no_table(page: Viewer) -> None:
    page.verdict("All is well")
    assert page.find("#channels-part").is_hidden()
