"""Letters of accounts: an address confirmed, a forgotten password replaced, a login told of."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gorgond.app import letters as kinds
from tests.conftest import RedisServer
from tests.integration.browsing import Browser
from tests.integration.letters import (
    OTHER,
    PASSWORD,
    bearer,
    change_user,
    confirmed,
    login,
    mails_to,
    new_email,
    register,
    sending,
    token_in,
)
from tests.integration.mail import MailServer
from tests.integration.telling import COMMENT
from tests.integration.test_notifications import APPS, tell
from tests.integration.test_website_forms import paused
from tests.integration.website import Answer, Website
from tests.waiting import eventually


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
    directory = tmp_path_factory.mktemp("letters")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "letters"
    module_redis.cli("FLUSHALL")
    more = "[notify.push]\nkind = push\ncontact = mailto:ops@notes.example\n"
    with sending(module_redis.url, directory, mail, more, store__url=store, app__module=APPS) as site:
        yield site


def me(site: Website, session: dict[str, str]) -> Answer:
    return site.ask("GET", "/auth/me", **session)


def ask_reset(site: Website, email: str) -> Answer:
    return site.ask("POST", "/auth/reset", {"email": email})


def reset(site: Website, token: str, new: str = OTHER) -> Answer:
    return site.ask("PUT", "/auth/reset", {"token": token, "new": new})


def link_to_reset(site: Website, mail: MailServer, email: str) -> str:
    """The token of the first link that somebody who has forgotten the password is sent."""
    assert ask_reset(site, email).status == 202
    return token_in(mails_to(mail, email, subject="new password")[0])


# ---- the address


def test_who_registers_confirms_the_address_by_a_link_once(site: Website, mail: MailServer) -> None:
    # given somebody who has registered
    email = new_email()
    assert "confirmed" not in register(site, email).json
    session = bearer(login(site, email))
    assert "confirmed" not in me(site, session).json
    # then a letter is there, from which nobody unsubscribes, and nothing of it in the inbox
    [letter] = mails_to(mail, email)
    assert letter["List-Unsubscribe"] is None
    assert site.ask("GET", "/me/notifications", **session).json["notifications"] == []
    token = token_in(letter)
    # when its link is followed
    assert site.ask("PUT", "/auth/confirm", {"token": token}, **session).json["confirmed"] is True
    # then it is known everywhere, and the link is of no more use
    assert me(site, session).json["confirmed"] is True
    assert site.ask("PUT", "/auth/confirm", {"token": token}, **session).status == 404
    assert site.ask("POST", "/auth/confirm", **session).status == 409


def test_a_link_confirms_nothing_for_who_only_has_the_link(site: Website, mail: MailServer) -> None:
    # given a stranger who has registered with somebody's address
    email = new_email()
    register(site, email)
    token = token_in(mails_to(mail, email)[0])
    # when its owner follows the link, without an account or with another one
    assert site.ask("PUT", "/auth/confirm", {"token": token}).status == 401
    another = new_email()
    register(site, another)
    session = bearer(login(site, another))
    answer = site.ask("PUT", "/auth/confirm", {"token": token}, **session)
    # then nothing is confirmed
    assert (answer.status, answer.error["field"]) == (403, "token")
    assert "confirmed" not in me(site, bearer(login(site, email))).json
    assert "confirmed" not in me(site, session).json


@pytest.mark.parametrize("token", ["", "x", "5.5.5", "1234567890.99999999999999.{}", "é", "0.0." + "A" * 43])
def test_what_is_no_link_is_refused(site: Website, mail: MailServer, token: str) -> None:
    session = bearer(login(site, confirmed(site, mail)))
    body = {"token": token.format("A" * 43)}
    assert site.ask("PUT", "/auth/confirm", body, **session).status in (403, 404)
    assert reset(site, body["token"]).status == 404


def test_a_link_ends(site: Website, mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorgond.auth.links.LETTERS", dict.fromkeys(kinds.LETTERS, -0.001))
    email = new_email()
    register(site, email)
    token = token_in(mails_to(mail, email)[0])
    assert site.ask("PUT", "/auth/confirm", {"token": token}, **bearer(login(site, email))).status == 404
    assert reset(site, link_to_reset(site, mail, email)).status == 404
    assert login(site, email).status == 200


def test_an_address_that_is_not_confirmed_gets_letters_alone(site: Website, mail: MailServer) -> None:
    # given a user who has not confirmed the address
    email = new_email()
    user = register(site, email).json["id"]
    mails_to(mail, email)
    session = bearer(login(site, email))
    # when the user is notified, then that is in the inbox and in no e-mail
    tell(site, user, COMMENT, data={"title": "before"})
    eventually(lambda: site.ask("GET", "/me/notifications", **session).json["unread"] == 1)
    assert ask_reset(site, email).status == 202
    mails_to(mail, email, 1, "new password")
    # but a user of before there was this gets all, and so does one who confirms it
    change_user(site, email, confirmed=None)
    tell(site, user, COMMENT, data={"title": "of old"})
    mails_to(mail, email, 1, "of old")
    mails_to(mail, email, 3)


def test_letters_are_sent_now_and_then_and_again_when_asked_for(site: Website, mail: MailServer) -> None:
    email = new_email()
    register(site, email)
    session = bearer(login(site, email))
    # when one asks again and again, then some are sent
    answers = [site.ask("POST", "/auth/confirm", **session) for _ in range(5)]
    assert [answer.status for answer in answers] == [202, 202, 202, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 60
    assert len({token_in(each) for each in mails_to(mail, email, 4)}) >= 1


# ---- the password


def test_a_forgotten_password_is_replaced_once_and_all_sessions_end(site: Website, mail: MailServer) -> None:
    # given a user who is logged in, and has forgotten the password
    email = confirmed(site, mail)
    session = bearer(login(site, email))
    token = link_to_reset(site, mail, email)
    # when a bad one is chosen, then the link is as good as before
    assert reset(site, token, "short").error["field"] == "new"
    # when a good one is chosen
    assert reset(site, token).status == 204
    # then it is the password, and the sessions of before have ended
    assert me(site, session).status == 401
    assert login(site, email).status == 401
    assert me(site, bearer(login(site, email, OTHER))).json["confirmed"] is True
    # and the link is of no more use
    answer = reset(site, token, "another one altogether")
    assert (answer.status, answer.error["field"]) == (404, "token")


def test_of_many_with_the_same_link_one_succeeds(site: Website, mail: MailServer) -> None:
    email = confirmed(site, mail)
    token = link_to_reset(site, mail, email)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: reset(site, token, f"password number {number}"), range(8)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(204) == 1, statuses
    assert set(statuses) <= {204, 404, 409}
    assert login(site, email, f"password number {statuses.index(204)}").status == 200


def test_a_link_ends_with_the_password_that_was_forgotten(site: Website, mail: MailServer) -> None:
    # given a link, and a user who remembers the password, and changes it
    email = confirmed(site, mail)
    token = link_to_reset(site, mail, email)
    body = {"old": PASSWORD, "new": "found it again"}
    assert site.ask("POST", "/auth/password", body, **bearer(login(site, email))).status == 200
    assert reset(site, token).status == 404


def test_an_unknown_address_is_answered_the_same(site: Website, mail: MailServer) -> None:
    # given an address that is somebody's, and one that is nobody's
    known, unknown = confirmed(site, mail), new_email()
    for _ in range(3):
        answers = [ask_reset(site, email) for email in (known, unknown)]
        told = [(each.status, each.body, sorted(each.headers)) for each in answers]
        assert told[0] == told[1] == (202, b"", told[0][2])
    # then both are limited the same, and only one has e-mails
    refused = [ask_reset(site, email) for email in (known, unknown)]
    assert [each.status for each in refused] == [429, 429]
    mails_to(mail, known, 3, "new password")
    mails_to(mail, unknown, 0)


def test_the_answer_waits_for_nothing_that_depends_on_the_address(site: Website, mail: MailServer) -> None:
    known, unknown = confirmed(site, mail), new_email()
    # given that nobody finds out whose an address is
    with paused(site, "auth_store_get"):
        # when it is asked for either, then it is answered all the same
        assert [ask_reset(site, email).status for email in (known, unknown)] == [202, 202]
        mails_to(mail, known, 0, "new password")
    # and the e-mail is sent when that can be found out
    mails_to(mail, known, 1, "new password")


def test_an_attempt_from_a_page_of_another_site_is_refused(site: Website) -> None:
    cross = {"Sec_Fetch_Site": "cross-site"}
    assert site.ask("POST", "/auth/reset", {"email": "a@b.example"}, **cross).status == 403
    assert site.ask("PUT", "/auth/reset", {"token": "x", "new": OTHER}, **cross).status == 403


@pytest.mark.parametrize("email", ["a@b.example\r\nBcc: c@d.example", "a\n@b.example", "nobody", "a@b\r.example"])
def test_an_address_with_a_line_end_is_refused(site: Website, email: str) -> None:
    assert ask_reset(site, email).error["field"] == "email"
    body = {"email": email, "password": PASSWORD}
    assert site.ask("POST", "/auth/register", body).error["field"] == "email"


# ---- who registered with an address that is somebody else's


def test_the_owner_of_an_address_takes_the_account_from_who_never_confirmed_it(site: Website, mail: MailServer) -> None:
    # given a stranger who has registered with somebody's address, is logged in, and has written a note
    email = new_email()
    register(site, email)
    session = bearer(login(site, email))
    assert site.ask("POST", "/me/notes", {"title": "kept"}, **session).status == 201
    # and is told in a browser what is new
    keys = {name: urlsafe_b64encode(b"\4" * size).decode().rstrip("=") for name, size in (("p256dh", 65), ("auth", 16))}
    body = {"endpoint": "https://push.example/stranger", "keys": keys}
    assert site.ask("POST", "/me/notifications/browsers", body, **session).status == 201
    # when the owner chooses a new password, by the link in an e-mail
    assert reset(site, link_to_reset(site, mail, email)).status == 204
    # then the stranger's password and sessions have ended, and the address is confirmed
    assert me(site, session).status == 401
    assert login(site, email).status == 401
    mine = bearer(login(site, email, OTHER))
    assert me(site, mine).json["confirmed"] is True
    assert site.ask("GET", "/me/notifications/browsers", **mine).json["browsers"] == []
    # and what is there is the owner's
    assert [note["title"] for note in site.ask("GET", "/me/notes", **mine).json["items"]] == ["kept"]


# ---- logins


def told_of(site: Website, session: dict[str, str]) -> list[str]:
    """The texts of the logins that the inbox tells of."""
    listed = site.ask("GET", "/me/notifications", **session).json["notifications"]
    return [each["data"]["text"] for each in listed if each["kind"] == kinds.LOGIN]


def test_a_login_from_somewhere_new_is_told_of(site: Website, mail: MailServer) -> None:
    # given a user who logs in from where the user has been before
    email = confirmed(site, mail)
    for _ in range(2):
        session = bearer(login(site, email))
    assert told_of(site, session) == []
    # when somebody logs in with another browser
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
    login(site, email, User_Agent=firefox)
    # then the inbox says so, and an e-mail
    eventually(lambda: told_of(site, session))
    [text] = told_of(site, session)
    assert text.startswith("With Firefox on Linux, from the address 127.0.0.1. ")
    [letter] = mails_to(mail, email, 1, kinds.TITLES[kinds.LOGIN])
    assert letter["List-Unsubscribe"]
    # and once: the second time it is known
    login(site, email, User_Agent=firefox)
    register(site, new_email())  # which is told after it
    assert len(told_of(site, session)) == 1
    # and it can be done without
    answer = site.ask("PUT", f"/me/notifications/preferences/{kinds.LOGIN}/inbox", {"on": False}, **session)
    assert answer.status == 200


# ---- pages


def test_a_password_is_forgotten_and_replaced_without_javascript(site: Website, mail: MailServer) -> None:
    email = confirmed(site, mail)
    browser = Browser(site)
    assert 'href="/reset"' in browser.get("/login")
    # when somebody asks for a link
    assert "Forgotten password" in browser.get("/reset")
    assert "is on its way" in browser.send("/reset", email=email)
    token = token_in(mails_to(mail, email, 1, "new password")[0])
    # then its page has a form, which says what is wrong
    assert "Choose a new password" in browser.get(f"/reset?token={token}")
    assert "one of the commonest" in browser.send("/reset/password", token=token, new="password")
    assert f'value="{token}"' in browser.page
    assert browser.status == 400
    # and sets the password
    assert "log in with it" in browser.send("/reset/password", token=token, new=OTHER)
    assert "<h1>My notes</h1>" in browser.send("/login", email=email, password=OTHER)
    # and whose link does not hold any more may ask for another
    page = browser.send("/reset/password", token=token, new=PASSWORD)
    assert browser.status == 404
    assert "does not hold any more" in page
    assert 'action="/reset"' in page


def test_an_address_is_confirmed_without_javascript(site: Website, mail: MailServer) -> None:
    browser, email = Browser(site), new_email()
    browser.send("/register", name="Ann", email=email, password=PASSWORD)
    token = token_in(mails_to(mail, email)[0])
    # given somebody who follows the link where nobody is logged in
    assert "Log in with the address" in Browser(site).get(f"/confirm?token={token}")
    # when one does who is, then it is confirmed by a form
    assert "not confirmed yet" in browser.get("/account")
    assert "is on its way to you" in browser.send("/account/confirm")
    assert email in browser.get(f"/confirm?token={token}")
    assert "The address is confirmed." in browser.send("/confirm", token=token)
    assert "(confirmed)" in browser.page
    # and once
    browser.get(f"/confirm?token={token}")
    assert "does not hold any more" in browser.send("/confirm", token=token)
