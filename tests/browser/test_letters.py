"""A forgotten password, an address confirmed, and when one is told, in a browser: on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_website import Open, visit
from tests.browser.viewer import Viewer
from tests.conftest import RedisServer
from tests.integration.letters import OTHER, PASSWORD, mails_to, sending, token_in
from tests.integration.mail import MailServer
from tests.integration.test_notifications import APPS
from tests.integration.website import Website

__all__ = ["visit"]

_people = count(1)


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, mail: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    with sending(module_redis.url, tmp_path_factory.mktemp("letters"), mail, app__module=APPS) as site:
        yield site


def good(viewer: Viewer, width: int) -> None:
    """Nothing is wider than the screen, or in anybody's way."""
    assert viewer.barriers() == []
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 360])
def test_an_address_is_confirmed_and_a_password_replaced(
    visit: Open, mail: MailServer, tmp_path: Path, width: int
) -> None:
    email = f"browser-letters{next(_people)}@example.org"
    ann = visit(width=width)

    def shown(name: str) -> None:
        ann.page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
        good(ann, width)

    # given somebody who has just registered
    ann.page.goto(f"{ann.url}/register")
    ann.page.get_by_label("Name").fill("Ann")
    ann.page.get_by_label("E-mail").fill(email)
    ann.page.get_by_label("Password").fill(PASSWORD)
    ann.page.get_by_role("button", name="Register").click()
    ann.sees("h1", "My notes")
    ann.page.goto(f"{ann.url}/account")
    ann.sees(".facts", "not confirmed yet")
    shown("account")
    # when the link in the e-mail is followed, then the address is confirmed by a button
    ann.page.goto(f"{ann.url}/confirm?token={token_in(mails_to(mail, email)[0])}")
    ann.sees("main", email)
    shown("confirm")
    ann.page.get_by_role("button", name="Confirm it").click()
    ann.sees(".said", "The address is confirmed.")
    # when the password is forgotten
    ann.page.get_by_role("button", name="Log out", exact=True).click()
    ann.page.goto(f"{ann.url}/login")
    ann.page.get_by_role("link", name="Forgotten the password?").click()
    ann.sees("h1", "Forgotten password")
    shown("forgotten")
    ann.page.get_by_label("E-mail").fill(email)
    ann.page.get_by_role("button", name="Send me a link").click()
    ann.sees(".said", "is on its way")
    # then another one is chosen by the link
    ann.page.goto(f"{ann.url}/reset?token={token_in(mails_to(mail, email, 1, 'new password')[0])}")
    shown("reset")
    ann.page.get_by_label("New password").fill(OTHER)
    ann.page.get_by_role("button", name="Set it").click()
    ann.sees(".said", "log in with it")
    ann.page.get_by_label("E-mail").fill(email)
    ann.page.get_by_label("Password").fill(OTHER)
    ann.page.get_by_role("button", name="Log in").click()
    ann.sees("h1", "My notes")
    # and it is chosen when one is told
    ann.page.goto(f"{ann.url}/notifications/preferences")
    ann.page.get_by_label("Time zone").fill("Europe/Berlin")
    ann.page.get_by_label("Quiet hours from").fill("22:00")
    ann.page.get_by_label("until").fill("07:00")
    ann.page.get_by_role("button", name="Save").click()
    ann.sees(".said", "That is changed")
    ann.page.get_by_role("button", name="Email in a digest: no").first.click()
    expect(ann.page.get_by_role("button", name="Email in a digest: yes")).to_have_count(1)
    expect(ann.page.get_by_label("Quiet hours from")).to_have_value("22:00")
    shown("preferences")
