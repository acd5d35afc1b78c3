"""Providers whose source is polled, asked and told, over each broker into each database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from gorgond.errors import ConfigError
from gorgond.providers import SOURCES
from gorgond.providers.source import Batch, Item
from gorgond.service.fabric import connect_fabric
from gorgond.stores import open_store
from gorgond.stores.contract import Write
from tests.brokers import BROKERS
from tests.conftest import RedisServer
from tests.databases import WHOLE
from tests.echo import ECHO, EchoSource
from tests.integration.sources import Place, asked, make_place, running
from tests.waiting import eventually_async

SESAME = {"X-Token": "sesame"}
_numbers = count()


@pytest.fixture(autouse=True)
def _echo(monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]) -> None:
    monkeypatch.setitem(SOURCES.table, "echo", ECHO)
    expected_logs("loses its messages when it dies|key is empty: passwords go")


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return f"memory://sources-{next(_numbers)}"
    url: str = request.getfixturevalue("shared_redis").url
    return url


@pytest.fixture(params=WHOLE)
def place(request: pytest.FixtureRequest, broker: str, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return make_place(tmp_path, broker, f"sqlite:///{tmp_path}/test.db")
    return make_place(tmp_path, broker, f"{request.getfixturevalue('mongod_url')}sources{next(_numbers)}")


@pytest.fixture
def simple(broker: str, tmp_path: Path) -> Place:
    """On SQLite alone, where it is all the same."""
    return make_place(tmp_path, broker, f"sqlite:///{tmp_path}/test.db")


async def test_what_a_source_brings_is_stored_once_and_told_once(place: Place) -> None:
    # given a group that listens to what arrives, and 50 lines
    link = connect_fabric(place.config).durable.link("test")
    await link.join("provider_data", "test", 1000)
    place.write(*(f"line {n}" for n in range(50)))
    async with running(place, "echo", "store"):
        # when a provider reads them
        await eventually_async(lambda: len(place.stored()) == 50)
        # then each is stored under the name that its source has for it
        titles = {document["id"]: document["title"] for document in place.stored()}
        assert titles == {f"echo:{n}": f"line {n}" for n in range(50)}
        # and how far it has read is kept
        await eventually_async(lambda: [each["cursor"] for each in place.stored("providers")] == [50])
        place.write("one more")
        await eventually_async(lambda: len(place.stored()) == 51)
    # when another one follows
    async with running(place, "echo", "store"):
        place.write("and another one")
        await eventually_async(lambda: len(place.stored()) == 52)
    # then it has read nothing again, and each arrival was told once
    assert (await place.counts("provider_data/test")).accepted == 52
    figures = await place.counts("store_put")
    assert (figures.dead, figures.difference()) == (0, 0)
    await link.close()


async def test_an_older_cursor_is_no_harm(place: Place) -> None:
    place.write(*(f"line {n}" for n in range(50)))
    async with running(place, "echo", "store"):
        await eventually_async(lambda: [each["cursor"] for each in place.stored("providers")] == [50])
    before = place.stored()
    # given a provider that died when its items were pushed, and its cursor was not yet
    store = open_store(place.config.store.url)
    store.write([Write("replace", "providers", "echo", 2**52, {"cursor": 10})])
    store.close()
    # when another one reads from there
    async with running(place, "echo", "store"):
        await eventually_async(lambda: [each["cursor"] for each in place.stored("providers")] == [50])
    # then what it has read again is there once, and changed nothing
    assert place.stored() == before
    figures = await place.counts("store_put")
    assert (figures.dead, figures.queued, figures.difference()) == (0, 0, 0)


async def test_an_unreadable_cursor_is_an_operators_affair(simple: Place) -> None:
    store = open_store(simple.config.store.url)
    store.prepare()
    store.write([Write("replace", "providers", "echo", 1, {"corsor": 10})])
    store.close()
    with pytest.raises(ConfigError, match="the document echo of the collection providers has no cursor"):
        async with running(simple, "echo", "store") as services:
            await eventually_async(lambda: services["echo"].draining)


async def test_one_instance_polls_and_another_one_goes_on(simple: Place) -> None:
    simple.write(*(f"line {n}" for n in range(10)))
    async with running(simple, "store"), AsyncExitStack() as first:
        await first.enter_async_context(running(simple, "echo"))
        await eventually_async(lambda: [each["cursor"] for each in simple.stored("providers")] == [10])
        assert len(simple.stored()) == 10
        # given another instance that stands by
        async with running(simple, "echo.2") as second:
            other = second["echo.2"]
            await eventually_async(lambda: "another instance polls" in other.doing())
            assert other.source._polls == 0
            # when the first one ends in good order
            await first.aclose()
            simple.write("one more")
            # then the other one polls
            await eventually_async(lambda: len(simple.stored()) == 11)
            await eventually_async(lambda: other.pushing.pushed == 1)


async def test_a_source_that_fails_is_polled_again(
    simple: Place, monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("polling echo failed|source echo is (away|back)")
    monkeypatch.setattr("gorgond.providers.polling.AGAIN", (0.01, 0.1))
    # given a source whose file is away
    simple.lines.rename(simple.lines.with_suffix(".away"))
    async with running(simple, "echo", "store") as services:
        await eventually_async(lambda: "waiting for source echo for" in services["echo"].doing())
        # when it is back
        simple.write("a line")
        # then it goes on
        await eventually_async(lambda: len(simple.stored()) == 1)
        await eventually_async(lambda: "at line 1" in services["echo"].doing())


async def test_a_source_that_lies_ends_nothing_but_its_poll(
    simple: Place, monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("polling echo failed|source echo (is|was) |echo could not be closed|gives up 1 message of store_put")
    monkeypatch.setattr("gorgond.providers.polling.AGAIN", (0.01, 0.1))
    monkeypatch.setattr("gorgond.providers.polling.POLL_MAX", 0.5)
    # given a source whose first polls do whatever they like
    odd: list[Callable[[], Any]] = [
        lambda: sys.exit(3), lambda: "no batch", lambda: Batch([Item("a", {"a": object()})]),
        lambda: Batch((), object()), lambda: Batch((), None, float("nan")), lambda: Batch((), None, "soon"),  # type: ignore[arg-type]
        lambda: Batch([("a", "b")]), lambda: cast("Any", asyncio.current_task()).cancel(),  # type: ignore[list-item]
        lambda: 1 / 0, lambda: Batch([Item("b", {"title": "x"}, "Not a name")]), lambda: asyncio.Event().wait(),
    ]  # fmt: skip
    source = import_module("tests.echo").EchoSource  # an application among the tests has had it imported anew, perhaps
    number, poll = len(odd), source.poll

    async def odd_poll(self: EchoSource, cursor: Any) -> Any:
        if not odd:
            return await poll(self, cursor)
        done = odd.pop(0)()
        return await done if asyncio.iscoroutine(done) else done

    async def odd_close(_: EchoSource) -> None:
        sys.exit(4)

    monkeypatch.setattr(source, "poll", odd_poll)
    monkeypatch.setattr(source, "close", odd_close)
    simple.write("a line")
    async with running(simple, "echo", "store") as services:
        # then it is polled on, and goes on
        await eventually_async(lambda: [each["id"] for each in simple.stored()] == ["echo:0"])
        assert not services["echo"].draining
        assert (number, odd) == (11, [])
        # and what the store refuses is a dead letter
        await eventually_async(lambda: _dead(simple, "store_put", 1))


async def test_applications_ask_and_tell_providers(simple: Place, expected_logs: Callable[[str], None]) -> None:
    expected_logs("echo.fail failed")
    async with running(simple, "web", "app", "echo", "store") as services:
        web = services["web"]
        # when an application asks, the source answers
        status, value = await asked(web, "GET", "/fetch/echo.parrot")
        assert (status, value["op"], value["args"]) == (200, "parrot", {"a": 1})
        assert await asked(web, "POST", "/send/echo.letter") == (200, {"op": "letter", "sent": 1})
        # and it may refuse, or fail
        assert (await asked(web, "GET", "/fetch/echo.refuse"))[0] == 402
        assert (await asked(web, "GET", "/fetch/echo.fail"))[0] == 500


async def test_calls_go_over_their_own_broker(shared_redis: RedisServer, tmp_path: Path) -> None:
    # given two brokers
    store, calls = f"sqlite:///{tmp_path}/test.db", f"memory://calls-{next(_numbers)}"
    place = make_place(tmp_path, shared_redis.url, store, broker__calls=calls)
    place.write("a line")
    async with running(place, "web", "app", "echo", "store") as services:
        web = services["web"]
        # then what is asked is answered, what is brought and pushed in is stored
        assert (await asked(web, "GET", "/fetch/echo.parrot"))[0] == 200
        assert (await asked(web, "POST", "/hooks/echo", b'{"key": "a", "title": "told"}', SESAME))[0] == 202
        await eventually_async(lambda: [each["id"] for each in place.stored()] == ["echo:0", "echo:a"])
        await eventually_async(lambda: [each["cursor"] for each in place.stored("providers")] == [1])
    # and questions were none of the durable one's business
    assert (await place.counts("provider_get:echo")).accepted == 0
    assert (await place.counts("provider_hook:echo")).done == 1


async def test_an_unknown_provider_is_404_at_once(simple: Place) -> None:
    # given a fabric without any provider
    async with running(simple, "web", "app") as services:
        for name in ("nosuch.fetch", "nosuch", ".fetch", "no%20such.fetch"):
            # when an application asks one that is not configured, then it is told
            status, value = await asked(services["web"], "GET", f"/fetch/{name}")
            assert (status, "there is no provider" in value["error"]["message"]) == (404, True)
            # and nobody was asked
        assert (await simple.counts("provider_get:nosuch")).accepted == 0


async def test_what_is_pushed_in_is_kept_and_made_into_items(place: Place) -> None:
    # given a provider that is away
    async with running(place, "web", "store") as services:
        web = services["web"]
        # when somebody pushes to it, then it is kept
        body = b'{"key": "a", "title": "told"}'
        status, value = await asked(web, "POST", "/hooks/echo?x=1&x=2", body, {**SESAME, "Cookie": "session=secret"})
        assert (status, list(value)) == (202, ["id"])
        kept = await place.counts("provider_hook:echo")
        assert (kept.accepted, kept.queued) == (1, 1)
        # and when the provider is back, it is stored; told again, it is there once
        async with running(place, "echo"):
            assert (await asked(web, "POST", "/hooks/echo?x=1&x=2", body, SESAME))[0] == 202
            await eventually_async(place.stored)
            await eventually_async(lambda: _done(place, "provider_hook:echo", 2))
        [stored] = place.stored()
        assert (stored["id"], stored["title"], stored["query"]) == ("echo:a", "told", "x=1&x=2")


async def test_what_anybody_pushes_is_no_dead_letter(simple: Place, expected_logs: Callable[[str], None]) -> None:
    expected_logs("a hook of echo failed|gives up 1 message of provider_hook:echo")
    async with running(simple, "web", "echo", "store") as services:
        web = services["web"]
        # when somebody pushes with a wrong token
        assert (await asked(web, "POST", "/hooks/echo", b"whatever", {"X-Token": "guessed"}))[0] == 202
        await eventually_async(lambda: _done(simple, "provider_hook:echo", 1))
        # then it is counted, and nothing else
        assert services["echo"].metrics.counters["hooks_refused"] == 1
        assert (await simple.counts("provider_hook:echo")).dead == 0
        # and what the source cannot handle is one
        assert (await asked(web, "POST", "/hooks/echo", b'{"fail": 1}', SESAME))[0] == 202

        await eventually_async(lambda: _dead(simple, "provider_hook:echo", 1))
        # and who has no provider that takes hooks is told so
        assert (await asked(web, "POST", "/hooks/nosuch", b"x"))[0] == 404
        assert (await asked(web, "POST", "/hooks/echo", b"x" * 1_100_000))[0] == 413


async def test_a_full_queue_of_hooks_is_503(broker: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, broker, f"sqlite:///{tmp_path}/test.db", broker__queue_limit="1")
    async with running(place, "web") as services:
        answers = [await asked(services["web"], "POST", "/hooks/echo", b"x", SESAME) for _ in range(2)]
    assert [status for status, _ in answers] == [202, 503]
    assert answers[1][1]["error"]["reason"] == "queue_full"
    assert (await place.counts("provider_hook:echo")).queued == 1


async def _dead(place: Place, queue: str, number: int) -> bool:
    return (await place.counts(queue)).dead == number


async def _done(place: Place, queue: str, number: int) -> bool:
    return (await place.counts(queue)).done == number
