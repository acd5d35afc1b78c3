"""What the tests of the web server share: a site that none of them stops, each with users and items of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.conftest import RedisServer
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


@pytest.fixture
def uid() -> int:
    """A user whom no other test knows."""
    return next(_users)
