"""What is secret on its way to the auth server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from gorgond.auth.sealing import Sealing, new_key
from gorgond.redpill import CallFailed, Message
from gorgond.redpill.message import decode

KEY, OTHER = new_key(), new_key()
LOGIN = Message("auth.login", {"email": "ada@notes.example", "password": "ein Käfig", "token": "abc"}, trace="t")


@pytest.mark.parametrize(
    ("op", "args", "secrets"),
    [
        ("auth.register", {"email": "a@b", "name": "Ada", "password": "hush"}, {"password"}),
        ("auth.login", {"email": "a@b", "password": "hush"}, {"password"}),
        ("auth.password", {"old": "hush", "new": "hush too", "token": "abc"}, {"old", "new"}),
        ("auth.password", {"new": "hush"}, {"new"}),
        ("auth.oauth2.login", {"site": "x", "code": "hush", "verifier": "hush", "nonce": "n"}, {"code", "verifier"}),
        ("auth.oauth2.link", {"site": "x", "code": "hush", "verifier": "hush", "nonce": "n"}, {"code", "verifier"}),
    ],
)
def test_secret_arguments_travel_sealed_and_the_others_as_they_are(
    op: str, args: dict[str, str], secrets: set[str]
) -> None:
    # when a message is sealed, and travels
    wire = Sealing(KEY).sealed(Message(op, args)).encode()
    # then nothing of its secrets can be read, and all else can
    assert b"hush" not in wire
    arrived = decode(wire)
    assert set(arrived.args) == set(args) - secrets | {"sealed"}
    # and who has the key has all
    opened = Sealing(KEY).opened(arrived)
    assert {name: opened.args[name] for name in args} == args


def test_only_the_arguments_are_another_message() -> None:
    sealed = Sealing(KEY).sealed(LOGIN)
    assert replace(sealed, args=LOGIN.args) == LOGIN
    opened = Sealing(KEY).opened(sealed)
    assert replace(opened, args={name: opened.args[name] for name in LOGIN.args}) == LOGIN
    assert "sealed" not in LOGIN.args


def test_the_format_is_a_fernet_token_of_json() -> None:
    """As docs/protocol.md has it, for roles that are not ours."""
    sealed = Sealing(KEY).sealed(LOGIN).args["sealed"]
    assert json.loads(Fernet(KEY).decrypt(sealed)) == {"password": "ein Käfig"}
    theirs = Message("auth.login", {"sealed": Fernet(KEY).encrypt(b'{ "password": "x" }').decode()})
    assert Sealing(KEY).opened(theirs).args["password"] == "x"


@pytest.mark.parametrize(
    "message",
    [
        Message("auth.me"),
        Message("auth.revoke", {"id": "5"}),
        Message("items.find", {"filter": {"password": "x"}}),
        Message("auth.login", {"password": "x"}, next="web_get"),  # an application's own, called auth
    ],
)
def test_what_is_not_secret_or_not_for_the_auth_server_stays_as_it_is(message: Message) -> None:
    assert Sealing(KEY).sealed(message) is message
    assert Sealing(KEY).opened(message) is message


def test_without_a_key_all_stays_as_it_is() -> None:
    # given a web server without a key, or one of before there were keys: every auth server takes what it sends
    assert Sealing("").sealed(LOGIN) is LOGIN
    assert Sealing("").opened(LOGIN) is Sealing(KEY).opened(LOGIN) is LOGIN


def test_a_key_is_changed_with_both_for_a_while() -> None:
    before, between, after = Sealing(KEY), Sealing(f"{OTHER} {KEY}"), Sealing(OTHER)
    for one, another in ((before, between), (between, after), (between, between)):
        assert another.opened(one.sealed(LOGIN)).args["password"] == "ein Käfig"


@pytest.mark.parametrize("sealed", [Sealing(OTHER).sealed(LOGIN).args["sealed"], "", "x", 5, ["gAAAAAB"]])
@pytest.mark.parametrize("keys", [KEY, ""], ids=["with a key", "without"])
def test_what_cannot_be_opened_is_refused_and_says_what_to_do(
    keys: str, sealed: object, expected_logs: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    expected_logs("cannot be opened")
    with pytest.raises(CallFailed) as caught:
        Sealing(keys).opened(Message("auth.login", {"email": "a@b", "sealed": sealed}))
    assert caught.value.code == 503
    assert "[auth] key" in caplog.text
