"""One account for one address and one password, however they are typed; and those of before there was one form."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gorgond.auth.passwords import Passwords
from gorgond.auth.records import Document
from gorgond.redpill import CallFailed
from gorgond.redpill.codec import loads
from tests.integration.authbench import Bench, new_digest, running

COMPOSED, DECOMPOSED = "der schl\u00fcssel liegt dort", "der schlu\u0308ssel liegt dort"
UNICODE, PUNYCODE = "u@b\u00fccher.example", "u@xn--bcher-kva.example"


async def register(bench: Bench, email: str, password: str = COMPOSED, name: str = "") -> str:
    """The id of the account that is made."""
    reply = await bench.ask("auth.register", {"email": email, "password": password, "name": name})
    return str(loads(reply.body)["id"])


async def login(bench: Bench, email: str, password: str = COMPOSED) -> str:
    """The id of who logs in."""
    reply = await bench.ask("auth.login", {"email": email, "password": password, "token": new_digest()})
    return str(loads(reply.body)["user"]["id"])


async def make_as_before(bench: Bench, id: str, email: str, password: str) -> None:
    """An account as the version before made it: its texts as they were typed."""
    passwords = Passwords()
    try:
        passhash = passwords._hasher.hash(password)
    finally:
        passwords.close()
    user: Document = {
        "id": id,
        "name": "",
        "email": email,
        "passhash": passhash,
        "authtokens": {"since": 0},
        "roles": [],
    }
    await bench.records.insert("users", user)
    key = hashlib.sha256(email.encode()).hexdigest()
    await bench.records.insert("emails", {"id": key, "userid": id, "user": None})


async def test_a_password_is_the_same_composed_and_decomposed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        first = await register(bench, "a@notes.example", COMPOSED)
        second = await register(bench, "b@notes.example", DECOMPOSED)
        for password in (COMPOSED, DECOMPOSED):
            assert await login(bench, "a@notes.example", password) == first
            assert await login(bench, "b@notes.example", password) == second
        assert (
            await bench.refused("auth.login", {"email": "a@notes.example", "password": "x", "token": "a" * 64}) == 401
        )


@pytest.mark.parametrize("typed", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("hashed", [COMPOSED, DECOMPOSED])
async def test_a_hash_of_before_lets_in_and_is_made_anew(tmp_path: Path, hashed: str, typed: str) -> None:
    async with running(tmp_path) as bench:
        await make_as_before(bench, "5000000000", "a@notes.example", hashed)
        before = await bench.records.get("users", "5000000000")
        assert await login(bench, "a@notes.example", typed) == "5000000000"
        after = await bench.records.get("users", "5000000000")
        assert before is not None
        assert after is not None
        assert (before["passhash"] != after["passhash"]) == (hashed == DECOMPOSED)
        # and then it is that of the one form
        assert await login(bench, "a@notes.example", typed) == "5000000000"
        assert await bench.records.get("users", "5000000000") == after


@pytest.mark.parametrize(
    ("one", "other"), [(UNICODE, PUNYCODE), (PUNYCODE, UNICODE), ("\uff41@b.example", "a@b.example")]
)
async def test_an_address_is_one_account_in_whatever_spelling(tmp_path: Path, one: str, other: str) -> None:
    async with running(tmp_path) as bench:
        id = await register(bench, one)
        assert await bench.refused("auth.register", {"email": other, "password": COMPOSED, "name": ""}) == 409
        assert await login(bench, one) == await login(bench, other) == id


@pytest.mark.parametrize("email", [UNICODE, PUNYCODE, "\uff41@b.example", "a\u200b@b.example", "u@☃-.example"])
async def test_an_account_of_before_stays_in_reach_and_alone(tmp_path: Path, email: str) -> None:
    async with running(tmp_path) as bench:
        await make_as_before(bench, "5000000000", email, COMPOSED)
        assert await login(bench, email) == "5000000000"
        if email in (UNICODE, PUNYCODE):
            for other in (UNICODE, PUNYCODE):
                assert await login(bench, other) == "5000000000"
                assert await bench.refused("auth.register", {"email": other, "password": COMPOSED, "name": ""}) == 409


async def test_two_accounts_that_were_made_of_one_address_stay_in_reach(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await make_as_before(bench, "5000000000", UNICODE, COMPOSED)
        await make_as_before(bench, "6000000000", PUNYCODE, COMPOSED)
        assert await login(bench, UNICODE) == "5000000000"
        assert await login(bench, PUNYCODE) == "6000000000"


async def test_attempts_count_for_the_account_whatever_is_typed(tmp_path: Path) -> None:
    async with running(tmp_path, auth__attempts="2") as bench:
        await register(bench, UNICODE)
        tried = {"password": "not this one", "token": "a" * 64, "client": {"address": "10.0.0.1", "agent": ""}}
        codes = [await bench.refused("auth.login", {"email": email, **tried}) for email in (UNICODE, PUNYCODE, UNICODE)]
        assert codes == [401, 401, 429]


@pytest.mark.parametrize(
    ("email", "name", "field"),
    [
        ("a\u200b@b.example", "", "email"), ("a\u202e@b.example", "", "email"), ("u@xn--a.example", "", "email"),
        ("a@b.example", "A\u200bda", "name"), ("a@b.example", "\u202eadA", "name"),
        ("a@b.example", "A\x1b[2Jda", "name"),
    ],
)  # fmt: skip
async def test_what_is_not_seen_is_refused_with_the_fields_name(
    tmp_path: Path, email: str, name: str, field: str
) -> None:
    async with running(tmp_path) as bench:
        with pytest.raises(CallFailed) as caught:
            await register(bench, email, name=name)
        assert (caught.value.code, caught.value.field) == (400, field)
        assert await register(bench, "a@b.example", name="\uff21da") is not None
        [user] = await bench.records.find("users", {})
        assert (user["email"], user["name"]) == ("a@b.example", "Ada")
