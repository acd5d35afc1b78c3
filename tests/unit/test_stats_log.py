"""What the stats server's log says of who tries to be the operator, and what the operator does."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tornado.httputil import HTTPHeaders

from gorgond.http.answers import Problem
from gorgond.http.routes import Request
from gorgond.redpill import Link
from gorgond.stats.letters import Links
from gorgond.stats.operating import Operating
from gorgond.stats.visitors import Visitors

PASSWORD = "the operator's own"
ADDRESS = "192.0.2.77"


def request(client: str = ADDRESS, **headers: str) -> Request:
    named = HTTPHeaders({"X-Gorgond": "stats", **headers})
    return Request("id", "POST", "/", named, b"", 0, client, connection=client)


def visitors(directory: Path, password: str = PASSWORD) -> Visitors:
    directory.mkdir(exist_ok=True)
    return Visitors(password, directory)


async def tried(who: Visitors, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of a wrong password, a right one, and a logout."""
    caplog.set_level(logging.INFO)
    caplog.clear()
    with pytest.raises(Problem):
        await who.log_in(request(), "not this one")
    await who.log_in(request(), PASSWORD)
    who.log_out(request())
    return [record.getMessage() for record in caplog.records]


async def test_each_login_and_each_failure_is_a_line_by_a_pseudonym(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = await tried(visitors(tmp_path / "1"), caplog)
    patterns = ("not the operator's password", "the operator logged in", "the operator logged out")
    found = [
        re.fullmatch(f"{what}: (address [0-9a-f]{{12}})", line) for what, line in zip(patterns, lines, strict=True)
    ]
    assert all(found), lines
    assert len({each[1] for each in found if each}) == 1
    assert ADDRESS not in " ".join(lines)
    assert "not this one" not in " ".join(lines)
    # another stats server of this password calls it the same
    assert await tried(visitors(tmp_path / "2"), caplog) == lines


class Letters:
    """A broker with one dead letter."""

    async def requeue(self, queue: str, number: int) -> bool:
        return (queue, number) == ("store_put", 7)

    drop = requeue


class OneLetter:
    """Where the operator works on it."""

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[Links]:
        yield {"durable": cast("Link", Letters())}

    async def find(self, collection: str, filter: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        raise AssertionError

    async def replace(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
        raise AssertionError


@pytest.mark.parametrize(("do", "what"), [("requeue", "put back into the queue"), ("drop", "deleted")])
async def test_what_the_operator_does_with_letters_is_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, do: str, what: str
) -> None:
    caplog.set_level(logging.INFO)
    operating = Operating(OneLetter(), visitors(tmp_path / "1"))
    asked = request(Authorization=f"Bearer {PASSWORD}")
    handler: Any = getattr(operating, do)
    asked.parameters = {"broker": "durable", "queue": "store_put", "number": 7}
    assert (await handler(asked)).status == 204
    asked.parameters["number"] = 8
    with pytest.raises(Problem):
        await handler(asked)
    [line] = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(f"the operator: dead letter 7 of store_put {what}: address [0-9a-f]{{12}}", line)
