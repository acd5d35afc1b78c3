"""What the tests of the stats page share: Chromium, a fabric whose parts may be killed, and the page that shows it.

The tests of a module share its browser and its fabric. They are no coroutines: the browser's driver has an event loop
of its own in this thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.fabric import Fabric
from tests.browser.viewer import Viewer
from tests.conftest import RedisServer

QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP stats.example 127.0.0.1",
]


@pytest.fixture(scope="module")
def browser(chromium_binary: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_binary, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def fabric(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    redis = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), appendonly="yes")
    try:
        redis.start()
        with Fabric(redis, tmp_path_factory.mktemp("fabric")) as fabric:
            yield fabric
    finally:
        redis.close()


@pytest.fixture
def view(browser: Browser, fabric: Fabric) -> Iterator[Callable[..., Viewer]]:
    """`view(width=360, color_scheme="dark")` opens the page; what goes wrong on it fails the test."""
    viewers: list[Viewer] = []

    def open_page(**options: object) -> Viewer:
        viewers.append(Viewer(browser, fabric.stats_url, options))
        return viewers[-1]

    yield open_page
    for viewer in viewers:
        viewer.close()


@pytest.fixture
def page(view: Callable[..., Viewer]) -> Viewer:
    """The page as most see it."""
    return view()
