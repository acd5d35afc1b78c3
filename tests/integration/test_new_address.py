"""An account has another address: by a link that is sent there, and for who is logged in; the one before is told."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from gorgond.redpill import now_ms
from tests.integration.browsing import Browser
from tests.integration.letters import (
    OTHER,
    PASSWORD,
    at_store,
    bearer,
    confirmed,
    login,
    mails_to,
    new_email,
    token_in,
)
from tests.integration.mail import MailServer
from tests.integration.test_letters import mail, me, site
from tests.integration.website import Answer, Website
from tests.waiting import eventually

__all__ = ["mail", "site"]


def ask(site: Website, session: dict[str, str], email: str, password: str = PASSWORD) -> Answer:
    return site.ask("POST", "/auth/address", {"email": email, "password": password}, **session)


def move(site: Website, session: dict[str, str], email: str, token: str) -> Answer:
    return site.ask("PUT", "/auth/address", {"email": email, "token": token}, **session)


def link_to(site: Website, mail: MailServer, session: dict[str, str], email: str) -> str:
    """The token of the first link by which somebody has this address."""
    assert ask(site, session, email).status == 202
    return token_in(mails_to(mail, email, subject="your new e-mail address")[0])


def test_an_account_has_another_address_by_a_link_that_is_sent_there(site: Website, mail: MailServer) -> None:
    old, new = confirmed(site, mail), new_email()
    session = bearer(login(site, old))
    # given somebody who asks for that with the password, and for another address
    assert ask(site, session, new, "not it").error["field"] == "password"
    assert ask(site, session, old).status == 409
    token = link_to(site, mail, session, new)
    # then nothing is changed until the link is followed, by who is logged in, and for the address to which it was sent
    assert me(site, session).json["email"] == old
    assert site.ask("PUT", "/auth/address", {"email": new, "token": token}).status == 401
    assert move(site, session, new_email(), token).status == 404
    assert move(site, bearer(login(site, confirmed(site, mail))), new, token).status == 403
    # when it is, then one logs in with that address alone, which is confirmed, and the one before is told
    assert move(site, session, new, token).json == {**me(site, session).json, "email": new, "confirmed": True}
    assert login(site, new).status == 200
    assert login(site, old).status == 401
    [told] = mails_to(mail, old, subject="another e-mail address")
    assert new in told.get_body(("plain",)).get_content()
    eventually(lambda: me(site, session).json["email"] == new)
    # and once; and the address of before is free
    assert move(site, session, new, token).status == 404
    assert site.ask("POST", "/auth/register", {"email": old, "password": PASSWORD}).status == 201
    assert login(site, new).json["user"]["id"] != login(site, old).json["user"]["id"]


def test_whose_an_address_is_already_its_owner_alone_learns(site: Website, mail: MailServer) -> None:
    ann, ben = confirmed(site, mail), confirmed(site, mail)
    session = bearer(login(site, ann))
    token = link_to(site, mail, session, ben)
    assert move(site, session, ben, token).error["field"] == "email"
    assert (login(site, ann).status, login(site, ben).status) == (200, 200)
    assert login(site, ann).json["user"]["id"] != login(site, ben).json["user"]["id"]


def test_a_link_ends_with_the_password_it_was_asked_for_with(site: Website, mail: MailServer) -> None:
    old, new = confirmed(site, mail), new_email()
    session = bearer(login(site, old))
    token = link_to(site, mail, session, new)
    session = bearer(site.ask("POST", "/auth/password", {"old": PASSWORD, "new": OTHER}, **session))
    assert move(site, session, new, token).status == 404


@pytest.mark.parametrize(("left", "status"), [(60_000, 409), (-1, 201)])
def test_an_address_is_kept_for_a_while_for_who_was_about_to_have_it(
    site: Website, mail: MailServer, left: int, status: int
) -> None:
    # given that the auth server died when the address was reserved, and not yet the account's
    old, new = confirmed(site, mail), new_email()
    session = bearer(login(site, old))
    token = link_to(site, mail, session, new)
    claim: dict[str, Any] = {
        "id": hashlib.sha256(new.encode()).hexdigest(), "userid": me(site, session).json["id"], "user": None,
        "reserved": now_ms() + left,
    }  # fmt: skip
    assert at_store(site, lambda records: records.insert("emails", claim))
    # when somebody else registers it, then that is refused as long as it is kept, and else it is theirs
    assert site.ask("POST", "/auth/register", {"email": new, "password": OTHER}).status == status
    # and the link is followed once more, as long as it is nobody else's
    assert move(site, session, new, token).status == {409: 200, 201: 409}[status]
    assert login(site, new, PASSWORD if status == 409 else OTHER).status == 200


def test_the_address_of_before_leads_to_nobody_though_both_servers_died_that_had_it_in_hand(
    site: Website, mail: MailServer
) -> None:
    # given a server that died before it noted that the account was made, and one before it gave the address back
    old, new = confirmed(site, mail), new_email()
    session = bearer(login(site, old))
    user = me(site, session).json
    assert move(site, session, new, link_to(site, mail, session, new)).status == 200
    claim: dict[str, Any] = {
        "id": hashlib.sha256(old.encode()).hexdigest(), "userid": user["id"], "ts": now_ms(),
        "user": {**user, "email": old, "passhash": "", "authtokens": {"since": 0}},
    }  # fmt: skip
    assert at_store(site, lambda records: records.insert("emails", claim))
    # then nobody is known by it, and somebody else may have it
    assert login(site, old).status == 401
    assert site.ask("POST", "/auth/register", {"email": old, "password": PASSWORD}).status == 201
    assert login(site, new).json["user"]["id"] == user["id"] != login(site, old).json["user"]["id"]


def test_it_does_without_javascript(site: Website, mail: MailServer) -> None:
    browser, old, new = Browser(site), confirmed(site, mail), new_email()
    browser.send("/login", email=old, password=PASSWORD)
    browser.get("/account")
    assert "is not the password" in browser.send("/account/address", email=new, password="not it")
    assert "on its way to that address" in browser.send("/account/address", email=new, password=PASSWORD)
    token = token_in(mails_to(mail, new)[0])
    assert "Log in to the account" in Browser(site).get(f"/address?token={token}&email={new}")
    assert new in browser.get(f"/address?token={token}&email={new}")
    assert "The account has that address." in browser.send("/address", token=token, email=new)
    assert f"{new} (confirmed)" in browser.page
