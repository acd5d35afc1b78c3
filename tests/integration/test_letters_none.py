"""A site that sends no e-mails, since its configuration lacks something for it: nothing that needs them is offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.integration.browsing import Browser
from tests.integration.letters import PASSWORD, at_store, bearer, login, new_email, register
from tests.integration.website import Website

EMAIL = "[notify.email]\nurl = smtp://127.0.0.1:1\n"
URL = {"web__url": "https://notes.example"}


@pytest.fixture(params=[("", URL), (EMAIL, {}), (EMAIL, {**URL, "auth__key": ""})], ids=["channel", "url", "key"])
def site(
    request: pytest.FixtureRequest,
    redis_factory: Callable[..., RedisServer],
    expected_logs: Callable[[str], None],
    tmp_path: Path,
) -> Iterator[Website]:
    """Each lacks one of the three things."""
    expected_logs("passwords")  # those of a web server without a key are not sealed
    text, settings = request.param
    conf = tmp_path / "gorgond.conf"
    conf.write_text(text)
    with Website(redis_factory(appendonly="yes").url, tmp_path, conf=str(conf), **settings) as site:
        yield site


def test_where_no_emails_are_sent_nothing_of_it_is_offered(site: Website) -> None:
    email = new_email()
    register(site, email)
    session = bearer(login(site, email))
    [user] = at_store(site, lambda records: records.find("users", {"email": email}))
    assert "confirmed" not in user  # as all who could not confirm the address
    # when somebody asks for a letter, then the answer says what is missing
    for answer in (
        site.ask("POST", "/auth/reset", {"email": email}), site.ask("POST", "/auth/confirm", **session),
    ):  # fmt: skip
        assert answer.status == 404
        assert "no e-mails are sent from here" in answer.error["message"]
    # and no page speaks of it
    browser = Browser(site)
    assert "Forgotten" not in browser.get("/login")
    for path in ("/reset", "/confirm"):
        browser.get(path)
        assert browser.status == 404
    browser.send("/login", email=email, password=PASSWORD)
    assert "confirmed" not in browser.get("/account")
