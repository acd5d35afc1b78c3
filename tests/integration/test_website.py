"""The website as a browser without JavaScript uses it: pages, forms, cookies; and its stream of changes."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import redis

from gorgond.http.website import live
from gorgond.redpill import Message, Reply, keys
from tests.conftest import RedisServer
from tests.integration.website import Answer, Connection, Website
from tests.waiting import eventually

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def site(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    redis = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), appendonly="yes")
    redis.start()
    try:
        with Website(redis.url, tmp_path_factory.mktemp("website")) as site:
            yield site
    finally:
        redis.close()


class Browser:
    """Keeps a cookie, follows redirects, sends forms with what their page holds."""

    def __init__(self, site: Website) -> None:
        self._site = site
        self.cookie = ""
        self.page = ""
        self.status = 0

    def get(self, target: str) -> str:
        """Go there: the page."""
        return self._follow(self._ask("GET", target))

    def send(self, target: str, **fields: str) -> str:
        """Send a form with these fields, and the hidden one of the page: the page that follows."""
        hidden = re.search(r'name="_xsrf" value="([^"]*)"', self.page)
        form = {**fields, "_xsrf": hidden[1] if hidden else ""}
        return self._follow(self._ask("POST", target, urlencode(form).encode()))

    def _follow(self, answer: Answer) -> str:
        while answer.status == 303:
            answer = self._ask("GET", answer.headers["location"])
        self.status = answer.status
        self.page = answer.body.decode()
        return self.page

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Answer:
        headers = {"Accept": "text/html", "Sec_Fetch_Site": "same-origin"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        if body is not None:
            headers["Content_Type"] = "application/x-www-form-urlencoded"
        answer = self._site.ask(method, target, body, **headers)
        if "set-cookie" in answer.headers:
            pair, _, flags = answer.headers["set-cookie"].partition("; ")
            self.cookie = "" if "Max-Age=0" in flags else pair
        return answer


_people = iter(range(1000))


@pytest.fixture
def browser(site: Website) -> Browser:
    return Browser(site)


@pytest.fixture
def ann(site: Website) -> Browser:
    """Somebody who has just registered."""
    browser, number = Browser(site), next(_people)
    page = browser.send("/register", name=f"Ann {number}", email=f"ann{number}@example.org", password=PASSWORD)
    assert "<h1>My notes</h1>" in page, page
    return browser


def uid(browser: Browser) -> str:
    found = re.search(r'href="/by/(\d+)"', browser.get("/account"))
    assert found
    return found[1]


def note_of(browser: Browser) -> str:
    found = re.search(r'href="/my/([^"]+)"', browser.get("/my"))
    assert found
    return found[1]


# ---- notes


def test_a_note_is_written_changed_and_deleted(ann: Browser, browser: Browser) -> None:
    # given a note
    page = ann.send(
        "/my", title="Tea & cake", body="at four\r\nsharp", url="https://example.org/?a=1&b", keywords="tea, cake"
    )
    assert "The note is stored." in page
    # then everybody sees it, with its writer's name
    mine = uid(ann)
    for at in ("/", f"/by/{mine}", "/?keyword=tea", "/?q=cake"):
        page = browser.get(at)
        assert "Tea &amp; cake" in page, at
        assert f'<a href="/by/{mine}"><bdi>Ann ' in page
    assert 'href="https://example.org/?a=1&amp;b"' in page
    assert "Edit" not in page
    # when it is changed
    id = note_of(ann)
    assert "at four\nsharp</textarea>" in ann.get(f"/my/{id}")
    assert 'value="tea, cake"' in ann.page
    page = ann.send(f"/my/{id}", title="Tea", body="", url="", keywords="tea")
    # then what was emptied is gone
    assert "The note is changed." in page
    assert "at four" not in page
    assert "cake" not in page
    # when it is deleted, which is asked once more
    page = ann.get(f"/my/{id}/delete")
    assert "Delete this note?" in page
    assert "Tea" in page
    page = ann.send(f"/my/{id}/delete")
    assert "The note is deleted." in page
    assert "Tea" not in browser.get(f"/by/{mine}")


def test_a_note_that_does_not_fit_is_shown_again(ann: Browser) -> None:
    page = ann.send("/my", title="kept", url="javascript:alert(1)")
    assert ann.status == 400
    assert "Link: must begin with http:// or https://" in page
    assert 'name="title" value="kept"' in page
    assert re.search(r'name="url"[^>]*aria-invalid="true"', page)


def test_a_note_has_a_title(ann: Browser) -> None:
    page = ann.send("/my", title=" ", body="without")
    assert ann.status == 400
    assert "Title: must be given" in page
    assert "without</textarea>" in page


def test_what_users_write_is_text(ann: Browser, site: Website) -> None:
    # given notes whose fields would be markup, one with an address that is none of the web's
    evil = "<script>alert(1)</script>"
    ann.send("/my", title=evil, body=evil, keywords=evil)
    site.ask("POST", "/info/77", {"title": evil, "url": "javascript:alert(1)", "location": evil})
    # then nowhere is it markup, or an address
    for at in ("/", "/my", "/by/77"):
        page = ann.get(at)
        assert html.escape(evil) in page
        assert "<script>alert" not in page
        assert "javascript:" not in page


def test_a_long_note_is_read_whole_on_its_own_page(ann: Browser, browser: Browser) -> None:
    # given a note that lists cut off
    ann.send("/my", title="Long", body="the beginning " * 100 + "\n\nthe end")
    page = browser.get(f"/by/{uid(ann)}")
    assert "the end" not in page
    # when somebody goes on reading
    on = re.search(r'… <a class="more" href="([^"]+)"', page)
    assert on
    page = browser.get(on[1])
    # then it is all there, with nothing to edit it but for its writer
    assert '<p dir="auto">the end</p>' in page
    assert ">Long</h1>" in page
    assert "Edit" not in page
    assert "Edit" in ann.get(on[1])
    browser.get("/note/none")
    assert browser.status == 404


def test_of_two_tabs_the_second_is_told_and_loses_nothing(ann: Browser, site: Website) -> None:
    # given a note that is open to be edited in two tabs
    ann.send("/my", title="Plan", body="first")
    id = note_of(ann)
    other = Browser(site)
    other.cookie = ann.cookie
    form = ann.get(f"/my/{id}")
    other.get(f"/my/{id}")
    # when both save
    assert "The note is changed." in other.send(f"/my/{id}", title="Plan", body="theirs", version=version(other))
    page = ann.send(f"/my/{id}", title="My plan", body="mine", version=version_in(form))
    # then the second is told what is there now, and has what was typed
    assert ann.status == 409
    assert "was changed in the meantime" in page
    assert "mine</textarea>" in page
    assert 'value="My plan"' in page
    assert '<p dir="auto">theirs</p>' in page.partition("What is stored now")[2]
    assert "theirs" in ann.get(f"/note/{id}")
    # and saves in the knowledge of it
    ann.page = page
    ann.send(f"/my/{id}", title="My plan", body="mine", version=version(ann))
    assert "mine" in ann.get(f"/note/{id}")


def test_what_was_typed_into_a_note_that_is_gone_can_be_added_anew(ann: Browser) -> None:
    ann.send("/my", title="Plan")
    id = note_of(ann)
    form = ann.get(f"/my/{id}")
    ann.send(f"/my/{id}/delete")
    page = ann.send(f"/my/{id}", title="Plan", body="hours of work", version=version_in(form))
    assert (ann.status, "was deleted in the meantime" in page) == (404, True)
    assert "hours of work</textarea>" in page
    assert '<form class="card" method="post" action="/my">' in page


def version(browser: Browser) -> str:
    return version_in(browser.page)


def version_in(page: str) -> str:
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found
    return found[1]


@pytest.mark.parametrize("target", ["/", "/my", "/by/5"])
@pytest.mark.parametrize("q", ["???", "w " * 17])
def test_a_search_that_is_not_understood_is_explained(ann: Browser, target: str, q: str) -> None:
    page = ann.get(f"{target}?{urlencode({'q': q, 'keyword': 'k'})}")
    assert ann.status == 400
    assert f'name="q" value="{html.escape(q)}"' in page
    assert 'name="keyword" value="k"' in page
    assert re.search(r'role="alert">Words: must be .*Letters and digits are searched for', page)


def test_keywords_are_found_whatever_their_case(browser: Browser, site: Website) -> None:
    # given notes with a keyword in several spellings, more than a page of them
    for number in range(30):
        keyword = ("Quince", "quince", "QUINCE")[number % 3]
        site.ask("POST", "/info/79", {"title": f"number {number:02}", "ts": 1000 + number, "keywords": [keyword]})
    for typed in ("quince", "Quince", "QUINCE"):
        # then each spelling finds them all, newest first, page by page
        seen, at = [], f"/?keyword={typed}"
        while at:
            page = browser.get(at)
            seen += re.findall(r">number (\d\d)<", page)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            at = html.unescape(older[1]) if older else ""
        assert list(dict.fromkeys(seen)) == [f"{number:02}" for number in reversed(range(30))], typed


def test_a_word_finds_its_plural(ann: Browser) -> None:
    ann.send("/my", title="Two pomegranates")
    assert "Two pomegranates" in ann.get("/my?q=pomegranate")
    assert "Two pomegranates" in ann.get("/?q=Pomegranate")


def test_the_rules_of_passwords_are_told_before(ann: Browser, browser: Browser) -> None:
    for page in (browser.get("/register"), ann.get("/account")):
        assert "8 to 256 characters, and none of the commonest" in page
        assert re.search(r'autocomplete="new-password"[^>]* aria-describedby="rules', page)


def test_a_private_note_is_its_owners_alone(ann: Browser, browser: Browser, site: Website) -> None:
    # given a note that is private, and somebody else
    ann.send("/my", title="diary", body="zebra stripes", keywords="secret", private="on")
    id, mine = note_of(ann), uid(ann)
    bob = Browser(site)
    bob.send("/register", name="Bob", email=f"bob{next(_people)}@example.org", password=PASSWORD)
    # then nobody else finds it
    for reader in (browser, bob):
        for target in (
            "/",
            f"/by/{mine}",
            "/?q=zebra",
            "/?keyword=secret",
            f"/by/{mine}?q=zebra",
            "/my",
            f"/note/{id}",
        ):
            assert "diary" not in reader.get(target), target
        assert reader.status == 404
        assert "diary" not in reader.get(f"/my/{id}")
        for target in (
            f"/info/{mine}",
            f"/items/{id}",
            "/items?q=zebra",
            "/items?keyword=secret",
            f"/items?userid={mine}",
        ):
            assert b"diary" not in site.ask("GET", target, Cookie=reader.cookie).body, target
    # and its owner does
    for target in ("/my", "/my?q=zebra", "/my?keyword=secret", f"/note/{id}", f"/my/{id}"):
        assert "diary" in ann.get(target), target
    assert "Private</span>" in ann.get(f"/note/{id}")
    assert "checked" in ann.get(f"/my/{id}")
    # when it is no longer private
    ann.send(f"/my/{id}", title="diary", version=version(ann))
    # then everybody sees it
    assert "diary" in browser.get(f"/note/{id}")


def test_programs_write_private_notes_of_registered_users_alone(ann: Browser, site: Website) -> None:
    mine = uid(ann)
    token = {"Cookie": ann.cookie, "X_XSRF_Token": hidden(ann.page)}
    note = {"title": "by a program", "private": True}
    assert site.ask("POST", f"/info/{mine}", note, **token).status == 201
    assert "by a program" in ann.get("/my")
    assert b"by a program" not in site.ask("GET", f"/info/{mine}").body
    # what nobody could see is refused
    for method, target in (("POST", "/info/5"), ("PUT", "/items/nobodys")):
        assert site.ask(method, target, note).error["field"] == "private"
    assert site.ask("POST", "/info/5", {"private": "yes"}).error["field"] == "private"


def hidden(page: str) -> str:
    found = re.search(r'name="_xsrf" value="([^"]*)"', page)
    assert found
    return found[1]


def test_nobody_touches_what_is_somebody_elses(ann: Browser, site: Website) -> None:
    ann.send("/my", title="mine")
    id = note_of(ann)
    bob = Browser(site)
    bob.send("/register", name="Bob", email=f"bob{next(_people)}@example.org", password=PASSWORD)
    for page in (bob.get(f"/my/{id}"), bob.send(f"/my/{id}", title="his"), bob.send(f"/my/{id}/delete")):
        assert bob.status in (403, 404), page
    assert "mine" in ann.get("/my")


def test_older_notes_are_on_further_pages(browser: Browser, site: Website) -> None:
    site.ask("POST", "/info/78", [{"title": f"number {number:02}", "ts": 1000 + number} for number in range(45)])
    seen, at = [], "/by/78"
    while at:
        page = browser.get(at)
        seen += re.findall(r"number (\d\d)", page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        at = html.unescape(older[1]) if older else ""
    assert seen == [f"{number:02}" for number in reversed(range(45))]


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
    call = site.web.call

    async def noted(queue: str, message: Message) -> Reply:
        asked.append(message)
        return await call(queue, message)

    monkeypatch.setattr(site.web, "call", noted)
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


class Events:
    """A connection to the stream of changes."""

    def __init__(self, site: Website, target: str, last: str = "") -> None:
        self._connection = Connection(site.port)
        headers = {"Last_Event_ID": last} if last else {}
        self._connection.request("GET", target, **headers)
        self._file = self._connection.socket.makefile("rb")
        assert self._file.readline() == b"HTTP/1.1 200 OK\r\n"
        while self._file.readline().strip():
            pass

    def next(self) -> dict[str, str]:
        """The next event's fields."""
        while True:
            fields: dict[str, str] = {}
            while line := self._file.readline().decode().rstrip("\n"):
                name, _, text = line.partition(": ")
                fields[name] = text
            if "event" in fields:
                return fields

    def close(self) -> None:
        self._file.close()
        self._connection.close()


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
    assert event["event"] == "gone"
    events.close()


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
