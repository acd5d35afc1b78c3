"""A browser in which its user is told what is new: subscribed, told when no page is open, and left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import CDPSession, expect

from tests.browser.test_website import Open, register, visit
from tests.browser.viewer import Viewer
from tests.conftest import RedisServer
from tests.integration.receiver import Receiver
from tests.integration.telling import COMMENT
from tests.integration.test_notifications import tell
from tests.integration.test_push import Device, pushing, service
from tests.integration.website import Website
from tests.waiting import eventually

__all__ = ["service", "visit"]

OFFER = "Tell me in this browser"

# No maker's push service can be had here. So what a browser asks it for is what a test's device has; the worker, the
# permission and all that is shown are the browser's own.
SUBSCRIBING = """
const made = DEVICE;
const there = () => localStorage.getItem("subscribed") === "yes";
const subscription = () => ({ ...made, toJSON: () => made, unsubscribe: async () => {
  localStorage.setItem("subscribed", "no");
  return true;
} });
PushManager.prototype.getSubscription = async () => there() ? subscription() : null;
PushManager.prototype.subscribe = async function ({ userVisibleOnly, applicationServerKey }) {
  if (!userVisibleOnly || applicationServerKey.length !== 87) throw new Error("not so");
  localStorage.setItem("subscribed", "yes");
  return subscription();
};
"""


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, service: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("push")
    with pushing(module_redis.url, directory, service, f"sqlite:///{directory}/test.db") as site:
        yield site


def user_of(viewer: Viewer) -> str:
    viewer.page.goto(f"{viewer.url}/account")
    return str(viewer.page.get_by_role("link", name="as others see them").get_attribute("href")).rpartition("/")[2]


class Worker:
    """The site's service worker, as DevTools reach it."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._found: list[dict[str, Any]] = []
        self._tools: CDPSession = viewer.page.context.new_cdp_session(viewer.page)
        self._tools.on(
            "ServiceWorker.workerRegistrationUpdated", lambda event: self._found.extend(event["registrations"])
        )
        self._tools.send("ServiceWorker.enable")

    def push(self, said: Any) -> None:
        """Deliver what a push service has brought, as the browser has read it."""
        while not self._found:
            self._viewer.page.wait_for_timeout(10)
        to = {"origin": self._viewer.url, "registrationId": self._found[0]["registrationId"]}
        self._tools.send("ServiceWorker.deliverPushMessage", {**to, "data": json.dumps(said)})

    def shown(self) -> list[dict[str, Any]]:
        """The notifications that are shown now."""
        found: list[dict[str, Any]] = self._viewer.page.evaluate("""async () => {
            const registration = await navigator.serviceWorker.getRegistration("/static/");
            const shown = await registration.getNotifications();
            return shown.map(({ title, body, tag, data }) => ({ title, body, tag, url: data.url }));
        }""")
        return found


def subscribed(visit: Open, device: Device, **options: Any) -> tuple[Viewer, str]:
    """Somebody who has just said to be told in this browser, and the user's id."""
    ann = visit(permissions=["notifications"], **options)
    ann.page.add_init_script(SUBSCRIBING.replace("DEVICE", json.dumps(device.subscription)))
    register(ann)
    user = user_of(ann)
    ann.page.goto(f"{ann.url}/notifications/preferences")
    ann.page.get_by_role("button", name=OFFER).click()
    ann.sees(".said", "You are told in this browser from now on.")
    return ann, user


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "light"), (360, "dark")])
def test_a_browser_is_told_what_is_new_until_it_is_removed(
    visit: Open, site: Website, service: Receiver, tmp_path: Path, width: int, scheme: str
) -> None:
    # given somebody who is told in this browser
    device = Device(service)
    ann, user = subscribed(visit, device, width=width, color_scheme=scheme)
    expect(ann.page.get_by_text("(this one)")).to_be_visible()
    ann.page.screenshot(path=tmp_path / f"browsers-{width}-{scheme}.png", full_page=True)
    assert ann.barriers() == []
    assert ann.page.evaluate("document.documentElement.scrollWidth") <= width
    # when its push service brings something, and that once more, and another thing
    worker = Worker(ann)
    first = tell(site, user, COMMENT, data={"title": "A comment on Sourdough", "text": "It never rises", "url": "/my"})
    device.shown(1)
    tell(site, user, COMMENT)
    said, other = device.shown(2)
    for each in (said, said, other):
        worker.push(each)
    # then each is shown once, as it was said
    eventually(lambda: other["id"] in [each["tag"] for each in worker.shown()])
    shown = worker.shown()
    assert len(shown) == 2
    assert {"title": "A comment on Sourdough", "body": "It never rises", "tag": first, "url": "/my"} in shown
    # when it is removed, then it is offered again
    ann.page.get_by_role("button", name="Remove").click()
    ann.sees(".said", "You are told there no more.")
    expect(ann.page.get_by_role("button", name=OFFER)).to_be_visible()


def test_who_logs_out_is_told_no_more_in_that_browser(visit: Open, site: Website, service: Receiver) -> None:
    device, other = Device(service), Device(service)
    ann, user = subscribed(visit, device)
    # when the user logs out
    ann.page.get_by_role("button", name="Log out").click()
    expect(ann.page.get_by_role("link", name="Register")).to_be_visible()
    # then this browser is told nothing more, while somebody else is told what comes later
    assert ann.page.evaluate("localStorage.getItem('subscribed')") == "no"
    tell(site, user, COMMENT)
    tell(site, subscribed(visit, other)[1], COMMENT)
    other.shown(1)
    assert device.received == []


def test_who_does_not_allow_it_is_told_so(visit: Open) -> None:
    ann = visit()
    register(ann)
    ann.page.goto(f"{ann.url}/notifications/preferences")
    ann.page.evaluate("Notification.requestPermission = async () => 'denied'")
    ann.page.get_by_role("button", name=OFFER).click()
    ann.sees(".offered", "That did not work: this browser does not allow it.")


def test_without_javascript_the_page_says_what_it_takes(visit: Open) -> None:
    ann = visit(java_script_enabled=False)
    register(ann)
    ann.page.goto(f"{ann.url}/notifications/preferences")
    ann.sees("#browsers", "That needs JavaScript.")
    expect(ann.page.get_by_role("button", name=OFFER)).to_be_hidden()
