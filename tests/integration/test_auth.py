"""The auth server on its queues, with a store: who asks, what goes on to whom, and what is refused."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from gorgond.auth.records import Records
from gorgond.auth.tokens import Tokens
from gorgond.redpill import DONE, CallFailed, Consumer, Message, Outcome, now_ms
from gorgond.redpill.codec import loads
from gorgond.roles.auth import ARGUMENTS
from tests.integration.authbench import DAY, PASSWORD, Bench, by, running
from tests.waiting import eventually_async

# ---- who asks


async def test_a_message_goes_on_with_its_user(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        # given a user with a session
        user = await bench.user()
        token = await bench.session()
        # when a web server asks something of an application for this user
        args = {"a": [1, "ü", None]}
        reply = await bench.ask("notes.find", args, trace="00-a-b-01", **by(token))
        # then the application has it as it was, with the user in place of the credentials, and answers the web server
        assert reply.body.decode() == user["id"]
        (message,) = bench.passed
        assert (message.op, message.args, message.trace, message.next) == ("notes.find", args, "00-a-b-01", "")
        assert message.user == {
            "id": user["id"], "name": "Ada", "email": "ada@notes.example", "roles": [], "session": token,
        }  # fmt: skip
        # and many at once are not mixed up
        await bench.user("berta@notes.example")
        tokens = [token, await bench.session("berta@notes.example")]
        ids = {}
        for each in tokens:
            ids[each] = (await bench.ask("x", **by(each))).body
        replies = await asyncio.gather(*(bench.ask("x", **by(tokens[n % 2])) for n in range(500)))
        assert all(reply.body == ids[tokens[n % 2]] for n, reply in enumerate(replies))
        assert len(set(ids.values())) == 2


async def test_who_is_not_known_goes_on_as_nobody_where_that_is_enough(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.ask("x", **by("", "optional"))
        assert bench.passed[-1].user is None
        # but not with a token that is none, nor where a user is needed, nor where nothing is said
        for credentials in (
            by("f" * 64, "optional"), by("nonsense", "optional"), by(""), by("f" * 64), by("", "optional", "admin"),
            {"user": {"token": {"$ne": None}, "need": "optional", "rights": ""}, "next": "web_get"},
            {"user": {"token": ["x"], "need": "optional"}, "next": "web_get"},
            {"user": {}, "next": "web_get"}, {"next": "web_get"},
        ):  # fmt: skip
            assert await bench.refused("x", **credentials) == 401
        assert len(bench.passed) == 1


async def test_rights_are_roles_of_the_user(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user(roles=["editor"])
        token = await bench.session()
        assert await bench.refused("x", **by(token, rights="admin")) == 403
        await bench.ask("x", **by(token, rights="editor"))
        assert [message.user["roles"] for message in bench.passed if message.user] == [["editor"]]


async def test_a_job_waits_for_the_store_and_a_refused_one_is_a_dead_letter(
    tmp_path: Path, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("gives up 1 message of auth_get: refused: 401: ")
    async with running(tmp_path) as bench:
        await bench.user()
        token = await bench.session()
        # given jobs, for which nobody waits
        await bench.producer.push("auth_get", Message("x", id="good", **by(token)))
        await bench.producer.push("auth_get", Message("x", id="bad", **by("f" * 64)))
        await eventually_async(lambda: [message.id for message in bench.passed] == ["good"])
        link = bench.fabric.durable.link("look")

        async def letters() -> list[str]:
            return [letter.reason for letter in await link.dead("auth_get")]

        assert "401" in (await eventually_async(letters))[0]
        await link.close()


async def test_what_is_unknown_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        assert await bench.refused("auth.nonsense") == 400
        assert await bench.refused("auth.logout") == 401
        assert await bench.refused("auth.login", {"email": {"$ne": None}, "password": "x", "token": "x"}) == 400
        assert await bench.refused("auth.oauth2.begin", {"site": "none"}) == 404


# ---- sessions


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("auth.me", {}), ("auth.sessions", {}), ("auth.logout", {}), ("auth.revoke", {"id": "x"}),
        ("auth.register", {"email": "b@c.example", "password": "a long password indeed", "name": ""}),
        ("auth.login", {"email": "ada@notes.example", "password": PASSWORD, "token": "f" * 64}),
        ("auth.password", {"old": PASSWORD, "new": "another long password", "token": "f" * 64}),
        ("auth.oauth2.sites", {}), ("auth.oauth2.linked", {}), ("auth.oauth2.unlink", {"site": "x"}),
        ("auth.oauth2.begin", {"site": "x"}), ("auth.oauth2.login", {"site": "x"}), ("auth.oauth2.link", {"site": "x"}),
    ],
)  # fmt: skip
async def test_an_argument_that_is_not_known_is_refused(tmp_path: Path, op: str, args: dict[str, Any]) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        token = await bench.session()
        # when an operation is given one more, then nothing is done, and it is named
        with pytest.raises(CallFailed) as refused:
            await bench.ask(op, {**args, "all_of_them": True}, user={"token": token})
        assert (refused.value.code, refused.value.field) == (400, "all_of_them")
        # and the session and the account are as they were
        assert (await bench.ask("auth.me", user={"token": token})).status == 200
        assert len(await bench.records.find("users", {})) == 1


async def test_each_operation_says_what_it_may_be_given(tmp_path: Path) -> None:
    server = Bench(tmp_path).auth
    assert {*server._public, *server._own} == set(ARGUMENTS)


async def test_sessions_end_when_unused_and_in_the_end(tmp_path: Path) -> None:
    async with running(tmp_path, auth__idle="14d", auth__lifetime="90d") as bench:
        user = await bench.user()
        events: list[Message] = []

        async def publish(event: Message) -> None:
            events.append(event)

        async def holds(**changes: int) -> bool:
            """Whether a session with these fields is taken, by a server that has it in no cache."""
            token = await bench.session()
            session = await bench.records.get("sessions", token)
            assert session is not None
            await bench.records.patch("sessions", session, changes)
            try:
                found = await Tokens(bench.records, 14 * 86400, 90 * 86400, publish).user_of(token)
            except CallFailed as failed:
                assert failed.code == 401  # noqa: PT017
                return False
            assert found["id"] == user["id"]
            if "used" in changes:  # that it was used is noted
                session = await bench.records.get("sessions", token)
                await eventually_async(lambda: _used(bench.records, token, changes["used"]))
            return True

        now = now_ms()
        assert await holds()
        assert await holds(used=now - 13 * DAY)
        assert not await holds(used=now - 15 * DAY)
        assert await holds(expires=now + DAY)
        assert not await holds(expires=now - 1)
        assert not await holds(created=-1)  # before all were ended


async def _used(records: Records, token: str, before: int) -> bool:
    session = await records.get("sessions", token)
    return session is not None and session["used"] > before + DAY


async def test_a_session_that_ended_while_it_was_looked_up_is_not_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        token = await bench.session()
        tokens = Tokens(bench.records, 86400, 86400, bench.auth.tokens.end)  # type: ignore[arg-type]
        # given a question to the store whose answer is under way
        asking = asyncio.ensure_future(tokens.user_of(token))
        for _ in range(3):
            await asyncio.sleep(0)
        # when the session ends meanwhile
        tokens.take_event(Message("auth.ended", {"sessions": [token]}))
        # then the answer serves those who asked before, and nobody after
        assert (await asking)["session"] == token
        assert tokens.cached_user(token) is None
        # and without such news it is kept
        await tokens.user_of(token)
        assert tokens.cached_user(token) is not None
        # until something may have been missed
        tokens.forget_all()
        assert tokens.cached_user(token) is None


async def test_a_logout_that_is_done_again_after_a_death_is_none_that_failed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        mine = {"user": {"token": await bench.session()}}
        await bench.ask("auth.logout", **mine)
        # when it is handled again, since nobody knows whether it was, then it is done
        await bench.ask("auth.logout", attempts=1, **mine)
        await bench.ask("auth.revoke", attempts=1, **mine)
        # but nobody is let in so, nor is a fresh one of no session done
        assert await bench.refused("auth.logout", **mine) == 401
        assert await bench.refused("auth.sessions", attempts=1, **mine) == 401
        assert await bench.refused("auth.password", {"old": PASSWORD, "new": "x" * 9}, attempts=1, **mine) == 401


async def test_a_user_has_so_many_sessions_at_most(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("gorgond.auth.tokens.SESSIONS_MAX", 3)
    async with running(tmp_path) as bench:
        user = await bench.user()
        tokens = [await bench.session() for _ in range(5)]
        kept = {session["id"] for session in await bench.records.find("sessions", {"userid": user["id"]})}
        assert len(kept) == 3
        assert tokens[-1] in kept


# ---- passwords


async def test_a_hash_with_other_parameters_is_made_anew_at_the_next_login(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        # given a user whose hash was made with less
        weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
        user = await bench.user(passhash=weak)
        # when it logs in
        await bench.session()
        # then the hash is as all others, and still the password's
        changed = await bench.records.get("users", user["id"])
        assert changed is not None
        assert changed["passhash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        await bench.session()
        same = await bench.records.get("users", user["id"])
        assert same is not None
        assert same["passhash"] == changed["passhash"]


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(tmp_path: Path) -> None:
    async with running(tmp_path, auth__attempts="1000", auth__address_attempts="1000") as bench:
        await bench.user()

        async def seconds(email: str) -> float:
            """Of CPU, of all threads: all servers are in this process, and what else the machine does is not in it."""
            started = time.process_time()
            assert await bench.refused("auth.login", {"email": email, "password": "a guess", "token": "x"}) == 401
            return time.process_time() - started

        # given many of both by turns
        times = [(await seconds("ada@notes.example"), await seconds("nobody@notes.example")) for _ in range(15)]
        wrong, unknown = (statistics.median(column) for column in zip(*times, strict=True))
        # then they differ by far less than hashing takes, which is nearly all of it
        assert abs(wrong - unknown) < 0.2 * min(wrong, unknown), (wrong, unknown)


async def test_nobody_else_asks_for_accounts_or_changes_them(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        user = await bench.user()
        token = await bench.session()
        # when others ask the store for what is the auth server's, over the queues that they may push to
        admin = {"id": user["id"], "changes": {"roles": ["admin"]}}
        for queue, op, args in (
            ("store_get", "users.find", {}),
            ("store_get", "users.find", {"filter": {"id": user["id"]}}),
            ("store_get", "users.find", {"filter": {"id": user["id"]}, "fields": ["name", "passhash"]}),
            ("store_get", "users.find", {"filter": {"passhash": {"$gt": "$"}}, "fields": ["name"]}),
            ("store_get", "users.find", {"filter": {"id": {"$gt": ""}}, "fields": ["name"]}),
            ("store_get", "users.find", {"filter": {"id": user["id"]}, "fields": ["name"], "sort": [["passhash", 1]]}),
            ("store_get", "users.count", {"filter": {"id": user["id"]}}),
            ("store_get", "sessions.find", {"filter": {"id": token}, "fields": ["userid"]}),
            ("store_get", "emails.find", {}),
            ("store_get", "identities.count", {}),
            ("store_put", "users.patch", admin),
            ("store_put", "users.delete", {"id": user["id"]}),
            ("store_put", "sessions.insert", {"documents": [{"id": "0" * 64, "userid": user["id"]}]}),
            ("store_put", "emails.replace", {"documents": [{"id": "x"}]}),
        ):
            reply = await bench.caller.call(queue, Message(op, args, deadline=now_ms() + 10_000))
            assert reply.error is not None, (op, args)
            assert reply.error.code == 403, (op, args)
        # then only a user's name is told
        known = {"filter": {"id": {"$in": [user["id"]]}}, "fields": ["name"]}
        reply = await bench.caller.call("store_get", Message("users.find", known, deadline=now_ms() + 10_000))
        assert loads(reply.body) == [{"id": user["id"], "name": "Ada"}]
        # and the auth server does not do it for them
        for queue in ("auth_store_put", "auth_put", "auth_get"):
            asked = {**by(token), "next": queue}
            assert await bench.refused("users.patch", admin, **asked) == 403
        assert loads((await bench.ask("auth.me", user={"token": token})).body)["roles"] == []


async def test_secrets_are_not_announced(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        heard: list[Message] = []

        async def hear(events: Sequence[Message]) -> Sequence[Outcome]:
            heard.extend(events)
            return [DONE] * len(events)

        link = bench.fabric.durable.link("look")
        await link.join("store_notify", "test", 1000)
        consumer = Consumer(bench.fabric.durable, "store_notify/test", "test", hear)
        listening = asyncio.ensure_future(consumer.run())
        await bench.user()
        await bench.session()
        await eventually_async(lambda: any(event.op == "users.added" for event in heard))
        reply = await bench.ask("auth.register", {"email": "b@notes.example", "password": PASSWORD, "name": "B"})
        await eventually_async(lambda: any(event.args["id"] == loads(reply.body)["id"] for event in heard))
        consumer.stop()
        await listening
        await link.close()
        # then others hear who is there, and nothing more of it
        assert {event.op for event in heard} == {"users.added"}
        assert {name for event in heard for name in event.args["document"]} == {"id", "ts", "name"}


async def test_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.user()
        token = await bench.session()
        mine = {"user": {"token": token}}
        assert set(loads((await bench.ask("auth.me", **mine)).body)) == {"id", "name", "email", "roles"}
        (session,) = loads((await bench.ask("auth.sessions", **mine)).body)["sessions"]
        assert (session["id"], session["current"]) == (token, True)
