"""When sessions end: whatever the clocks of the hosts say that began them, and in the browser that logs in again."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher

from gorgond.auth.records import Document
from gorgond.auth.tokens import FRESH
from gorgond.auth.users import Users
from gorgond.http.forms import FORM
from gorgond.redpill import CallFailed, now_ms
from gorgond.roles.auth import ARGUMENTS
from tests.conftest import RedisServer
from tests.integration.authbench import PASSWORD, Bench, by, new_digest, running
from tests.integration.website import Answer, Website
from tests.waiting import eventually_async

AHEAD = 3000  # ms
NEW = "another violin, upstairs"
SITE = "[web]\nurl = https://notes.example\n[oauth2.house]\nissuer = http://127.0.0.1:1\nclient_id = x\n"


async def age(bench: Bench, token: str, ms: int) -> None:
    """Make a session one that a host began whose clock is ahead, or that is so old."""
    session = await bench.records.get("sessions", token)
    assert session is not None
    await bench.records.patch("sessions", session, {"created": now_ms() + ms})


async def is_held(bench: Bench, token: str) -> bool:
    """Whether a server takes a session that has it in no cache."""
    bench.auth.tokens.forget_all()
    try:
        await bench.auth.tokens.user_of(token)
    except Exception as error:  # noqa: BLE001 - it has the status
        assert getattr(error, "code", 0) == 401  # noqa: PT017
        return False
    return True


async def test_all_sessions_end_also_those_of_hosts_that_are_ahead(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        ahead, mine = await bench.session(), await bench.session()
        await age(bench, ahead, AHEAD)
        # when one logs out everywhere
        await bench.ask("auth.revoke", user={"token": mine})
        # then all have ended
        assert not await is_held(bench, ahead)
        assert not await is_held(bench, mine)
        # and who logs in now is in
        assert await is_held(bench, await bench.session())


async def test_a_new_password_ends_all_others_also_those_of_hosts_that_are_ahead(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        user = await bench.user()
        ahead, mine, fresh = await bench.session(), await bench.session(), new_digest()
        await age(bench, ahead, AHEAD)
        await bench.ask("auth.password", {"old": PASSWORD, "new": NEW, "token": fresh}, user={"token": mine})
        assert not await is_held(bench, ahead)
        assert not await is_held(bench, mine)
        assert await is_held(bench, fresh)
        # and nothing of them is left
        kept = await bench.records.find("sessions", {"userid": user["id"]})
        assert [session["id"] for session in kept] == [fresh]


async def test_who_ends_all_at_the_same_time_as_another_ends_what_that_one_let_in(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        one, two = await bench.session(), await bench.session()
        for token in (one, two):
            await bench.auth.tokens.user_of(token)
        # given two who have both read the account as it was
        tokens = [new_digest(), new_digest()]
        done = await asyncio.gather(
            bench.ask("auth.password", {"old": PASSWORD, "new": NEW, "token": tokens[0]}, user={"token": one}),
            bench.ask("auth.password", {"old": PASSWORD, "new": NEW + "!", "token": tokens[1]}, user={"token": two}),
            return_exceptions=True,
        )
        # then one session at most is left, of the one whose password it is now
        alive = [token for token in tokens if await is_held(bench, token)]
        assert len(alive) == 1, done
        assert not await is_held(bench, one)
        assert not await is_held(bench, two)


async def test_of_two_who_change_the_password_at_the_same_time_one_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        sessions, change = [await bench.session() for _ in range(4)], {"old": PASSWORD}
        # when several change it, all with the password of before
        done = await asyncio.gather(
            *(
                bench.ask(
                    "auth.password", {**change, "new": f"{NEW} {n}", "token": new_digest()}, user={"token": token}
                )
                for n, token in enumerate(sessions)
            ),
            return_exceptions=True,
        )
        # then one has changed it, the others are told why they have not, and the password is that one's
        won = [n for n, each in enumerate(done) if not isinstance(each, Exception)]
        lost = [each.code for each in done if isinstance(each, CallFailed)]
        assert (len(won), set(lost) <= {401, 403, 409}, len(lost)) == (1, True, 3), done
        [user] = await bench.records.find("users", {})
        assert PasswordHasher().verify(user["passhash"], f"{NEW} {won[0]}")


async def test_a_password_that_was_proved_before_it_was_changed_is_not_written_over(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        [before] = await bench.records.find("users", {})
        mine = await bench.session()
        await bench.ask("auth.password", {"old": PASSWORD, "new": NEW, "token": new_digest()}, user={"token": mine})
        # when somebody writes a new one who has proved the one of before
        with pytest.raises(CallFailed) as refused:
            await Users(bench.records).change_unchanged(before, {"passhash": "theirs"})
        # then it is refused, and the first one stands
        assert refused.value.code == 409
        [user] = await bench.records.find("users", {})
        assert PasswordHasher().verify(user["passhash"], NEW)


async def test_a_login_that_was_under_way_ends_no_session_of_the_era_after_it(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        mine, fresh, late = await bench.session(), new_digest(), new_digest()
        before = await bench.records.find("users", {})
        await bench.ask("auth.password", {"old": PASSWORD, "new": NEW, "token": fresh}, user={"token": mine})
        # when one who knew the old password begins a session with what was read before
        await bench.auth.tokens.begin(before[0], late, {"agent": "", "address": ""})
        # then it is void, and the other holds
        assert not await is_held(bench, late)
        assert await is_held(bench, fresh)


async def test_a_login_that_was_under_way_brings_no_old_password_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "schlu\u0308ssel am haken"
    async with running(tmp_path) as bench:
        # given a password that was hashed as it was typed, whose hash is being made anew at a login
        user = await bench.user()
        await bench.records.patch("users", user, {"passhash": PasswordHasher(1, 8, 1).hash(old)})
        passwords, begun, changed = bench.auth._passwords, asyncio.Event(), asyncio.Event()
        hash = passwords.hash

        async def slow(password: str) -> str:
            begun.set()
            await changed.wait()
            return await hash(password)

        monkeypatch.setattr(passwords, "hash", slow)
        asked = {"email": user["email"], "password": old, "token": new_digest()}
        login = asyncio.ensure_future(bench.ask("auth.login", asked))
        await begun.wait()
        # when there is a new one before that is done
        await bench.records.patch("users", user, {"passhash": await hash(NEW)})
        changed.set()
        await login
        # then it is the new one that counts
        assert await bench.refused("auth.login", asked) == 401
        await bench.ask("auth.login", {**asked, "password": NEW})


async def test_who_asks_after_a_logout_does_not_get_the_answer_to_who_asked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        token, tokens = await bench.session(), bench.auth.tokens
        get, read, told = tokens._records.get, asyncio.Event(), asyncio.Event()

        async def late(collection: str, id: str) -> Document | None:
            found = await get(collection, id)
            if collection == "users":
                read.set()
                await told.wait()
            return found

        # given somebody who asks, and whose answer is under way
        monkeypatch.setattr(tokens._records, "get", late)
        before = asyncio.ensure_future(tokens.user_of(token))
        await read.wait()
        session = await get("sessions", token)
        assert session is not None
        # when the session has ended
        news = tokens._news
        await tokens.end([session])
        await eventually_async(lambda: tokens._news > news)
        # then who asks now is refused, whatever the other is told
        after = asyncio.ensure_future(tokens.user_of(token))
        asyncio.get_running_loop().call_soon(told.set)  # after that one has begun
        with pytest.raises(CallFailed):
            await after
        await before


async def test_sessions_of_before_there_were_eras_hold_until_they_are_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        # given a user and two sessions as the version before made them
        user = await bench.user(authtokens={"since": 5})
        old, older, fresh = new_digest(), new_digest(), new_digest()
        session: Document = {
            "userid": user["id"],
            "used": now_ms(),
            "expires": now_ms() + 10**6,
            "agent": "",
            "address": "",
        }
        await bench.records.insert("sessions", {**session, "id": old, "created": now_ms() + AHEAD})
        await bench.records.insert("sessions", {**session, "id": older, "created": 4})
        assert await is_held(bench, old)
        assert not await is_held(bench, older)
        assert await is_held(bench, await bench.session())
        # when all are ended, then it is among them
        await bench.ask("auth.password", {"old": PASSWORD, "new": NEW, "token": fresh}, user={"token": old})
        assert not await is_held(bench, old)
        assert await is_held(bench, fresh)


# ---- a session alone is not enough


@pytest.mark.parametrize("op", ["auth.password", "auth.oauth2.link", "auth.oauth2.unlink"])
async def test_by_which_ways_one_logs_in_is_changed_after_a_login_only(tmp_path: Path, op: str) -> None:
    async with running(tmp_path, conf=SITE) as bench:
        # given an account without a password, and a session that was left open
        await bench.user(passhash="")
        token = new_digest()
        [account] = await bench.records.find("users", {})
        await bench.auth.tokens.begin(account, token, {"agent": "", "address": ""})
        args = {"new": NEW, "old": "", "site": "house", "code": "c", "nonce": "n", "verifier": "v", "issuer": "",
                "token": new_digest()}  # fmt: skip
        args = {name: text for name, text in args.items() if name in ARGUMENTS[op]}
        await age(bench, token, -int(FRESH * 1000) - 1)
        assert await bench.refused(op, args, user={"token": token}) == 403
        # when it has just begun, then it is not that which stands in the way
        await age(bench, token, -int(FRESH * 1000) + 60_000)
        assert await outcome(bench, op, args, token) == {"auth.password": 200, "auth.oauth2.link": 502}.get(op, 404)


async def outcome(bench: Bench, op: str, args: dict[str, Any], token: str) -> int:
    """The status with which it is answered."""
    try:
        return (await bench.ask(op, args, user={"token": token})).status
    except Exception as error:  # noqa: BLE001 - it has the status
        return int(getattr(error, "code", 0))


async def test_who_has_a_password_changes_it_with_that_one(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        token = await bench.session()
        await age(bench, token, -int(FRESH * 1000) * 10)
        args = {"old": "not this one", "new": NEW, "token": new_digest()}
        assert await bench.refused("auth.password", args, user={"token": token}) == 403
        assert (await bench.ask("auth.password", {**args, "old": PASSWORD}, user={"token": token})).status == 200
        assert (await bench.ask("notes.find", **by(args["token"]))).body


# ---- browsers


def cookie(answer: Answer) -> str:
    found = re.search(r"__Host-session=([^;]+)", answer.headers["set-cookie"])
    assert found is not None
    return found[0]


def test_logging_in_again_ends_the_session_that_the_browser_had(redis_factory: Any, tmp_path: Path) -> None:
    server: RedisServer = redis_factory(appendonly="yes")
    account = {"email": "ada@notes.example", "password": PASSWORD}
    with Website(server.url, tmp_path) as site:
        assert site.ask("POST", "/auth/register", account).status == 201

        def status(cookie: str) -> int:
            return site.ask("GET", "/auth/me", Cookie=cookie).status

        first = cookie(site.ask("POST", "/auth/login", {**account, "cookie": True}))
        elsewhere = cookie(site.ask("POST", "/auth/login", {**account, "cookie": True}))
        # when that browser logs in again over the API
        second = cookie(site.ask("POST", "/auth/login", {**account, "cookie": True}, Cookie=first))
        assert (status(first), status(second)) == (401, 200)
        # or by the form
        with site.connection() as connection:
            typed = urlencode(account).encode()
            head = f"POST /login HTTP/1.1\r\nHost: test\r\nCookie: {second}\r\nContent-Length: {len(typed)}\r\n"
            connection.send(f"{head}Content-Type: {FORM}\r\n\r\n".encode() + typed)
            third = cookie(connection.read())
        assert (status(second), status(third)) == (401, 200)
        # then others, and what is not in the cookie's place, go on
        assert site.ask("POST", "/auth/login", account, Cookie=third).status == 200
        assert (status(third), status(elsewhere)) == (200, 200)
        # and a wrong password ends nothing
        assert site.ask("POST", "/auth/login", {**account, "password": "x", "cookie": True}, Cookie=third).status == 401
        assert status(third) == 200
