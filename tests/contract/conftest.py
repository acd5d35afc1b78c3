"""What contract tests share: a test that asks for one of these is done on each implementation.

broker    in memory, on a Redis that is empty, and, in the modules of ON_A_SET, on a set of Valkeys with a copy of all
          that counts (ON_A_SET=all pytest …: in all modules)
bench     such a broker, with as many links as a test asks for
stage     such a broker, with what a test looks at it with
frail     a bench, and the server under it, to be killed and started again
url       an empty database of each driver
store     such a database, prepared and open
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from gorgond.redpill import Broker, connect
from gorgond.redpill.memory import MemoryBroker
from gorgond.stores import open_store
from gorgond.stores.contract import Store
from tests.brokers import BROKERS, SETS
from tests.conftest import RedisServer
from tests.contract.bench import Bench
from tests.contract.stage import Stage
from tests.contract.stores import mongo_client
from tests.databases import SCHEMES
from tests.postgres import PostgresServer, postgres_programs
from tests.sets import ONE_HOST, MakeSet, Set, sets

_numbers = count()

ON_A_SET = "test_broker_claim test_broker_desk test_broker_push test_broker_wait test_groups test_lease test_producer"
ON_A_SET = os.environ.get("ON_A_SET", f"{ON_A_SET} test_turns")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not to be tried on a set."""
    out = [item for item in items if not _wanted(item)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in set(out)]


def _wanted(item: pytest.Item) -> bool:
    scheme = (
        item.callspec.params.get("broker") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    )
    return scheme not in SETS or ON_A_SET == "all" or item.path.stem in ON_A_SET.split()


@pytest.fixture(scope="session")
def _redis_set(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    with sets(redis_binary, tmp_path_factory) as make:
        yield make(replicas=1, down_after=600.0)


@pytest.fixture(scope="session")
def _valkey_set(valkey_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    with sets(valkey_binary, tmp_path_factory) as make:
        yield make(replicas=1, down_after=600.0)


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch, expected_logs: Callable[[str], None]) -> Callable[[Set], Set]:
    """Empties a set that tests share."""
    expected_logs(ONE_HOST)
    monkeypatch.setattr("gorgond.redpill.sentinels.ANSWER", 60.0)  # a busy machine takes its time

    def empty(made: Set) -> Set:
        made.members[0].cli("FLUSHALL")
        return made

    return empty


@pytest.fixture
def valkey_set(_valkey_set: Set, emptied: Callable[[Set], Set]) -> Set:
    return emptied(_valkey_set)


@pytest.fixture(params=["redis", "valkey"])
def shared_set(request: pytest.FixtureRequest, emptied: Callable[[Set], Set]) -> Set:
    return emptied(request.getfixturevalue(f"_{request.param}_set"))


@pytest.fixture
def make_set(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, expected_logs: Callable[[str], None]
) -> Iterator[MakeSet]:
    """Of Redis servers, or of what a test is parametrized with."""
    expected_logs(ONE_HOST)
    binary: str = request.getfixturevalue(f"{getattr(request, 'param', 'redis')}_binary")
    with sets(binary, tmp_path_factory) as make:
        yield make


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a second take less here."""
    for name in ("session", "concurrent", "call"):
        monkeypatch.setattr(f"gorgond.redpill.{name}.BLOCK", 0.05)
    for name in ("session", "call", "topic"):
        monkeypatch.setattr(f"gorgond.redpill.{name}.IDLE", 0.05)
    monkeypatch.setattr("gorgond.redpill.outcome.Attempts.delay", lambda *_: 0.01)
    monkeypatch.setattr("gorgond.redpill.session.LEAVE", 60.0)  # a busy machine takes its time


@pytest.fixture(params=[*BROKERS, *SETS])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Broker:
    if request.param == "memory":
        return MemoryBroker()
    if request.param == "sentinel":
        monkeypatch.setattr("gorgond.redpill.rediswire.COPY_TIMEOUT", 60.0)
        return connect(request.getfixturevalue("valkey_set").url(copies=1), durable=False)
    assert request.param == "redis"
    return connect(request.getfixturevalue("shared_redis").url, durable=False)


@pytest.fixture
def bench(broker: Broker) -> Bench:
    return Bench(broker)


@pytest.fixture
def stage(broker: Broker) -> Stage:
    return Stage(broker)


@pytest.fixture
def redis_stage(shared_redis: RedisServer) -> Stage:
    return Stage(connect(shared_redis.url, durable=False))


@pytest.fixture(params=BROKERS)
def frail(request: pytest.FixtureRequest) -> tuple[Bench, MemoryBroker | RedisServer]:
    if request.param == "memory":
        broker = MemoryBroker()
        return Bench(broker), broker
    assert request.param == "redis"
    server = request.getfixturevalue("redis_factory")(appendonly="yes", appendfsync="always")
    return Bench(connect(server.url)), server


@pytest.fixture(scope="session")
def shared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One for all tests; who wants it empty empties it."""
    with PostgresServer(postgres_programs(), tmp_path_factory.mktemp("postgres")).running() as server:
        yield server


@pytest.fixture(params=SCHEMES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/a b/test.db"
        return
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("shared_postgres")
        postgres.empty()
        yield postgres.url
        return
    assert request.param == "mongodb"
    server, name = request.getfixturevalue("mongod_url"), f"contract_{next(_numbers)}"
    yield server + name
    with mongo_client(server) as client:
        client.drop_database(name)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        store.prepare()
        store.make_search()
        yield store
