"""Dead letters on the stats page: for the operator alone, who lists, looks, requeues, drops."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from playwright.sync_api import expect

from gorgond.redpill import Counts, Link, Producer, connect
from tests.browser.fabric import PASSWORD, Fabric, apart
from tests.browser.viewer import Viewer
from tests.waiting import eventually

NONSENSE = [b"no message %d" % number for number in range(1, 4)]


async def _push(url: str) -> None:
    async with Producer(connect(url), "test") as producer:
        await producer.push_encoded("store_put", NONSENSE)


async def _counts(url: str) -> Counts:
    async with looking(url) as link:
        (counts,) = await link.counts(["store_put"])
    return counts


async def _letters(url: str) -> list[int]:
    async with looking(url) as link:
        return [letter.number for letter in await link.dead("store_put")]


async def drop_letters(url: str) -> None:
    async with looking(url) as link:
        for letter in await link.dead("store_put"):
            await link.drop("store_put", letter.number)


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[Link]:
    link = connect(url).link("test")
    try:
        yield link
    finally:
        await link.close()


def counts(fabric: Fabric) -> Counts:
    return apart(_counts(fabric.redis.url))


@pytest.fixture
def letters(fabric: Fabric) -> Iterator[list[int]]:
    """The numbers of three messages that nobody can read, the oldest first."""
    apart(_push(fabric.redis.url))
    eventually(lambda: counts(fabric).dead == len(NONSENSE))
    yield apart(_letters(fabric.redis.url))
    apart(drop_letters(fabric.redis.url))


def log_in(page: Viewer, letters: int) -> Viewer:
    """The page, once its operator has logged in and so many letters are there."""
    page.sees("#dead-queue option:checked", f"store_put ({letters})")
    page.find("#to-log-in").click()
    page.find("#password").fill(PASSWORD)
    page.page.keyboard.press("Enter")
    expect(page.find("#letters tbody tr")).to_have_count(letters)
    return page


@pytest.fixture
def operator(page: Viewer, letters: list[int]) -> Viewer:
    """The page, logged in."""
    return log_in(page, len(letters))


@pytest.mark.usefixtures("letters")
def test_only_the_operator_sees_them(page: Viewer) -> None:
    # given somebody who may look at the figures
    page.sees("#dead-said", "To see them, and to act on them, is for the operator: log in")
    expect(page.find("#letters")).to_be_hidden()
    expect(page.find("#dead .help")).to_be_hidden()
    # when they try a password
    page.find("#to-log-in").click()
    page.find("#password").fill("guessed")
    page.page.keyboard.press("Enter")
    # then they are told
    page.sees("#log-in-said", "this is not the operator's password")
    page.page.keyboard.press("Escape")
    expect(page.find("#letters")).to_be_hidden()
    assert all("403" in line for line in page.wrong)  # the browser's own word on the answer
    page.wrong.clear()


def test_the_operator_looks(operator: Viewer) -> None:
    # when the operator looks at one
    operator.page.get_by_role("button", name="Look letter").first.click()
    # then they see why it died, and every byte
    operator.sees("#letter-raw", re.compile("^no message [123]$"))
    expect(operator.find("#letter-facts")).to_contain_text("not")
    assert operator.barriers() == []
    # and Escape leads back
    operator.page.keyboard.press("Escape")
    expect(operator.find("#letter")).to_be_hidden()
    # after a reload they still are the operator, until they log out
    operator.page.reload()
    expect(operator.find("#letters tbody tr")).to_have_count(3)
    operator.find("#log-out").click()
    expect(operator.find("#letters")).to_be_hidden()


def test_the_operator_requeues(operator: Viewer, letters: list[int], fabric: Fabric) -> None:
    before = counts(fabric)
    # when the operator requeues one
    operator.page.get_by_role("button", name=f"Requeue letter {letters[0]}").click()
    # then it is tried again, and dies again
    operator.sees("#dead-said", f"Letter {letters[0]} is back in store_put")
    eventually(lambda: (now := counts(fabric)).requeued == before.requeued + 1 and now.dead == len(letters))


def test_the_operator_drops(operator: Viewer, letters: list[int], fabric: Fabric) -> None:
    # when the operator is to drop one, and keeps it
    drop = operator.page.get_by_role("button", name=f"Drop letter {letters[1]}")
    drop.click()
    operator.find("#sure").get_by_role("button", name="Keep it").click()
    # then it stays
    expect(drop).to_be_visible()
    # and when they mean it, it goes
    drop.click()
    operator.find("#sure").get_by_role("button", name="Drop it").click()
    operator.sees("#dead-said", f"Letter {letters[1]} is dropped")
    assert counts(fabric).dead == len(letters) - 1
    expect(drop).to_have_count(0)


def test_no_other_site_can_make_the_operator_do_it(operator: Viewer, letters: list[int], fabric: Fabric) -> None:
    # given what a browser sends by itself, the cookie
    sent = operator.page.request.post(f"{operator.url}/api/dead/store_put/{letters[2]}/drop")
    # then it is not enough
    assert sent.status == 403
    assert counts(fabric).dead == len(letters)
