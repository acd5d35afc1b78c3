"""Links in letters at the auth server: handled again after a death, and with other keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gorgond.app.letters import CONFIRM, RESET
from gorgond.auth.links import Links
from gorgond.auth.sealing import new_key
from gorgond.auth.users import Users
from gorgond.redpill import DONE, CallFailed, Consumer, Message, Outcome
from tests.integration.authbench import PASSWORD, Bench, running
from tests.waiting import eventually_async

KEY = new_key()
CONF = f"[notify.email]\n[web]\nurl = https://notes.example\n[auth]\nkey = {KEY}\n"
NEW = "a cello in the cellar"


def asker(token: str) -> dict[str, str]:
    return {"token": token, "need": "required", "rights": ""}


async def link(bench: Bench, kind: str, email: str = "ada@notes.example", keys: str = KEY) -> str:
    user = await Users(bench.records).by_email(email)
    assert user is not None
    return Links(keys).token(kind, user)


async def test_what_was_done_by_one_that_died_is_answered_as_done(tmp_path: Path) -> None:
    async with running(tmp_path, CONF) as bench:
        await bench.user()
        session = await bench.session()
        for kind, op, more, user in (
            (CONFIRM, "auth.confirm", {}, asker(session)),
            (RESET, "auth.reset", {"new": NEW, "client": {}}, None),
        ):
            args = {**more, "token": await link(bench, kind)}
            # given that it was done
            await bench.auth.answer(Message(op, args, "once", user=user))
            # when another server handles the same message, whose answer nobody has had, then it is as good as done
            await bench.auth.answer(Message(op, args, "once", user=user, attempts=1))
            # but not for who comes with the same link by another message
            with pytest.raises(CallFailed) as refused:
                await bench.auth.answer(Message(op, args, "other", user=user))
            assert refused.value.code in (401, 404)
        # nor with another password
        with pytest.raises(CallFailed, match="does not hold"):
            await bench.auth.answer(Message("auth.reset", {**args, "new": PASSWORD}, "once", attempts=1))


async def test_a_letter_that_is_handled_twice_is_one(tmp_path: Path) -> None:
    sent: list[str] = []

    async def take(messages: Sequence[Message]) -> Sequence[Outcome]:
        sent.extend(message.args["id"] for message in messages)
        return [DONE] * len(messages)

    async with running(tmp_path, CONF) as bench:
        # given an account, whose first letter is on its way
        await bench.user()
        # when a letter is asked for, and that is handled twice
        for _ in range(2):
            await bench.auth.answer(Message("auth.reset.letter", {"email": "ada@notes.example"}, "same"))
        # then it has the same id, by which notification servers know it
        letters = Consumer(bench.fabric.durable, "notify_put:email", "test", take)
        taking = asyncio.ensure_future(letters.run())
        await eventually_async(lambda: len(sent) == 3)
        letters.stop()
        await taking
        assert sent[1] == sent[2] != sent[0]


@pytest.mark.parametrize("keys", [f"{new_key()} {KEY}", KEY], ids=["added", "alone"])
async def test_links_hold_while_a_key_is_changed(tmp_path: Path, keys: str) -> None:
    async with running(tmp_path, CONF.replace(KEY, keys)) as bench:
        await bench.user()
        old, strange = await link(bench, RESET), await link(bench, RESET, keys=new_key())
        assert await bench.refused("auth.reset", {"token": strange, "new": NEW, "client": {}}) == 404
        await bench.ask("auth.reset", {"token": old, "new": NEW, "client": {}})


async def test_a_link_is_of_one_kind_and_one_user(tmp_path: Path) -> None:
    async with running(tmp_path, CONF) as bench:
        await bench.user()
        await bench.user("berta@notes.example")
        session = await bench.session()
        confirm, hers = await link(bench, CONFIRM), await link(bench, RESET, "berta@notes.example")
        assert await bench.refused("auth.reset", {"token": confirm, "new": NEW, "client": {}}) == 404
        id, until, mac = hers.split(".")
        ada = (await link(bench, RESET)).split(".")[0]
        for forged in (f"{ada}.{until}.{mac}", f"{id}.{int(until) + 1}.{mac}", f"{id}.{until}.{mac[:-1]}_"):
            assert await bench.refused("auth.reset", {"token": forged, "new": NEW, "client": {}}) == 404
        assert await bench.refused("auth.confirm", {"token": hers}, user=asker(session)) == 403
