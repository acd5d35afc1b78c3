"""The inbox in a browser: it fills while it is looked at, and is read, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_website import Open, register, visit
from tests.conftest import RedisServer
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_notifications import APPS, tell
from tests.integration.website import Website

__all__ = ["visit"]


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    with Website(module_redis.url, tmp_path_factory.mktemp("inbox"), app__module=APPS) as site:
        yield site


@pytest.mark.parametrize("width", [1280, 360])
def test_an_inbox_fills_while_it_is_looked_at(visit: Open, site: Website, tmp_path: Path, width: int) -> None:
    # given somebody who looks at an empty inbox
    ann = visit(width=width)
    register(ann)
    ann.page.goto(f"{ann.url}/account")
    user = str(ann.page.get_by_role("link", name="as others see them").get_attribute("href")).rpartition("/")[2]
    ann.page.get_by_role("link", name="Notifications").click()
    ann.sees("h1", "Notifications")
    expect(ann.page.locator(".none")).to_be_visible()
    # when notifications come, then they are there, each once, and counted
    said = {"title": "Ben commented on Sourdough", "text": "Mine never rises. What do you feed it?", "url": "/note/7"}
    tell(site, user, COMMENT, data=said)
    expect(ann.page.locator("article.unread")).to_have_count(1)
    for number in range(4):
        tell(site, user, LOGIN if number == 2 else COMMENT, data={"title": f"Something new, number {number}"})
    expect(ann.page.locator("article.unread")).to_have_count(5)
    expect(ann.page.locator("h1 .count")).to_contain_text("5")
    assert ann.page.title().startswith("Notifications (5)")
    ann.page.screenshot(path=tmp_path / f"inbox-{width}.png", full_page=True)
    # and nothing is wider than the screen, or in anybody's way
    assert ann.barriers() == []
    assert ann.page.evaluate("document.documentElement.scrollWidth") <= width
    # when one is read, and then all
    ann.page.locator("article", has_text="Ben commented on Sourdough").get_by_role("button").click()
    expect(ann.page.locator("article.unread")).to_have_count(4)
    ann.page.get_by_role("button", name="Mark all as read").click()
    expect(ann.page.locator("article.unread")).to_have_count(0)
    expect(ann.page.locator("article")).to_have_count(5)
    # and what is sent is chosen
    ann.page.get_by_role("link", name="What you are sent").click()
    ann.sees("h1", "What you are sent")
    ann.page.get_by_role("button", name="Inbox: on").first.click()
    ann.sees(".said", "That is changed, from now on.")
    expect(ann.page.get_by_role("button", name="Inbox: off")).to_have_count(1)
    ann.page.screenshot(path=tmp_path / f"preferences-{width}.png", full_page=True)


def test_what_is_read_in_one_tab_is_read_in_the_other(visit: Open, site: Website) -> None:
    ann = visit()
    register(ann)
    ann.page.goto(f"{ann.url}/account")
    user = str(ann.page.get_by_role("link", name="as others see them").get_attribute("href")).rpartition("/")[2]
    tell(site, user, COMMENT, data={"title": "One"})
    ann.page.goto(f"{ann.url}/notifications")
    other = ann.page.context.new_page()
    other.goto(f"{ann.url}/notifications")
    for page in (ann.page, other):
        expect(page.locator("article.unread")).to_have_count(1)
    ann.page.get_by_role("button", name="Mark all as read").click()
    expect(other.locator("article.unread")).to_have_count(0)
