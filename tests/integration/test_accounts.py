"""Accounts over HTTP, on real servers: who may get in, who may not, and when it ends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RedisServer
from tests.integration.website import Answer, Website
from tests.waiting import eventually

PASSWORD = "a violin in the attic"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def fabric(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    # so many attempts that tests which are not about them do not meet the limits
    with Website(
        module_redis.url, tmp_path_factory.mktemp("accounts"), auth__address_attempts="100000", web__deadline="60s"
    ) as site:
        yield site


@pytest.fixture
def email() -> str:
    """An address that no other test knows."""
    return f"user{next(_numbers)}@notes.example"


def register(site: Website, email: str, password: str = PASSWORD, **more: str) -> Answer:
    return site.ask("POST", "/auth/register", {"email": email, "password": password, **more})


def login(site: Website, email: str, password: str = PASSWORD, **headers: str) -> Answer:
    return site.ask("POST", "/auth/login", {"email": email, "password": password}, **headers)


def token(site: Website, email: str, password: str = PASSWORD) -> str:
    answer = login(site, email, password)
    assert answer.status == 200, answer
    found: str = answer.json["token"]
    return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def me(site: Website, token: str) -> Answer:
    return site.ask("GET", "/auth/me", **bearer(token))


# ---- registering


def test_who_registers_can_log_in_and_is_who_it_is(fabric: Website, email: str) -> None:
    # given an account
    made = register(fabric, f" {email.upper()} ", name="Ada")
    assert made.status == 201
    user = made.json
    assert {**user, "id": "?"} == {"id": "?", "name": "Ada", "email": email, "roles": []}
    assert 10**9 <= int(user["id"]) < 2**53

    # when its owner logs in
    answer = login(fabric, email)

    # then that is known by the token, which is not a cookie
    assert answer.status == 200
    assert answer.json["user"] == user
    assert "set-cookie" not in answer.headers
    assert me(fabric, answer.json["token"]).json == user
    # and a token is new at each login
    assert token(fabric, email) != answer.json["token"]


def test_an_address_is_somebodys_once_also_when_many_register_at_once(fabric: Website, email: str) -> None:
    # when twenty register at the same time
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: register(fabric, email, f"password number {number}"), range(20)))

    # then one of them is told that it has it, the others that somebody has
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    winner = next(number for number, answer in enumerate(answers) if answer.status == 201)
    # and it is that one's password that counts
    assert login(fabric, email, f"password number {winner}").status == 200
    assert login(fabric, email, f"password number {(winner + 1) % 20}").status == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": {"$ne": None}, "password": PASSWORD}, "email"),
        ({"email": {"$gt": ""}, "password": {"$gt": ""}}, "email"),
        ({"email": "a@b.example", "password": {"$ne": None}}, "password"),
        ({"email": ["a@b.example"], "password": PASSWORD}, "email"),
        ({"email": None, "password": PASSWORD}, "email"),
        ({"email": 5, "password": PASSWORD}, "email"),
        ({"email": "a@b.example"}, "password"),
        ({"password": PASSWORD}, "email"),
        ({"email": "a" * 255 + "@b.example", "password": PASSWORD}, "email"),
        ({"email": "nobody", "password": PASSWORD}, "email"),
        ({"email": "a@b\0.example", "password": PASSWORD}, "email"),
        ({"email": "a@b.example", "password": "x" * 257}, "password"),
        ({"email": "a@b.example", "password": PASSWORD, "roles": ["admin"]}, "roles"),
        ({"email": "a@b.example", "password": PASSWORD, "$where": "1"}, "$where"),
        ([], "body"), ("text", "body"), (None, "body"),
        (b'{"email": "a@b.example", "email": "c@d.example", "password": "long enough for it"}', "body"),
        (b'{"email": "a@b.example", "password": ' + b"[" * 5000 + b"]" * 5000 + b"}", "body"),
        (b'{"email": "\\ud800@b.example", "password": "long enough for it"}', "body"),
        (b"\xff\xfe", "body"), (b"", "body"), (b"{", "body"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
def test_what_is_no_question_is_refused_with_the_fields_name(fabric: Website, path: str, body: Any, field: str) -> None:
    if body is None:
        body = b"null"
    answer = fabric.ask("POST", path, body)
    assert (answer.status, answer.error["field"]) == (400, field)


@pytest.mark.parametrize("password", ["short", "password1", "PASSWORD1", "12345678", "aaaaaaaaaaaa", "ü" * 7])
def test_passwords_that_anybody_would_guess_are_refused(fabric: Website, email: str, password: str) -> None:
    answer = register(fabric, email, password)
    assert (answer.status, answer.error["field"]) == (400, "password")
    # and the address is still free
    assert register(fabric, email).status == 201


@pytest.mark.parametrize(
    "password", ["ß" * 7 + "x", "x" * 255 + "y", "correct horse battery staple", "\U0001f511 under the mat"]
)
def test_any_other_password_is_taken_as_it_is(fabric: Website, email: str, password: str) -> None:
    assert register(fabric, email, password).status == 201
    assert login(fabric, email, password).status == 200
    assert login(fabric, email, password[:-1]).status == 401


# ---- getting in


def test_a_wrong_password_and_an_unknown_user_are_told_the_same(fabric: Website, email: str) -> None:
    register(fabric, email)
    answers = [login(fabric, email, "not the password"), login(fabric, f"no-{email}", "not the password")]
    for answer in answers:
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.error["message"] == "wrong e-mail address or password"


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer " + "A" * 43, "Basic YTpi", "Bearer", "Bearer {}"])
def test_a_token_that_is_none_is_401(fabric: Website, header: str) -> None:
    answer = fabric.ask("GET", "/auth/me", Authorization=header)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_a_token_it_is_401(fabric: Website) -> None:
    for method, path in (
        ("GET", "/auth/me"), ("GET", "/auth/sessions"), ("POST", "/auth/logout"), ("DELETE", "/auth/sessions"),
        ("DELETE", "/auth/sessions/x"),
    ):  # fmt: skip
        assert fabric.ask(method, path).status == 401, path


# ---- sessions


def test_sessions_are_listed_and_ended_singly_or_all(fabric: Website, email: str) -> None:
    # given three sessions
    register(fabric, email)
    first, second, third = (token(fabric, email) for _ in range(3))
    login(fabric, email, User_Agent="a browser")
    listed = fabric.ask("GET", "/auth/sessions", **bearer(second)).json["sessions"]
    assert len(listed) == 4
    assert [each["current"] for each in listed].count(True) == 1
    assert {each["address"] for each in listed} == {"127.0.0.1"}
    assert "a browser" in {each["agent"] for each in listed}
    assert all(each["created"] <= each["used"] < each["expires"] for each in listed)
    # and no list has a token in it
    assert second not in json.dumps(listed)

    # when one of them is ended from another one
    mine = next(
        each["id"] for each in fabric.ask("GET", "/auth/sessions", **bearer(first)).json["sessions"] if each["current"]
    )
    assert fabric.ask("DELETE", f"/auth/sessions/{mine}", **bearer(second)).status == 204

    # then it has ended, and no other
    assert me(fabric, first).status == 401
    assert me(fabric, second).status == me(fabric, third).status == 200
    assert fabric.ask("DELETE", f"/auth/sessions/{mine}", **bearer(second)).status == 404

    # and when all are, all have
    assert fabric.ask("DELETE", "/auth/sessions", **bearer(third)).status == 204
    assert me(fabric, second).status == me(fabric, third).status == 401
    assert login(fabric, email).status == 200


def test_nobody_ends_the_session_of_another(fabric: Website, email: str) -> None:
    # given a session of one user
    register(fabric, email)
    hers = token(fabric, email)
    id = fabric.ask("GET", "/auth/sessions", **bearer(hers)).json["sessions"][0]["id"]
    # when another one ends it
    register(fabric, f"other-{email}")
    answer = fabric.ask("DELETE", f"/auth/sessions/{id}", **bearer(token(fabric, f"other-{email}")))
    # then there is no such session
    assert answer.status == 404
    assert me(fabric, hers).status == 200


def test_a_logout_ends_this_session_alone(fabric: Website, email: str) -> None:
    register(fabric, email)
    first, second = token(fabric, email), token(fabric, email)
    assert me(fabric, first).status == 200  # and is in the cache by now
    assert fabric.ask("POST", "/auth/logout", **bearer(first)).status == 204
    assert me(fabric, first).status == 401
    assert me(fabric, second).status == 200


def test_a_new_password_ends_all_sessions_but_the_one_it_begins(fabric: Website, email: str) -> None:
    # given two sessions
    register(fabric, email)
    old, other = token(fabric, email), token(fabric, email)
    assert me(fabric, other).status == 200

    def change(**body: str) -> Answer:
        return fabric.ask("POST", "/auth/password", body, **bearer(old))

    # when the password is changed by who does not know it, or to one that is none, then nothing happens
    assert change(old="not the password", new="a cello in the cellar").status == 403
    assert change(new="a cello in the cellar").status == 403
    assert change(old=PASSWORD, new="password1").error["field"] == "new"
    assert me(fabric, old).status == 200

    # when its owner does, then the old sessions end and a new one begins
    answer = change(old=PASSWORD, new="a cello in the cellar")
    assert answer.status == 200
    assert me(fabric, answer.json["token"]).status == 200
    assert me(fabric, old).status == me(fabric, other).status == 401
    # and the new password counts
    assert login(fabric, email).status == 401
    assert login(fabric, email, "a cello in the cellar").status == 200


# ---- browsers


def test_a_browser_has_its_session_in_a_cookie_and_proves_what_it_asks(fabric: Website, email: str) -> None:
    # given a session of a browser
    register(fabric, email)
    answer = fabric.ask("POST", "/auth/login", {"email": email, "password": PASSWORD, "cookie": True})
    cookie, _, flags = answer.headers["set-cookie"].partition("; ")
    assert cookie.startswith("__Host-session=")
    assert set(flags.split("; ")) > {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}
    assert "token" not in answer.json

    # then it may read, and is told what to prove its requests with
    asked = fabric.ask("GET", "/auth/me", Cookie=cookie)
    assert asked.json["email"] == email
    assert asked.json["xsrf"] == answer.json["xsrf"]

    # and when it changes something it must
    for headers in ({}, {"X_XSRF_Token": "guess"}, {"Sec_Fetch_Site": "same-origin"}):
        assert fabric.ask("POST", "/auth/logout", Cookie=cookie, **headers).status == 403
    assert fabric.ask("GET", "/auth/me", Cookie=cookie).status == 200
    ended = fabric.ask("POST", "/auth/logout", Cookie=cookie, X_XSRF_Token=answer.json["xsrf"])
    assert ended.status == 204
    assert ended.headers["set-cookie"].startswith("__Host-session=; Max-Age=0; ")
    assert fabric.ask("GET", "/auth/me", Cookie=cookie).status == 401


def test_no_other_site_logs_somebody_in(fabric: Website, email: str) -> None:
    register(fabric, email)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert login(fabric, email, **headers).status == 403
    assert login(fabric, email, Sec_Fetch_Site="same-origin").status == 200
    assert login(fabric, email, Origin="http://test").status == 200


# ---- how often


@pytest.fixture
def broker(redis_factory: Callable[..., RedisServer]) -> str:
    return redis_factory(appendonly="yes").url


@pytest.fixture
def strict(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Website]:
    """Servers behind a proxy on this host, so that a test can have many addresses; with limits that a slow machine
    meets too."""
    monkeypatch.setattr("gorgond.auth.limits.STRAIN", 8)
    monkeypatch.setattr("gorgond.auth.limits.ADDRESS_EACH", 600.0)
    with Website(broker, tmp_path, web__trusted_proxies="127.0.0.1", auth__address_attempts="10") as site:
        yield site


def test_who_guesses_has_to_wait_and_locks_nobody_else_out(strict: Website, email: str) -> None:
    # given an account
    register(strict, email)

    def attempt(address: str, password: str = "a guess") -> Answer:
        return login(strict, email, password, X_Forwarded_For=address)

    # when somebody guesses, then the sixth has to wait, and is told for how long
    assert [attempt("192.0.2.1").status for _ in range(5)] == [401] * 5
    refused = attempt("192.0.2.1")
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    # also with the right password: otherwise guessing could go on
    assert attempt("192.0.2.1", PASSWORD).status == 429
    # what a client claims behind the proxy is not believed
    assert attempt("198.51.100.7, 192.0.2.1").status == 429
    # nor does it help to come from another port, which some proxies tell
    assert attempt("192.0.2.1:50123, ").status == 429
    # and the owner gets in from elsewhere
    assert attempt("192.0.2.2", PASSWORD).status == 200


def test_an_attack_from_everywhere_leaves_the_owner_in(strict: Website, email: str) -> None:
    # given an owner who logged in from home, and an attack from many addresses that has used up what the account has
    register(strict, email)
    assert login(strict, email, X_Forwarded_For="203.0.113.1").status == 200
    for number in range(10):
        answer = login(strict, email, "a guess", X_Forwarded_For=f"192.0.2.{number}")
        assert answer.status == 401

    # then a stranger has one guess and then waits, long
    assert login(strict, email, "a guess", X_Forwarded_For="198.51.100.1").status == 401
    refused = login(strict, email, "a guess", X_Forwarded_For="198.51.100.1")
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 600
    # the owner gets in from a fresh address, and may mistype at home
    assert login(strict, email, X_Forwarded_For="198.51.100.2").status == 200
    for _ in range(3):
        assert login(strict, email, "mistyped", X_Forwarded_For="203.0.113.1").status == 401
    assert login(strict, email, X_Forwarded_For="203.0.113.1").status == 200


def test_one_address_may_not_try_every_account(strict: Website) -> None:
    statuses = [login(strict, f"u{number}@notes.example", X_Forwarded_For="192.0.2.9").status for number in range(11)]
    assert statuses == [401] * 10 + [429]
    # right passwords do not count
    register(strict, "owner@notes.example")
    assert [login(strict, "owner@notes.example", X_Forwarded_For="192.0.2.8").status for _ in range(12)] == [200] * 12


# ---- two servers


def test_a_logout_is_felt_in_another_auth_server(broker: str, tmp_path: Path, email: str) -> None:
    # given two fabrics' worth of servers on one broker and one database, so that each has a cache of its own
    with Website(broker, tmp_path) as one, Website(broker, tmp_path, instance="2") as two:
        register(one, email)
        held = token(one, email)
        # both answer, and have it in their caches
        for _ in range(20):
            assert me(one, held).status == me(two, held).status == 200
        assert one.ask("POST", "/auth/logout", **bearer(held)).status == 204
        # then nobody takes it any more
        eventually(lambda: me(two, held).status == 401 and me(one, held).status == 401)
        assert {me(site, held).status for site in (one, two) for _ in range(20)} == {401}
