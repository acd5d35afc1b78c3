"""Notifications on a running fabric: told by an application, kept in the inbox, read, live, and only what is wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gorgond.app import letters
from gorgond.auth.records import owned_filters
from gorgond.redpill import Listener, now_ms
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.integration.browsing import Browser, Events, hidden, somebody, uid
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_website_forms import paused
from tests.integration.website import Answer, Connection, Website
from tests.waiting import eventually

APPS = "gorgond.app.notes tests.integration.telling"


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def house(
    request: pytest.FixtureRequest, module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Website]:
    """On each database, over a Redis that keeps what was accepted."""
    directory = tmp_path_factory.mktemp("notifications")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "notifications"
    module_redis.cli("FLUSHALL")
    with Website(module_redis.url, directory, store__url=store, app__module=APPS) as house:
        yield house


class Reader:
    """Somebody who has just registered, in a browser, and by the API."""

    def __init__(self, house: Website) -> None:
        self.browser: Browser = somebody(house, "Nora")
        self.id = uid(self.browser)
        self._xsrf = hidden(self.browser.page)
        self._house = house

    def ask(self, method: str, target: str, body: Any = None) -> Answer:
        return self._house.ask(method, target, body, Cookie=self.browser.cookie, X_XSRF_Token=self._xsrf)

    def inbox(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.ask("GET", "/me/notifications?lim=1000").json["notifications"]
        return listed

    def unread(self) -> int:
        unread: int = self.ask("GET", "/me/notifications").json["unread"]
        return unread

    def got(self, number: int) -> list[dict[str, Any]]:
        """The inbox when there are so many in it."""
        eventually(lambda: len(self.inbox()) >= number)
        inbox = self.inbox()
        assert len(inbox) == number
        return inbox

    def watch(self, since: str = "", last: str = "") -> Events:
        return Events(self._house, f"/me/notifications/live{since}", last, cookie=self.browser.cookie)


@pytest.fixture
def nora(house: Website) -> Reader:
    return Reader(house)


def tell(house: Website, user: str, kind: str = COMMENT, **what: Any) -> str:
    """Have somebody notified: the notification's id."""
    answer = house.ask("POST", "/tell", {"user": user, "kind": kind, **what})
    assert answer.status == 200, answer.body
    id: str = answer.json["id"]
    return id


def refused(house: Website, **what: Any) -> tuple[int, str]:
    error = house.ask("POST", "/tell", what).error
    return error["code"], error["message"]


def test_who_is_notified_finds_it_in_the_inbox_until_it_is_read(house: Website, nora: Reader) -> None:
    # given nobody's inbox
    assert nora.inbox() == []
    assert nora.unread() == 0
    # when the user is notified three times, each when the one before is there
    for number in range(1, 4):
        tell(house, nora.id, data={"title": f"the {number}."})
        nora.got(number)
    # then they are there, the newest first, numbered, with what the kind is called
    inbox = nora.got(3)
    assert [(each["number"], each["data"]["title"]) for each in inbox] == [(3, "the 3."), (2, "the 2."), (1, "the 1.")]
    assert {(each["kind"], each["title"], each["read"]) for each in inbox} == {
        (COMMENT, "Somebody commented on your note", False)
    }
    assert nora.unread() == 3
    older = nora.ask("GET", "/me/notifications?lim=1&before=3").json["notifications"]
    assert [each["number"] for each in older] == [2]
    # when one is read, and then all
    assert nora.ask("POST", "/me/notifications/2/read").status == 204
    assert [each["number"] for each in nora.inbox() if not each["read"]] == [3, 1]
    assert nora.unread() == 2
    assert nora.ask("POST", "/me/notifications/read").json == {"until": 3}
    assert nora.unread() == 0
    # then what comes afterwards is unread
    tell(house, nora.id)
    nora.got(4)
    assert nora.unread() == 1
    # and one that is not there cannot be read
    assert nora.ask("POST", "/me/notifications/9/read").error["code"] == 404


def test_a_key_notifies_once_and_one_of_another_user_or_kind_is_another(house: Website, nora: Reader) -> None:
    other = Reader(house)
    ids = {tell(house, nora.id, key="note-7", data=number) for number in range(5)}
    assert len(ids) == 1
    tell(house, nora.id, LOGIN, key="note-7")
    tell(house, other.id, key="note-7")
    tell(house, nora.id, data="the last")
    eventually(lambda: any(each["data"] == "the last" for each in nora.inbox()))
    kinds = sorted((each["kind"], each["data"] == "the last") for each in nora.inbox())
    assert kinds == [(COMMENT, False), (COMMENT, True), (LOGIN, False)]
    other.got(1)


def test_one_for_later_comes_then(house: Website, nora: Reader) -> None:
    at = now_ms() + 1500
    tell(house, nora.id, at=at, data="later")
    tell(house, nora.id, data="now")
    assert [each["data"] for each in nora.got(1)] == ["now"]
    assert [each["data"] for each in nora.got(2)] == ["later", "now"]
    assert now_ms() >= at


def test_nobody_sees_anothers(house: Website, nora: Reader) -> None:
    other = Reader(house)
    tell(house, nora.id)
    nora.got(1)
    assert other.inbox() == []
    assert other.ask("POST", "/me/notifications/1/read").error["code"] == 404
    assert house.ask("GET", "/me/notifications").status == 401
    assert house.ask("GET", "/me/notifications/live").status == 401


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ({"kind": "nope"}, 404, "there is no kind of notification nope; there are account.login, comment.new"),
        ({"kind": COMMENT, "data": "x" * 20_000}, 413, "data: has 20002 bytes, and must have at most 20000"),
        ({"kind": COMMENT, "user": "a\r\nBcc: b@c"}, 400, "user: must be a user's id"),
        ({"kind": COMMENT, "user": "a:b"}, 400, "user: must be a user's id"),
    ],
)
def test_what_cannot_be_is_refused_by_name(house: Website, what: dict[str, Any], code: int, says: str) -> None:
    found, message = refused(house, **{"user": "7", **what})
    assert (found, message[: len(says)]) == (code, says)


def test_what_is_not_wanted_is_not_sent_once_that_is_answered(house: Website, nora: Reader) -> None:
    # given what there is to choose
    kinds = nora.ask("GET", "/me/notifications/preferences").json["kinds"]
    told = {kind: {"inbox": True} for kind in (COMMENT, LOGIN, letters.LOGIN)}
    assert {each["kind"]: each["channels"] for each in kinds} == told
    # and notifications that are accepted, and not sent yet
    with paused(house, "notify_put:inbox"):
        for _ in range(5):
            tell(house, nora.id)
        # when the kind is switched off
        answer = nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/inbox", {"on": False})
        assert answer.json == {"kind": COMMENT, "channel": "inbox", "on": False}
    # then none of it is sent, and all of another kind is
    tell(house, nora.id, LOGIN)
    assert [each["kind"] for each in nora.got(1)] == [LOGIN]
    # when it is switched on again, then it is sent
    nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/inbox", {"on": True})
    tell(house, nora.id)
    assert [each["kind"] for each in nora.got(2)] == [COMMENT, LOGIN]
    # and what there is not is named
    for target, says in (
        ("nope/inbox", "nope; there are account.login, comment.new"),
        (f"{COMMENT}/pager", "there are inbox"),
    ):
        error = nora.ask("PUT", f"/me/notifications/preferences/{target}", {"on": False}).error
        assert error["code"] == 404
        assert says in error["message"]


# ---- live


def numbers(events: Events, count: int) -> list[int]:
    """The numbers of so many notifications that come next."""
    found = []
    for _ in range(count):
        event = events.next()
        assert event["event"] == "notification", event
        assert json.loads(event["data"])["number"] == int(event["id"])
        found.append(int(event["id"]))
    return found


def test_who_watches_is_told_each_in_order_and_once(house: Website, nora: Reader) -> None:
    # given two in the inbox, and somebody who has seen the first
    for number in (1, 2):
        tell(house, nora.id)
        nora.got(number)
    events = nora.watch("?since=1")
    # when more come, many at the same time
    for _ in range(30):
        tell(house, nora.id)
    # then all that came after the first are told, in order, once
    assert numbers(events, 31) == list(range(2, 33))
    events.close()
    # when more come while nobody watches, and the browser connects again
    for _ in range(3):
        tell(house, nora.id)
    events = nora.watch("?since=1", last="32")
    # then those are told
    assert numbers(events, 3) == [33, 34, 35]
    # and who says nothing is told of what comes from now on
    fresh = nora.watch()
    nora.ask("POST", "/me/notifications/35/read")
    assert events.next() == fresh.next() == {"event": "read", "data": '{"number":35}'}
    tell(house, nora.id)
    assert numbers(fresh, 1) == numbers(events, 1) == [36]
    nora.ask("POST", "/me/notifications/read")
    assert events.next() == {"event": "read", "data": '{"until":36}'}
    for each in (events, fresh):
        each.close()


def test_a_number_that_nobody_knows_is_a_reset(house: Website, nora: Reader) -> None:
    tell(house, nora.id)
    nora.got(1)
    events = nora.watch("?since=9")
    assert events.next() == {"id": "1", "event": "reset", "data": "{}"}
    tell(house, nora.id)
    assert numbers(events, 1) == [2]
    events.close()


def test_one_who_missed_an_event_is_told_from_the_store(
    house: Website, nora: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = nora.watch("?since=0")
    tell(house, nora.id)
    assert numbers(events, 1) == [1]
    # given that the listener loses what happens
    lost: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr(Listener, "_hear", lambda _, __, raw: lost.append(raw))
        tell(house, nora.id)
        eventually(lambda: any(b"notify.added" in raw for raw in lost))
    # when the next one happens, then both are told
    tell(house, nora.id)
    assert numbers(events, 2) == [2, 3]
    events.close()


def test_one_whose_web_server_lost_the_broker_is_told_from_the_store(
    house: Website, nora: Reader, module_redis: RedisServer, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(r"broker .* (is away|is back)")
    events = nora.watch("?since=0")
    tell(house, nora.id)
    assert numbers(events, 1) == [1]
    for number in range(2, 6):
        module_redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
        tell(house, nora.id)
        assert numbers(events, 1) == [number]
    events.close()


# ---- pages


def test_the_page_of_the_inbox_does_without_javascript(house: Website, nora: Reader) -> None:
    page = nora.browser.get("/notifications")
    assert "Nothing here yet." in page
    tell(house, nora.id, data={"title": "<b>Sourdough</b>", "text": "was commented on", "url": "/note/7"})
    tell(house, nora.id, LOGIN, data={"url": "javascript:alert(1)"})
    nora.got(2)
    page = nora.browser.get("/notifications")
    assert '<a href="/note/7">&lt;b&gt;Sourdough&lt;/b&gt;</a>' in page
    assert "javascript:" not in page
    assert "<title>Notifications (2) " in page
    # when one is read, then the other is left
    nora.browser.send("/notifications/1/read")
    assert "Notifications (1)" in nora.browser.page
    # when all are, then none is
    until = re.search(r'name="until" value="(\d+)"', nora.browser.page)
    assert until
    nora.browser.send("/notifications/read", until=until[1])
    assert "<title>Notifications (" not in nora.browser.page
    # and what one is sent is chosen there
    page = nora.browser.get("/notifications/preferences")
    assert page.count("Inbox: on") == 3
    page = nora.browser.send("/notifications/preferences", kind=LOGIN, channel="inbox", on="")
    assert "That is changed, from now on." in page
    assert (page.count("Inbox: on"), page.count("Inbox: off")) == (2, 1)


def test_who_is_not_logged_in_is_sent_to_do_that(house: Website) -> None:
    browser = Browser(house)
    assert "<h1>Log in</h1>" in browser.get("/notifications")


def test_an_account_that_ends_takes_its_notifications_along(house: Website, nora: Reader) -> None:
    tell(house, nora.id)
    nora.got(1)
    nora.ask("POST", "/me/notifications/read")
    nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/inbox", {"on": False})
    assert set(kept(house, nora.id)) == {"notifications", "inboxes", "preferences"}
    answer = nora.ask("POST", "/auth/delete", {"password": "correct horse battery staple"})
    assert answer.status == 204
    eventually(lambda: not kept(house, nora.id))


def kept(house: Website, user: str) -> list[str]:
    """The collections that have something of a user's."""
    store = open_store(house.config.store.url)
    try:
        wanted = owned_filters(user)
        counts = store.count([Query(name, filter) for name, filter in wanted.items()])
        return [name for name, count in zip(wanted, counts, strict=True) if count]
    finally:
        store.close()


def test_the_description_has_the_routes(house: Website) -> None:
    with Connection(house.port) as connection:
        paths = connection.ask("GET", "/openapi.json").json["paths"]
    assert {"/me/notifications", "/me/notifications/{number}/read", "/me/notifications/live"} <= set(paths)
