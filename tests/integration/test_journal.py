"""The journal over a real Redis, as processes: every event in the log, whatever happens to who writes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gorgond.redpill import Counts, Message, Producer, connect
from gorgond.sinks.handing import BATCH
from tests.conftest import RedisServer
from tests.programs import ROOT, ended
from tests.waiting import eventually, eventually_async

GROUP = "store_notify/journal"


@pytest.fixture
def redis(redis_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_factory(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")


@contextmanager
def journal(redis: RedisServer, output: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`gorgond journal`, in which consumers take each other for dead after a second."""
    environ = {"GORGOND_CONFIG": os.devnull, "GORGOND_BROKER_URL": redis.url, "TEST_SILENCE": "1", **variables}
    with output.open("ab") as file:
        command = [sys.executable, "-m", "tests.integration.runner", "journal"]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=60)


async def counts(redis: RedisServer) -> Counts:
    link = connect(redis.url).link("test")
    try:
        [found] = await link.counts([GROUP])
    finally:
        await link.close()
    assert found.difference() == 0
    return found


async def publish(redis: RedisServer, first: int, number: int) -> None:
    async with Producer(connect(redis.url), "test") as producer:
        events = [Message("items.added", {"id": str(n)}, f"m{n}") for n in range(first, first + number)]
        await producer.publish("store_notify", *events)


def written(file: Path) -> list[int]:
    """The ids in the log's whole lines: one that is being written, or whose writer was killed, is none."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(ValueError):
            found.append(int(json.loads(line)["id"]))
    return found


async def test_an_orderly_restart_loses_nothing_and_repeats_nothing(redis: RedisServer, tmp_path: Path) -> None:
    log, output = tmp_path / "events.log", tmp_path / "output"
    # given a journal that was told of 2000 events and asked to end while it writes them
    with journal(redis, output, GORGOND_JOURNAL_FILE=str(log)) as process:
        redis.wait_for_group("store_notify", "journal")
        await publish(redis, 0, 2000)
        eventually(lambda: written(log))
        assert ended(process) == 0
    # when more happens while none runs, and another one starts
    await publish(redis, 2000, 1000)
    with journal(redis, output, GORGOND_JOURNAL_FILE=str(log)) as process:
        eventually(lambda: len(written(log)) >= 3000)
        assert ended(process) == 0
    # then all is in the log once, in its order
    assert written(log) == list(range(3000))
    assert (await counts(redis)).done == 3000


async def test_a_kill_loses_nothing(redis: RedisServer, tmp_path: Path) -> None:
    log, output = tmp_path / "events.log", tmp_path / "output"
    sent = 0
    for _ in range(3):
        # when it is killed as it writes, each time something else: what is in hand three times is given up
        with journal(redis, output, GORGOND_JOURNAL_FILE=str(log)) as process:
            redis.wait_for_group("store_notify", "journal")
            before = len(written(log))
            await publish(redis, sent, 2000)
            sent += 2000
            eventually(lambda: len(written(log)) > before + 2 * BATCH)  # noqa: B023 - asked here and now
            process.kill()
    with journal(redis, output, GORGOND_JOURNAL_FILE=str(log)) as process:
        await publish(redis, sent, 1)  # so that there is something to do for it, and it is seen to run
        sent += 1
        await eventually_async(lambda: _all_done(redis, sent))
        assert ended(process) == 0
    # then every event is there, and twice only those that were being written
    found = Counter(written(log))
    assert set(found) == set(range(sent))
    assert max(found.values()) <= 4


async def test_a_broker_that_dies_costs_nothing_and_repeats_nothing(redis: RedisServer, tmp_path: Path) -> None:
    log, output = tmp_path / "events.log", tmp_path / "output"
    with journal(redis, output, GORGOND_JOURNAL_FILE=str(log)) as process:
        redis.wait_for_group("store_notify", "journal")
        # when the broker is killed while the journal writes
        await publish(redis, 0, 6000)
        eventually(lambda: written(log))
        redis.kill()
        redis.start()
        # then the journal goes on where it was
        await eventually_async(lambda: _all_done(redis, 6000))
        assert ended(process) == 0
    assert written(log) == list(range(6000))


async def _all_done(redis: RedisServer, number: int) -> bool:
    return (await counts(redis)).done == number


async def test_journald_that_goes_away_is_waited_for(redis: RedisServer, tmp_path: Path) -> None:
    output, path = tmp_path / "output", tmp_path / "socket"
    with _receiving(path) as received, journal(redis, output, TEST_JOURNALD=str(path)) as process:
        redis.wait_for_group("store_notify", "journal")
        await publish(redis, 0, 500)
        eventually(lambda: len(received) == 500)
        # when journald is gone, and events happen
        path.unlink()
        await publish(redis, 500, 500)
        eventually(lambda: b"is away, waiting for it: No such file" in output.read_bytes())
        with _receiving(path) as again:
            # then they are in the log as soon as it is back, once
            eventually(lambda: len(again) == 500)
            await eventually_async(lambda: _all_done(redis, 1000))
            assert ended(process) == 0
            assert [*received, *again] == [f"GORGON_ID={number}" for number in range(1000)]


@contextmanager
def _receiving(path: Path) -> Iterator[list[str]]:
    """Something that listens as journald does: the items its entries are about."""
    received: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))

        def receive() -> None:
            while entry := listening.recv(1 << 20):
                received.extend(line for line in entry.decode().splitlines() if line.startswith("GORGON_ID="))

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield received
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=60)
