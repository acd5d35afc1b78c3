"""Searches, which are dear: nobody waits for those of others, and no client has more than its share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gorgond.config import load
from gorgond.errors import StoreRefused
from gorgond.roles.store import DataStore
from gorgond.roles.web import SEARCHES
from gorgond.service.fabric import connect_fabric
from gorgond.stores.contract import Query
from gorgond.stores.sqlite import SqliteStore
from tests.conftest import RedisServer
from tests.integration.website import Website
from tests.waiting import eventually

ACCOUNT = {"email": "ann@x.example", "password": "correct horse battery"}


class Gate:
    """Holds searches back until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    find = SqliteStore.find

    def slowly(self: SqliteStore, queries: Sequence[Query]) -> list[bytes | StoreRefused]:
        if any(query.search for query in queries):
            gate.waiting += 1
            gate.open.wait(60)
        return find(self, queries)

    monkeypatch.setattr(SqliteStore, "find", slowly)
    yield gate
    gate.open.set()


@pytest.fixture
def site(redis_server: RedisServer, tmp_path: Path, expected_logs: Any) -> Iterator[Website]:
    expected_logs("loses its messages")
    with Website(redis_server.url, tmp_path, web__deadline="60s", web__trusted_proxies="127.0.0.1") as site:
        eventually(lambda: site.ask("GET", "/items?q=none").status == 200)  # the index is made
        yield site


def test_who_searches_long_keeps_nobody_else_waiting(site: Website, gate: Gate) -> None:
    assert site.ask("POST", "/auth/register", ACCOUNT).status == 201
    assert site.ask("POST", "/info/1", {"title": "fox"}).status == 201
    # given clients whose searches take long, as many as they may have
    with ExitStack() as stack:
        searching = [stack.enter_context(site.connection()) for _ in range(4 * SEARCHES)]
        for number, connection in enumerate(searching):
            connection.request("GET", ("/items?q=fox", "/?q=fox")[number % 2], X_Forwarded_For=f"192.0.2.{number % 4}")
        eventually(lambda: gate.waiting > 0)
        # when others read, write and log in
        answers = [
            site.ask("GET", "/info/1").status, site.ask("GET", "/").status, site.ask("GET", "/items?keyword=x").status,
            site.ask("POST", "/info/1", {"title": "another"}).status, site.ask("POST", "/auth/login", ACCOUNT).status,
        ]  # fmt: skip
        # then they are answered, while the searches still wait
        assert answers == [200, 200, 200, 201, 200]
        assert not gate.open.is_set()
        # and those are too, in the end
        gate.open.set()
        assert [connection.read().status for connection in searching] == [200] * len(searching)


@pytest.mark.parametrize("target", ["/items?q=fox", "/?q=fox", "/by/1?q=fox"])
def test_a_client_has_no_more_searches_than_its_share(site: Website, gate: Gate, target: str) -> None:
    with ExitStack() as stack:
        # given a client that has as many under way as it may
        mine = [stack.enter_context(site.connection()) for _ in range(SEARCHES)]
        for number, connection in enumerate(mine):
            connection.request("GET", target, X_Forwarded_For=f"[2001:db8::{number}]:1")
        eventually(lambda: len(site.web.calls) == SEARCHES)
        # then one more is refused, from whichever address of its network, and told when to come again
        refused = site.ask("GET", target, X_Forwarded_For="2001:db8::ffff")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "searches" in refused.error["message"]
        # but what is no search is not, nor is somebody else's
        assert site.ask("GET", "/info/1", X_Forwarded_For="2001:db8::1").status == 200
        other = stack.enter_context(site.connection())
        other.request("GET", target, X_Forwarded_For="192.0.2.1")
        eventually(lambda: len(site.web.calls) == SEARCHES + 1)
        # when they are done, there is room again
        gate.open.set()
        assert [connection.read().status for connection in (*mine, other)] == [200] * (SEARCHES + 1)
        assert site.ask("GET", target, X_Forwarded_For="2001:db8::1").status == 200


def test_a_search_has_sixteen_words_at_most(site: Website) -> None:
    assert site.ask("GET", "/items?q=" + "+".join(f"w{n}" for n in range(16))).status == 200
    for target in ("/items?q=", "/?q="):
        answer = site.ask("GET", target + "+".join(f"w{n}" for n in range(17)))
        assert (answer.status, answer.error["field"]) == (400, "q")
        assert "16 words" in answer.error["message"]


@pytest.mark.parametrize(("setting", "there"), [("yes", True), ("no", False)])
def test_pages_ask_for_words_where_they_can_be_searched_for(
    redis_server: RedisServer, tmp_path: Path, expected_logs: Any, setting: str, there: bool
) -> None:
    expected_logs("loses its messages")
    with Website(redis_server.url, tmp_path, web__deadline="60s", store__search=setting) as site:
        for target in ("/", "/by/1"):
            page = site.ask("GET", target).body.decode()
            assert ('name="q"' in page) is there
            assert 'name="keyword"' in page
        # who has the address of a search is told why there is none, and sees what was searched for
        answer = site.ask("GET", "/?q=fox", Accept="text/html")
        if not there:
            assert answer.status == 400
            assert "there is none here" in answer.body.decode()


@pytest.mark.parametrize("url", ["sqlite:///{tmp}/x.db", "mongodb://localhost/x"])
@pytest.mark.parametrize(("settings", "searched"), [({}, True), ({"store.search": "no"}, False)])
def test_words_are_indexed_unless_that_is_not_wanted(
    tmp_path: Path, url: str, settings: dict[str, str], searched: bool
) -> None:
    config = load(os.devnull, {}, {**settings, "store.url": url.format(tmp=tmp_path), "broker.url": "memory://words"})
    store = DataStore(config, connect_fabric(config), "0")
    assert store.searchable is searched
    store.store.close()
