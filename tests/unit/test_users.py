"""Passwords, rights, and what other sites say of a user."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.auth.passwords import rule_broken
from gorgond.auth.rights import check_need
from gorgond.auth.sites import Identity, endpoints_of, issuer_of, openid_identity
from gorgond.errors import ConfigError
from gorgond.redpill import CallFailed
from gorgond.settings import OAuth2

ADA = {"id": "1", "roles": ["editor"]}


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("x" * 7, "must have 8 to 256"), ("ab" * 129, "must have 8 to 256"), ("aaaaaaaaaaaa", "commonest"),
        ("password1", "commonest"), ("Password1", "commonest"), ("12345678", "commonest"), ("# The commonest", ""),
        ("ab" * 128, ""), ("a violin in the attic", ""), ("🔑" * 7 + "x", ""),
    ],
)  # fmt: skip
def test_rules_of_passwords(password: str, broken: str) -> None:
    why = rule_broken(password)
    assert broken in why
    assert bool(why) is bool(broken)


@pytest.mark.parametrize(
    ("user", "need", "rights", "code"),
    [
        (ADA, "required", "", 0), (ADA, "optional", "editor", 0), (None, "optional", "", 0),
        (ADA, "required", "admin", 403), (ADA, "optional", "admin", 403), (None, "required", "", 401),
        (None, "required", "admin", 401), (None, "optional", "admin", 401), (None, "nonsense", "", 401),
    ],
)  # fmt: skip
def test_401_is_who_is_not_known_and_403_who_may_not(user: Any, need: str, rights: str, code: int) -> None:
    if not code:
        check_need(user, need, rights)
        return
    with pytest.raises(CallFailed) as caught:
        check_need(user, need, rights)
    assert caught.value.code == code
    assert ("WWW-Authenticate" in caught.value.headers) is (code == 401)


# ---- what other sites say, as their documentation shows it


async def identity(kind: str, answers: dict[str, Any]) -> Identity:
    async def ask(url: str) -> Any:
        return answers[url]

    endpoints = endpoints_of(OAuth2(kind))
    assert endpoints is not None
    return await endpoints.identity(ask)


async def test_github_tells_the_proved_address_apart() -> None:
    user = {"id": 583231, "login": "octocat", "name": None, "email": "public@claimed.example"}
    emails = [
        {"email": "other@notes.example", "primary": False, "verified": True},
        {"email": "ada@notes.example", "primary": True, "verified": True},
    ]
    answers = {"https://api.github.com/user": user, "https://api.github.com/user/emails": emails}
    assert await identity("github", answers) == Identity("583231", "ada@notes.example", "octocat")
    emails[1]["verified"] = False
    assert (await identity("github", answers)).email == ""


async def test_facebook_does_not_say_what_is_proved() -> None:
    answers = {"https://graph.facebook.com/me?fields=id,name": {"id": "10", "name": "Ada"}}
    assert await identity("facebook", answers) == Identity("10", "", "Ada")


def test_an_openid_address_counts_when_it_is_proved() -> None:
    claims: dict[str, Any] = {"sub": "x", "email": "ada@notes.example", "name": "Ada"}
    assert openid_identity({**claims, "email_verified": True}) == Identity("x", "ada@notes.example", "Ada")
    for verified in (False, "true", 1, None):
        assert openid_identity({**claims, "email_verified": verified}) == Identity("x", "", "Ada")
    assert openid_identity(claims).email == ""


def test_an_openid_provider_is_known_by_its_issuer() -> None:
    assert issuer_of(OAuth2("google")) == "https://accounts.google.com"
    assert issuer_of(OAuth2("oidc", "https://id.example")) == "https://id.example"
    with pytest.raises(ConfigError, match="must be given for kind oidc"):
        issuer_of(OAuth2("oidc"))
