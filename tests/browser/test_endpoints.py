"""Endpoints in a browser: added, tested, turned off and on, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from gorgond.notifiers.webhook import WebhookNotifier
from tests.browser.test_website import Open, register, visit
from tests.conftest import RedisServer
from tests.integration.receiver import OK, Receiver, status
from tests.integration.test_notifications import APPS
from tests.integration.website import Website
from tests.waiting import eventually

__all__ = ["visit"]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with Receiver(tmp_path_factory.mktemp("receiver")).running() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("endpoints")
    conf = directory / "gorgond.conf"
    conf.write_text("[notify.webhook]\nkind = webhook\nallow = 127.0.0.1/32\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(receiver.trusted))
        patch.setattr(WebhookNotifier, "schedule", (3600.0,) * 9)
        with Website(module_redis.url, directory, conf=str(conf), app__module=APPS) as site:
            yield site


@pytest.mark.parametrize("width", [1280, 360])
def test_an_endpoint_is_added_tested_and_turned_off(
    visit: Open, receiver: Receiver, tmp_path: Path, width: int
) -> None:
    receiver.answer = lambda _: OK
    ann = visit(width=width)
    register(ann)
    ann.page.goto(f"{ann.url}/notifications/preferences")
    ann.page.get_by_role("link", name="Endpoints").click()
    ann.sees("h1", "Endpoints")
    # given a URL that is none of the public's, then the form says so and has it still
    ann.page.get_by_label("Link").fill("https://10.0.0.1/hook")
    ann.page.get_by_role("button", name="Add it").click()
    ann.sees(".said", "Link: must lead to an address of the public Internet, not to a private one")
    ann.wrong.clear()  # the console tells of 400
    ann.page.get_by_label("Link").fill(receiver.url(f"/hook/{width}", "127.0.0.1"))
    ann.page.get_by_role("button", name="Add it").click()
    expect(ann.page.locator("code")).to_contain_text("whsec_")
    ann.page.screenshot(path=tmp_path / f"secret-{width}.png", full_page=True)
    assert ann.barriers() == []
    # when it is tested, twice, the second time in vain, then that shows
    ann.page.get_by_role("button", name="Send a test").click()
    ann.sees(".said", "A test is on its way. What becomes of it is told below.")
    eventually(lambda: receiver.of(f"/hook/{width}"))
    receiver.answer = lambda _: status(503)
    ann.page.get_by_role("button", name="Send a test").click()
    expect(ann.page.locator("code")).to_have_count(0)  # it was shown once

    def shown() -> bool:
        ann.page.reload()
        rows = ann.page.locator("tbody").inner_text()
        return "sent" in rows and "waiting: it says 503" in rows

    eventually(shown)
    ann.page.screenshot(path=tmp_path / f"endpoint-{width}.png", full_page=True)
    assert ann.barriers() == []
    assert ann.page.evaluate("document.documentElement.scrollWidth") <= width
    ann.page.emulate_media(color_scheme="dark")
    ann.page.screenshot(path=tmp_path / f"endpoint-dark-{width}.png", full_page=True)
    assert ann.barriers() == []
    ann.page.emulate_media(color_scheme="light")
    ann.page.get_by_role("button", name="Turn it off").click()
    expect(ann.page.locator(".facts")).to_contain_text("off: you have turned it off")
    ann.page.get_by_role("link", name="All your endpoints").click()
    expect(ann.page.locator(".badge.bad")).to_have_text("Off")
    ann.page.screenshot(path=tmp_path / f"endpoints-{width}.png", full_page=True)
    assert ann.barriers() == []
    assert ann.page.evaluate("document.documentElement.scrollWidth") <= width
