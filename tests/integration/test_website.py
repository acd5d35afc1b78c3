"""The website as a browser without JavaScript uses it: accounts, pages as such; and its stream of changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import redis

from gorgond.http.website import live
from gorgond.redpill import Call, Message, Told, keys, now_ms
from tests.conftest import RedisServer
from tests.integration.browsing import PASSWORD, Browser, Events, note_of, uid, version
from tests.integration.website import Website
from tests.waiting import eventually


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    with Website(module_redis.url, tmp_path_factory.mktemp("website"), web__deadline="60s") as site:
        yield site


# ---- the account


def test_who_is_not_logged_in_is_sent_to_do_that(browser: Browser) -> None:
    for at in ("/my", "/account", "/my/1"):
        assert "<h1>Log in</h1>" in browser.get(at)


def test_the_session_lives_in_a_cookie_that_no_script_and_no_other_site_gets(ann: Browser, site: Website) -> None:
    body = urlencode({"email": "nobody@example.org", "password": PASSWORD}).encode()
    form = "application/x-www-form-urlencoded"
    forged = site.ask("POST", "/login", body, Content_Type=form, Sec_Fetch_Site="cross-site")
    assert forged.status == 403
    assert ann.cookie.startswith("__Host-session=")
    # a page of another site cannot send a form in its name
    body = urlencode({"title": "forged"}).encode()
    assert site.ask("POST", "/my", body, Content_Type=form, Cookie=ann.cookie).status == 403
    assert "forged" not in ann.get("/my")


def test_wrong_and_right_passwords(ann: Browser, site: Website) -> None:
    email = re.search(r"<dd>(ann\d+@example.org)</dd>", ann.get("/account"))
    assert email
    other = Browser(site)
    page = other.send("/login", email=email[1], password="something else")
    assert other.status == 401
    assert "Wrong e-mail address or password" in page
    assert f'value="{email[1]}"' in page
    assert "something else" not in page
    assert "<h1>My notes</h1>" in other.send("/login", email=email[1], password=PASSWORD)


def test_a_taken_address_and_a_weak_password(ann: Browser, browser: Browser) -> None:
    email = re.search(r"<dd>(ann\d+@example.org)</dd>", ann.get("/account"))
    assert email
    browser.send("/register", name="x", email=email[1], password=PASSWORD)
    assert browser.status == 409
    page = browser.send("/register", name="x", email="fresh@example.org", password="short")
    assert browser.status == 400
    assert re.search(r'name="password"[^>]*aria-invalid="true"', page)


def test_sessions_are_listed_and_ended(ann: Browser, site: Website) -> None:
    # given somebody logged in twice
    email = re.search(r"<dd>(ann\d+@example.org)</dd>", ann.get("/account"))
    assert email
    other = Browser(site)
    other.send("/login", email=email[1], password=PASSWORD)
    page = ann.get("/account")
    ids = re.findall(r'action="/account/sessions/([^"]+)"', page)
    assert len(ids) == 2
    assert page.count("(this one)") == 1
    # when the other session is ended
    rows = page.split("<tr>")
    ended = next(re.search(r"sessions/([^\"]+)\"", row) for row in rows if "sessions/" in row and "this one" not in row)
    assert ended
    assert "That session has ended." in ann.send(f"/account/sessions/{ended[1]}")
    # then that browser is asked to log in, this one goes on
    eventually(lambda: "<h1>Log in</h1>" in other.get("/my"))
    assert "<h1>My notes</h1>" in ann.get("/my")


def test_a_new_password_ends_all_other_sessions(ann: Browser, site: Website) -> None:
    email = re.search(r"<dd>(ann\d+@example.org)</dd>", ann.get("/account"))
    assert email
    other = Browser(site)
    other.send("/login", email=email[1], password=PASSWORD)
    assert ann.get("/account")
    page = ann.send("/account/password", old="not it, I fear", new="a quite different one")
    assert ann.status == 403
    assert 'role="alert"' in page
    page = ann.send("/account/password", old=PASSWORD, new="a quite different one")
    assert "The password is changed" in page
    eventually(lambda: "<h1>Log in</h1>" in other.get("/my"))
    assert "<h1>My notes</h1>" in Browser(site).send("/login", email=email[1], password="a quite different one")


def test_logged_out(ann: Browser) -> None:
    kept = ann.cookie
    ann.get("/my")
    ann.send("/logout")
    assert ann.cookie == ""
    ann.cookie = kept
    eventually(lambda: "<h1>Log in</h1>" in ann.get("/my"))


# ---- pages as such


def test_all_that_a_page_asks_bears_its_trace_and_its_id(
    ann: Browser, site: Website, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a look at what is asked of the others
    asked: list[Message] = []
    ask = site.web.calls.ask

    def noted(queue: str, message: Message, told: Told) -> Call:
        asked.append(message)
        return ask(queue, message, told)

    for asks in (site.web.calls, site.web.calls.usual):
        monkeypatch.setattr(asks, "ask", noted)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for target in ("/", "/my", "/account", "/?q=violin", "/info/5", "/items?q=violin", "/auth/me"):
        # when somebody looks at a page, or a program asks
        asked.clear()
        answer = site.ask("GET", target, Cookie=ann.cookie, traceparent=trace)
        # then each question bears the trace of the request, and an id that begins with the request's
        assert (answer.status, {message.trace for message in asked}) == (200, {trace}), target
        ids = [message.id for message in asked]
        assert len(set(ids)) == len(ids) > 0
        assert {id.partition("~")[0] for id in ids} == {answer.headers["x-request-id"]}


def test_pages_allow_nothing_from_elsewhere(site: Website, ann: Browser) -> None:
    for at in ("/", "/login", "/register", "/my", "/account", "/nowhere"):
        answer = site.ask("GET", at, Cookie=ann.cookie, Accept="text/html")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        page = answer.body.decode()
        assert not re.search(r'(src|href|action)="(?!/|#)', page.replace('href="https://example.org', ""))
        assert not re.search(r"<style|style=|<script(?! src)| on\w+=", page)


def test_files_are_kept_by_browsers(site: Website) -> None:
    page = site.ask("GET", "/").body.decode()
    for target, kind in zip(
        re.findall(r'"(/static/[^"]+)"', page), ("image/svg+xml", "text/css", "text/javascript"), strict=True
    ):
        answer = site.ask("GET", target)
        assert answer.status == 200
        assert answer.headers["content-type"] == kind
        assert "immutable" in answer.headers["cache-control"]
    assert site.ask("GET", "/static/..%2Fapi.py").status == 404


def test_errors_are_pages_for_browsers_and_json_for_programs(site: Website) -> None:
    for target, status in (("/nowhere", 404), ("/by/x", 400), ("/items/nothing", 404)):
        page = site.ask("GET", target, Accept="text/html,*/*;q=0.8")
        assert page.status == status
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["x-request-id"] in page.body.decode()
        assert site.ask("GET", target).error["code"] == status


# ---- changes as they happen


def wrote(site: Website, uid: int, title: str) -> Any:
    return site.ask("POST", f"/info/{uid}", {"title": title}).json["ids"][0]


def test_changes_arrive_and_nothing_is_missed_between_two_connections(site: Website) -> None:
    # given a page that is open
    first = wrote(site, 81, "the first")
    events = Events(site, "/live?uid=81&since=1")
    assert first in events.next()["data"]
    # when notes come, of this user and of others
    wrote(site, 82, "not hers")
    second = wrote(site, 81, "the second")
    # then it is told of hers
    event = events.next()
    assert (event["event"], second in event["data"], "the second" in event["data"]) == ("note", True, True)
    # when its connection breaks and notes come meanwhile
    events.close()
    third = wrote(site, 81, "the third")
    site.ask("DELETE", f"/items/{second}")
    # then on connecting again it is told of what it missed
    events = Events(site, "/live?uid=81", event["id"])
    told = [events.next(), events.next()]
    assert [(each["event"], each["data"]) for each in told][1] == ("gone", f'{{"id":"{second}"}}')
    assert third in told[0]["data"]
    assert first not in told[0]["data"]
    events.close()


def test_pages_hear_nothing_of_private_notes_but_that_one_has_gone(ann: Browser, site: Website) -> None:
    # given a page that is open
    ann.send("/my", title="for all")
    id, mine = note_of(ann), uid(ann)
    events = Events(site, f"/live?uid={mine}&since=1")
    assert id in events.next()["data"]
    other = Events(site, f"/live?since={now_ms() + 60_000}")  # which shows none of them
    # when a private note is written, changed, and another one becomes private
    ann.get("/my")
    ann.send("/my", title="whisper", private="on")
    secret = note_of(ann)
    ann.get(f"/my/{secret}")
    ann.send(f"/my/{secret}", title="whispered", private="on", version=version(ann))
    ann.get(f"/my/{id}")
    ann.send(f"/my/{id}", title="for all", private="on", version=version(ann))
    # then the page is told that this one has gone, and nothing of what the other one says
    while (event := events.next())["data"] != f'{{"id":"{id}"}}':
        assert "whisper" not in event["data"]
        assert secret not in event["data"]
    assert event["event"] == "gone"
    # and neither that the other one is deleted
    ann.get(f"/my/{secret}/delete")
    ann.send(f"/my/{secret}/delete")
    ann.get("/my")
    ann.send("/my", title="the last")
    for page in (events, other):
        while "the last" not in (event := page.next())["data"]:
            assert secret not in event["data"]
            assert page is events or id not in event["data"]
        page.close()


def test_who_missed_too_much_is_told_to_begin_anew(site: Website) -> None:
    events = Events(site, "/live", "an event that nobody remembers")
    assert events.next()["event"] == "reset"
    events.close()


def test_the_server_lives_on_when_nobody_looks_any_more(
    site: Website, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LINGER", 0.0)
    monkeypatch.setattr(live, "QUIET", 0.1)
    for _ in range(2):
        # given a page that is open
        events = Events(site, "/live", "an event that nobody remembers")
        assert events.next()["event"] == "reset"
        eventually(lambda: any("listens to store_notify" in name for name in site.tasks()))
        # when it is closed, then the server listens no more
        events.close()
        eventually(lambda: not any("listens to store_notify" in name for name in site.tasks()))
        # and it serves, also the next page that is opened
        assert "<h1>" in browser.get("/")


ODD_EVENTS = (
    b"no JSON",
    b"{}",
    b'{"op":"items.added","args":{"id":"x"}}',
    b'{"id":5,"op":"items.added","args":{"id":"x"}}',
    b'{"id":"x","op":"items.added"}',
    b'{"id":"x","op":"items.added","args":{"id":["x"]}}',
    b'{"id":"x","op":"items.added","args":{"id":"x","document":[]}}',
)


def test_events_that_make_no_sense_end_no_server_and_keep_nothing_from_its_viewers(
    site: Website, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("an event of store_notify is dropped: .* \\(1 by now\\)")
    # given a page that is open
    wrote(site, 83, "the first")
    events = Events(site, "/live?uid=83&since=1")
    assert "the first" in events.next()["data"]
    # when what makes no sense is published where changes are
    with redis.Redis.from_url(site.config.broker.url) as client:
        for event in ODD_EVENTS:
            assert client.publish(keys.live(live.TOPIC), event) == 1
    # then the page is told of the next change, and the server of nobody's end
    second = wrote(site, 83, "the second")
    assert second in events.next()["data"]
    events.close()
    assert site.ask("GET", "/healthz").json == {"alive": True}
