"""Passwords on their way through a real broker: what it writes down, and whom it tells what."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gorgond.auth.sealing import new_key
from gorgond.http.credentials import COOKIE, proof
from tests.conftest import RedisServer
from tests.integration.website import KEY, Answer, Website
from tests.waiting import eventually

OTHER = new_key()
REGISTERED, CHANGED, TYPED, RETYPED = "violin-in-the-attic", "cello-in-the-cellar", "harp-in-the-hall", "lute-on-a-loft"
CLEAR = r"\[auth\] key is empty"


def use(site: Website) -> None:
    """Register, log in and change the password, as a program and as a browser; each password is given."""
    account = {"email": "ada@notes.example", "password": REGISTERED}
    assert site.ask("POST", "/auth/register", account).status == 201
    token = site.ask("POST", "/auth/login", account).json["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert site.ask("POST", "/auth/password", {"old": REGISTERED, "new": CHANGED}, **bearer).status == 200

    def send(target: str, **fields: str) -> Answer:
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        answer = site.ask("POST", target, urlencode(fields | {"_xsrf": proof(session)}).encode(), **form, **cookie)
        assert answer.status == 303, answer
        return answer

    session, cookie = "", dict[str, str]()
    answer = send("/register", name="Eve", email="eve@notes.example", password=TYPED)
    session = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    cookie["Cookie"] = f"{COOKIE}={session}"
    send("/account/password", old=TYPED, new=RETYPED)
    assert site.ask("POST", "/auth/login", {"email": "eve@notes.example", "password": RETYPED}).status == 200


@pytest.mark.parametrize("key", [KEY, ""], ids=["sealed", "clear"])
def test_the_broker_holds_no_password(
    redis_factory: Callable[..., RedisServer], tmp_path: Path, key: str, expected_logs: Callable[[str], None]
) -> None:
    # given a broker that keeps all it has, and somebody who listens to every command and announcement
    redis = redis_factory(appendonly="yes", appendfsync="always")
    heard = tmp_path / "heard"
    with heard.open("wb") as file, subprocess.Popen(["redis-cli", "-s", redis.socket, "MONITOR"], stdout=file) as ear:
        try:
            eventually(lambda: heard.read_bytes().startswith(b"OK"))
            # when passwords travel in every way there is
            if not key:
                expected_logs(CLEAR)
            with Website(redis.url, tmp_path, auth__key=key) as site:
                use(site)
            redis.cli("ECHO", "that is all")
            eventually(lambda: b"that is all" in heard.read_bytes())
        finally:
            ear.kill()
    written = b"".join(each.read_bytes() for each in redis.data.rglob("*") if each.is_file())
    # then what was sent and what was written is there, and the passwords are in neither; without a key they are in both
    for found in (heard.read_bytes(), written):
        assert b"auth.register" in found
        assert b"store_notify" in found
        for password in (REGISTERED, CHANGED, TYPED, RETYPED):
            assert (password.encode() in found) == (not key)


@pytest.mark.parametrize(
    ("web", "auth", "status", "said"),
    [
        pytest.param(OTHER, KEY, 503, r"auth\.login cannot be opened: .*\[auth\] key", id="different"),
        pytest.param(KEY, "", 503, r"auth\.login cannot be opened: .*\[auth\] key", id="auth-has-none"),
        pytest.param("", KEY, 200, CLEAR, id="web-is-of-before"),
        pytest.param(OTHER, f"{KEY} {OTHER}", 200, "", id="being-changed"),
    ],
)
def test_a_web_server_and_an_auth_server_with_different_keys(
    redis_factory: Callable[..., RedisServer], tmp_path: Path, expected_logs: Callable[[str], None],
    web: str, auth: str, status: int, said: str,
) -> None:  # fmt: skip
    if said:
        expected_logs(said)
    if not auth:
        expected_logs(CLEAR)
    account = {"email": "ada@notes.example", "password": REGISTERED}
    broker = redis_factory(appendonly="yes").url
    # given an account
    with Website(broker, tmp_path, auth__key=auth) as site:
        assert site.ask("POST", "/auth/register", account).status == 201
        # when another web server asks the auth server that is here
        with Website(broker, tmp_path, store=False, instance="2", auth__key=web) as other:
            answer = other.ask("POST", "/auth/login", account)
            # then it understands, or says that it cannot: that is no wrong password, and nobody is locked out
            assert answer.status == status, answer
            if status == 503:
                assert b"another key" in answer.body
                for _ in range(10):
                    assert other.ask("POST", "/auth/login", account).status == 503
        assert site.ask("POST", "/auth/login", account).status == 200
