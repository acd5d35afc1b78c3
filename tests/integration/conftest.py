"""What integration tests share.

site         web servers that none of them stops, each test with users and items of its own: `uid`
browser      one that looks at its pages; `ann` is one of somebody who has just registered
parser       a test that uses it is run with each parser of requests
fabric_of    processes that a test kills, around a broker and a database
durable      a Redis that keeps what was accepted
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gorgond.http import heads
from tests.conftest import RedisServer
from tests.integration.browsing import Browser, somebody
from tests.integration.killing import Fabric
from tests.integration.website import Website

_users = itertools.count(1000)


@pytest.fixture(scope="session")
def site(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), appendonly="yes")
    try:
        server.start()
        with pytest.MonkeyPatch.context() as patch, Website(server.url, tmp_path_factory.mktemp("site")) as site:
            patch.setattr("gorgond.http.server.SWEEP", 0.02)  # so that tests of its patience need none
            yield site
    finally:
        server.close()


@pytest.fixture(params=["llhttp", "tornado"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads the headers of requests in this process, where both are installed."""
    readers = {"tornado": heads.by_tornado}
    if request.param == "llhttp":
        pytest.importorskip("httptools")
        from gorgond.http.llhttp import by_llhttp

        readers["llhttp"] = by_llhttp
    monkeypatch.setattr(heads, "read_fields", readers[request.param])


@pytest.fixture
def browser(site: Website) -> Browser:
    return Browser(site)


@pytest.fixture
def ann(site: Website) -> Browser:
    return somebody(site)


@pytest.fixture
def uid() -> int:
    """A user whom no other test knows."""
    return next(_users)


@pytest.fixture
def fabric_of(tmp_path: Path) -> Iterator[Callable[..., Fabric]]:
    """Make a Fabric; its processes are killed in the end."""
    made: list[Fabric] = []

    def make(broker: str, store: str = f"sqlite:///{tmp_path}/items.db") -> Fabric:
        made.append(Fabric(tmp_path, broker, store))
        return made[-1]

    yield make
    for fabric in made:
        for child in fabric.children:
            if child.process.poll() is None:
                child.kill()
        for log in sorted(tmp_path.glob("*.log")):
            print(f"---- {log.name}\n" + log.read_text()[-3000:])


@pytest.fixture
def durable(redis_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_factory(appendonly="yes", appendfsync="always")
