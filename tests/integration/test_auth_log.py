"""What the auth server's log says of who tries to get in, and what it does not say."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from gorgond.auth.sealing import new_key
from tests.integration.authbench import PASSWORD, Bench, new_digest, running

KEY, OTHER_KEY = new_key(), new_key()
EMAIL, ADDRESS = "ada@notes.example", "192.0.2.77"
CLIENT = {"address": ADDRESS, "agent": "a browser"}


async def failures(directory: Path, caplog: pytest.LogCaptureFixture, key: str, email: str = EMAIL) -> list[str]:
    """The lines of two wrong passwords and a third, which is one too many, at a server of its own."""
    caplog.clear()
    async with running(directory, auth__key=key, auth__attempts="2") as bench:
        await bench.user()
        for password, code in (("wrong once", 401), ("wrong twice", 401), (PASSWORD, 429)):
            args = {"email": email, "password": password, "client": CLIENT, "token": new_digest()}
            assert await bench.refused("auth.login", args) == code
        assert await give_wrong_password(bench) == 403
    return [record.getMessage() for record in caplog.records if record.name == "gorgond.auth"]


async def give_wrong_password(bench: Bench) -> int:
    """Of who has a session, but not the password."""
    token = await bench.session()
    args = {"old": "x" * 9, "new": "y" * 8 + "z", "token": new_digest(), "client": {"address": "10.9.8.7", "agent": ""}}
    return await bench.refused("auth.password", args, user={"token": token})


async def test_who_fails_is_a_line_each_by_a_pseudonym(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lines = await failures(tmp_path / "1", caplog, KEY)
    who = "account [0-9a-f]{12}, address [0-9a-f]{12}"
    told = [
        f"wrong password: ({who})", f"wrong password: ({who})", rf"too many attempts, \d+ s to wait: ({who})",
        f"wrong password: ({who})",
    ]  # fmt: skip
    found = [re.fullmatch(pattern, line) for pattern, line in zip(told, lines, strict=True)]
    assert all(found), lines
    names = [each[1] for each in found if each]
    assert names[0] == names[1] == names[2]
    # the one with the session is the same account elsewhere
    assert names[3].split(",")[0] == names[0].split(",")[0]
    assert names[3] != names[0]
    # and nothing names anybody
    assert not any(word in " ".join(lines) for word in (EMAIL, "ada", ADDRESS, "wrong once", "a browser"))

    # another auth server of the fabric calls them the same, one of another fabric does not
    again = await failures(tmp_path / "2", caplog, f"{KEY} {OTHER_KEY}", EMAIL.upper())
    assert again[:2] == lines[:2]
    elsewhere = await failures(tmp_path / "3", caplog, OTHER_KEY)
    assert elsewhere[0] != lines[0]


async def test_who_gets_in_is_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path, auth__key=KEY) as bench:
        await bench.user()
        await bench.session()
    assert [record for record in caplog.records if record.name == "gorgond.auth"] == []
