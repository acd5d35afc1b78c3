"""Quiet hours and digests, with a real mail server: what waits, what comes together, and what is not sent at all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from gorgond.app.letters import DIGEST
from gorgond.notifiers.email import EmailNotifier
from gorgond.redpill import now_ms
from tests.conftest import RedisServer
from tests.integration.browsing import Browser
from tests.integration.letters import PASSWORD, bearer, confirmed, login, mails_to, sending
from tests.integration.mail import MailServer
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_email import at_broker
from tests.integration.test_notifications import APPS, tell
from tests.integration.website import Website
from tests.waiting import eventually

WINDOW = 1500  # ms
MANY = 100  # notifications


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def site(
    request: pytest.FixtureRequest,
    module_redis: RedisServer,
    mail: MailServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("digests")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "digests"
    module_redis.cli("FLUSHALL")
    more = "bounces = bounces@notes.example\n"
    with sending(module_redis.url, directory, mail, more, store__url=store, app__module=APPS) as site:
        yield site
        eventually(lambda: idle(site))  # all servers end at once: what one has in hand would wait for the others


def idle(site: Website) -> bool:
    """Whether the channel has nothing to do."""
    counts = at_broker(site, lambda link: link.counts(["notify_put", "notify_put:email"]))
    return all(each.queued == each.in_flight == 0 for each in counts)


class Reader:
    """Somebody whose address is confirmed."""

    def __init__(self, site: Website, mail: MailServer) -> None:
        self.email = confirmed(site, mail)
        answer = login(site, self.email)
        self.id: str = answer.json["user"]["id"]
        self._session = bearer(answer)
        self._site = site

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._site.ask(method, f"/me/notifications{path}", body, **self._session)
        assert answer.status == 200, answer.body
        return answer.json

    def gather(self, *kinds: str) -> None:
        """Have these in a digest from now on."""
        for kind in kinds:
            self.ask("PUT", f"/preferences/{kind}/email", {"on": True, "digest": True})

    def unread(self) -> int:
        unread: int = self.ask("GET", "")["unread"]
        return unread

    def tell(self, *titles: str, kind: str = COMMENT) -> None:
        """The user is told so, and that is in the inbox."""
        before = self.unread()
        for title in titles:
            tell(self._site, self.id, kind, data={"title": title})
        eventually(lambda: self.unread() == before + len(titles))


@pytest.fixture
def nora(site: Website, mail: MailServer) -> Reader:
    return Reader(site, mail)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are sent every second and a half."""
    monkeypatch.setattr("gorgond.notifiers.digests.next_digest", lambda _, now: now - now % WINDOW + WINDOW)


def digests(mail: MailServer, email: str) -> list[Any]:
    return [
        each
        for each in mail.mails
        if each["To"].addresses[0].addr_spec == email and each["Subject"].startswith("What is new")
    ]


def titles(letter: Any) -> list[str]:
    """What a digest names."""
    lines = letter.get_body(("plain",)).get_content().splitlines()
    return [line for line in lines if line.startswith("number ")]


def test_what_comes_in_quiet_hours_waits_until_they_end(
    nora: Reader, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given quiet hours, of which there are some moments left
    quiet = {"zone": "Europe/Berlin", "quiet": {"from": "22:00", "to": "07:00"}, "digest": "hourly"}
    assert nora.ask("PUT", "/times", quiet) == quiet
    assert nora.ask("GET", "/preferences")["times"] == quiet
    asked: list[Any] = []
    end = now_ms() + 3000

    def until(times: Any, now: int) -> int:
        asked.append((times, now))
        return end if now < end else 0

    monkeypatch.setattr("gorgond.notifiers.delivering.quiet_until", until)
    # when the user is notified, then the inbox has it at once
    nora.tell("number 1")
    eventually(lambda: asked)
    assert asked[0][0] == quiet
    # and the e-mail is sent when they have ended
    mails_to(mail, nora.email, 1, "number 1")
    assert asked[-1][1] >= end > asked[0][1]


def test_what_was_switched_off_in_quiet_hours_is_not_sent_after_them(
    nora: Reader, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    end = now_ms() + 3000

    def until(_: Any, now: int) -> int:
        asked.append(now)
        return end if now < end else 0

    monkeypatch.setattr("gorgond.notifiers.delivering.quiet_until", until)
    nora.tell("number 1")
    eventually(lambda: asked)
    nora.ask("PUT", f"/preferences/{COMMENT}/email", {"on": False})
    nora.tell("number 2", kind=LOGIN)
    mails_to(mail, nora.email, 1, "number 2")
    eventually(lambda: asked[-1] >= end)
    mails_to(mail, nora.email, 0, "number 1")


@pytest.mark.usefixtures("soon")
def test_what_is_gathered_comes_together_once(nora: Reader, mail: MailServer) -> None:
    # given a user who wants two kinds in a digest
    nora.gather(COMMENT, LOGIN)
    [kind] = [each for each in nora.ask("GET", "/preferences")["kinds"] if each["kind"] == COMMENT]
    assert (kind["channels"]["email"], kind["digest"]) == (True, ["email"])
    # when many come
    said = [f"number {number}" for number in range(40)]
    nora.tell(*said[:20])
    nora.tell(*said[20:], kind=LOGIN)
    # then each is in one digest, and none by itself
    eventually(lambda: sum(len(titles(each)) for each in digests(mail, nora.email)) >= len(said))
    found = digests(mail, nora.email)
    assert sorted(title for each in found for title in titles(each)) == sorted(said)
    assert len(found) < 10
    assert len({each["Message-ID"] for each in found}) == len(found)
    mails_to(mail, nora.email, 0, "number")


@pytest.mark.usefixtures("soon")
def test_a_digest_has_nothing_that_was_switched_off_meanwhile(nora: Reader, mail: MailServer) -> None:
    nora.gather(COMMENT, LOGIN)
    nora.tell("number 1")
    nora.tell("number 2", kind=LOGIN)
    nora.ask("PUT", f"/preferences/{COMMENT}/email", {"on": False})
    eventually(lambda: digests(mail, nora.email))
    nora.tell("number 3", kind=LOGIN)
    eventually(lambda: any("number 3" in titles(each) for each in digests(mail, nora.email)))
    # what was sent before that had been answered is another matter
    assert [title for each in digests(mail, nora.email) for title in titles(each)] in (
        ["number 2", "number 3"], ["number 1", "number 2", "number 3"], ["number 1", "number 3"],
    )  # fmt: skip


@pytest.mark.usefixtures("soon")
def test_who_wants_no_digests_any_more_says_so_with_one_click(site: Website, nora: Reader, mail: MailServer) -> None:
    nora.gather(COMMENT, LOGIN)
    nora.tell("number 1")
    [letter] = eventually(lambda: digests(mail, nora.email))
    link = urlsplit(str(letter["List-Unsubscribe"]).strip("<>"))
    assert f"kind={DIGEST}" in link.query
    form = "application/x-www-form-urlencoded"
    answer = site.ask("POST", f"{link.path}?{link.query}", b"List-Unsubscribe=One-Click", Content_Type=form)
    assert answer.status == 200
    kinds = {each["kind"]: each for each in nora.ask("GET", "/preferences")["kinds"]}
    assert [kinds[kind]["channels"]["email"] for kind in (COMMENT, LOGIN)] == [False, False]


def test_preferences_of_before_mean_what_they_did(nora: Reader, mail: MailServer) -> None:
    # given one who switched a kind off, and on again
    for on in (False, True):
        answer = nora.ask("PUT", f"/preferences/{COMMENT}/email", {"on": on})
        assert answer == {"kind": COMMENT, "channel": "email", "on": on}
    assert nora.ask("GET", "/preferences")["times"] == {"zone": "UTC", "quiet": None, "digest": "08:00"}
    nora.tell("number 1")
    mails_to(mail, nora.email, 1, "number 1")


def test_what_makes_no_sense_is_refused(site: Website, nora: Reader) -> None:
    session = bearer(login(site, nora.email))

    def refused(path: str, body: Any) -> tuple[int, str]:
        answer = site.ask("PUT", f"/me/notifications{path}", body, **session)
        return answer.status, answer.error["field"]

    assert refused("/times", {"zone": "Mars/Olympus"}) == (400, "zone")
    assert refused("/times", {"quiet": {"from": "22:00", "to": "22:00"}}) == (400, "quiet")
    assert refused("/times", {"quiet": "night"})[0] == 400
    assert refused("/times", {"digest": "25:00"}) == (400, "digest")
    assert refused(f"/preferences/{COMMENT}/inbox", {"on": True, "digest": True}) == (400, "digest")


def test_times_are_chosen_without_javascript(site: Website, nora: Reader) -> None:
    browser = Browser(site)
    browser.send("/login", email=nora.email, password=PASSWORD)
    assert "Quiet hours from" in browser.get("/notifications/preferences")
    times = {"from": "22:00", "to": "07:00", "digest": "daily", "at": "09:30"}
    assert "Time zone: must be" in browser.send("/notifications/times", zone="Mars", **times)
    assert browser.status == 400
    assert "That is changed" in browser.send("/notifications/times", zone="Asia/Kathmandu", **times)
    quiet = {"from": "22:00", "to": "07:00"}
    assert nora.ask("GET", "/preferences")["times"] == {"zone": "Asia/Kathmandu", "quiet": quiet, "digest": "09:30"}
    # and a kind in a digest
    page = browser.send("/notifications/preferences", kind=COMMENT, channel="email", on="yes", digest="yes")
    assert "Email in a digest: yes" in page
    # and none of it
    browser.send("/notifications/times", zone="UTC", digest="hourly")
    assert nora.ask("GET", "/preferences")["times"] == {"zone": "UTC", "quiet": None, "digest": "hourly"}


def test_an_email_comes_back_to_an_address_of_its_own(site: Website, nora: Reader, mail: MailServer) -> None:
    id = tell(site, nora.id, COMMENT, data={"title": "number 1"})
    [letter] = mails_to(mail, nora.email, 1, "number 1")
    assert f"bounces+{nora.id}.{id}@notes.example" in mail.senders
    assert letter["From"] == "notes@notes.example"
    assert all(len(sender.partition("@")[0]) <= 64 for sender in mail.senders)


def test_none_is_sent_after_that_was_answered(site: Website, nora: Reader, mail: MailServer) -> None:
    for turn in range(3):

        def handed(turn: int = turn) -> int:
            """How many e-mails the mail server was handed by now."""
            return sum(f"turn {turn}" in str(each["Subject"]) for each in mail.offered)

        with ThreadPoolExecutor(8) as pool:
            # given notifications that come all the time, of which e-mails are sent
            said = {"title": f"turn {turn}"}
            telling = [pool.submit(tell, site, nora.id, COMMENT, data=said) for _ in range(MANY)]
            eventually(lambda handed=handed: handed() >= 5)  # type: ignore[misc]
            # when they are switched off
            nora.ask("PUT", f"/preferences/{COMMENT}/email", {"on": False})
            before = handed()
            assert all(each.result() for each in telling)
        # then no other is sent, but for those that were being handed over at that moment
        tell(site, nora.id, LOGIN, data={"title": f"after it {turn}"})
        mails_to(mail, nora.email, 1, f"after it {turn}")
        assert handed() - before <= EmailNotifier.in_hand
        assert handed() < MANY
        nora.ask("PUT", f"/preferences/{COMMENT}/email", {"on": True})
    # and the inbox has all of them
    eventually(lambda: nora.unread() == 3 * (MANY + 1))
