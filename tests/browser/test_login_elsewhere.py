"""Logging in by way of another site, in the browsers that can be had: Debian's Chromium, Firefox and WebKit.

Browsers differ in the cookies that they send when another site sends them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Error

from tests.browser.firefox import Firefox, FirefoxError
from tests.browser.tls import behind_tls
from tests.browser.webkit import WebKit, WebKitError
from tests.conftest import RedisServer
from tests.integration.oidc import CLIENT, provider
from tests.integration.website import Website
from tests.waiting import eventually
from tools.speed.ports import free_port

ME = "fetch('/auth/me').then(answer => answer.json())"


class Window(Protocol):
    """A window of a browser."""

    def open(self, url: str) -> None: ...
    def evaluate(self, expression: str) -> Any: ...


class Chromium:
    """The same of playwright's."""

    def __init__(self, browser: Browser) -> None:
        self.page = browser.new_page(ignore_https_errors=True)

    def open(self, url: str) -> None:
        self.page.goto(url)

    def evaluate(self, expression: str) -> Any:
        return self.page.evaluate(expression)


@pytest.fixture(params=["chromium", "firefox", "webkit"])
def window(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Window]:
    if request.param == "chromium":
        window = Chromium(request.getfixturevalue("browser"))
        yield window
        window.page.close()
    elif request.param == "firefox":
        with Firefox(request.getfixturevalue("firefox_binary"), tmp_path) as firefox:
            yield firefox
    else:
        driver, binary = request.getfixturevalue("webkit_binaries")
        with WebKit(driver, binary, tmp_path) as webkit:
            yield webkit


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of our website, at another host than the provider's; over TLS, without which WebKit keeps no cookie
    of a session, not even of localhost."""
    directory, port = tmp_path_factory.mktemp("site"), free_port()
    url = f"https://localhost:{port}"
    with provider(f"{url}/auth/oauth2/house/callback") as issuer:
        conf = directory / "gorgond.conf"
        conf.write_text(f"[web]\nurl = {url}\n[oauth2.house]\nissuer = {issuer}\n{CLIENT}")
        with Website(module_redis.url, directory, conf=str(conf)) as website, behind_tls(website.port, port, directory):
            yield url


def sees(window: Window, expression: str, value: Any) -> None:
    """Wait until an expression has that value, whatever pages come and go meanwhile."""

    def seen() -> bool:
        try:
            return bool(window.evaluate(expression) == value)
        except (Error, FirefoxError, WebKitError):
            return False

    eventually(seen)


def test_there_and_back(window: Window, site: str) -> None:
    who = f"{type(window).__name__.lower()}@proved.example"
    # given somebody at the page of logins, when they choose the other site and log in there
    window.open(f"{site}/login")
    window.evaluate("document.querySelector('a[href=\"/auth/oauth2/house\"]').click()")
    sees(window, "document.title", "The house")
    window.evaluate(f"document.querySelector('input').value = '{who}', document.querySelector('button').click()")
    # then they are back here with a session, whose cookie no script sees
    sees(window, "location.origin", site)
    me = window.evaluate(ME)
    assert (me["email"], me["name"]) == (who, f"Name of {who}")
    assert "session" not in window.evaluate("document.cookie")
    # and it is the browser's, also when it comes by itself
    window.open(f"{site}/my")
    sees(window, "document.querySelector('h1').innerText", "My notes")
