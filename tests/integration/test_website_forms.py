"""Forms of the website when something is away: what was typed is kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gorgond.redpill import CallFailed
from gorgond.service.fabric import connect_fabric
from tests.integration.browsing import PASSWORD, Browser, hidden, note_of, version
from tests.integration.website import Website

TYPED = {"title": "A long thought", "body": "that took an hour", "keywords": "slow, careful"}


def check_kept(ann: Browser) -> None:
    """Nothing is stored, and all that was typed is there to be sent again."""
    assert "<h1>Not stored yet</h1>" in ann.page
    for text in TYPED.values():
        assert text in ann.page


@pytest.mark.parametrize("edited", [False, True])
def test_a_session_that_ended_loses_no_text(ann: Browser, edited: bool) -> None:
    # given a form that was opened before the session ended
    ann.send("/my", title="before")
    target = f"/my/{note_of(ann)}" if edited else "/my"
    ann.get(target)
    given = {**TYPED, "version": version(ann)} if edited else TYPED
    before, ann.cookie = ann.cookie, ""
    # when it is sent, then the text is there, and the way in
    ann.send(target, **given)
    assert ann.status == 401
    check_kept(ann)
    assert 'href="/login" target="_blank"' in ann.page
    # when they have logged in elsewhere and send it with what the page knew, then they are asked once more
    ann.cookie = before
    ann.page = ann.page.replace(hidden(ann.page), "of-before")
    ann.send(target, **given)
    assert ann.status == 403
    check_kept(ann)
    # and then it is stored
    assert "A long thought" in ann.send(target, **given)
    assert ann.status == 200


@pytest.mark.parametrize("status", [503, 504])
def test_a_server_that_is_away_loses_no_text(ann: Browser, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    ann.get("/my")

    async def away(*_: object) -> None:
        raise CallFailed(status, "nobody answers", headers={"Retry-After": "1"})

    with monkeypatch.context() as patch:
        patch.setattr("gorgond.http.asking.Asking.app", away)
        patch.setattr("gorgond.http.asking.Asking.mine", away)
        ann.send("/my", **TYPED)
    assert ann.status == status
    check_kept(ann)
    assert "A long thought" in ann.send("/my", **TYPED)


@contextmanager
def paused(site: Website, queue: str) -> Iterator[None]:
    """Nothing is taken from a queue meanwhile."""

    async def turn(pause: bool) -> None:
        link = connect_fabric(site.config).durable.link("test")
        try:
            await (link.pause(queue) if pause else link.resume(queue))
        finally:
            await link.close()

    asyncio.run(turn(pause=True))
    try:
        yield
    finally:
        asyncio.run(turn(pause=False))


@pytest.mark.parametrize("queue", ["store_put", "web_get", "auth_get"])
def test_a_queue_that_nobody_takes_from_loses_no_text(
    ann: Browser, site: Website, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    ann.get("/my")
    # given that no answer comes by the deadline
    with paused(site, queue), monkeypatch.context() as patch:
        patch.setattr(site.web.server, "deadline_ms", 300)
        ann.send("/my", **TYPED)
    assert ann.status == 504
    check_kept(ann)
    # then it is stored when it is sent again
    assert "A long thought" in ann.send("/my", **TYPED)
    assert ann.status == 200


def test_another_site_has_nothing_shown(ann: Browser, site: Website) -> None:
    # given a form that another site sends, then it is refused, and what it says is no page of ours
    body = b"title=forged&_xsrf=none"
    headers = {"Accept": "text/html", "Content_Type": "application/x-www-form-urlencoded", "Cookie": ann.cookie}
    answer = site.ask("POST", "/my", body, **headers, Sec_Fetch_Site="cross-site")
    assert answer.status == 403
    assert b"forged" not in answer.body


def test_a_keyword_that_nobody_can_have_finds_nothing(browser: Browser) -> None:
    page = browser.get("/?keyword=" + "x" * 300)
    assert browser.status == 200
    assert "Nothing found." in page


def test_sessions_are_called_as_people_call_them_the_own_one_first(ann: Browser, site: Website) -> None:
    # given somebody who has logged in elsewhere since, twice
    email = re.search(r"<dd>(\S+@\S+)</dd>", ann.get("/account"))
    assert email
    for agent in ("older/1.0", "Mozilla/5.0 (Android 14; Mobile; rv:128.0) Gecko/128.0 Firefox/128.0"):
        begun = site.ask("POST", "/auth/login", {"email": email[1], "password": PASSWORD}, User_Agent=agent)
        assert begun.status == 200
    # then the own session is the first, and of the others the last that was used
    shown = re.findall(r'<td title="[^"]*">(.*?)</td>', ann.get("/account"))
    assert shown == ["unknown <strong>(this one)</strong>", "Firefox on Android", "older"]
