"""Real processes, killed and stopped at bad moments: what was accepted is stored once, and nothing has to be helped.

The test process pushes items and notes those the broker accepted; afterwards they are compared with the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gorgond.redpill import Caller, Message, Producer, QueueFull, now_ms
from tests.conftest import MongodServer, RedisServer
from tests.integration.killing import Fabric, Pusher, item
from tests.waiting import eventually, eventually_async

OUTAGE = r"is away, waiting for it|is back after"

Expect = Callable[[str], None]


# ---- SIGKILL


async def test_stores_killed_in_the_middle_of_batches_lose_nothing(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    chance = random.Random(1)
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 20, 0.02)
    stores = {name: fabric.start_store(name, TEST_SLOW="0.03") for name in "12"}
    async with pusher.running():
        for _ in range(2):
            for name in stores:
                # one batch in the middle of its handling, some time after the last death
                done = (await fabric.counts()).done

                async def busy(done: int = done) -> bool:
                    counts = await fabric.counts()
                    return counts.done > done + 50 and counts.in_flight > 0

                await eventually_async(busy)
                await asyncio.sleep(chance.uniform(0, 0.02))
                stores[name].kill()
                stores[name] = await asyncio.to_thread(fabric.start_store, name, TEST_SLOW="0.03")
    await fabric.kept(pusher.accepted)
    assert "unfinished on its desk" in stores["1"].text + stores["2"].text
    assert [store.stop() for store in stores.values()] == [0, 0]


@pytest.mark.parametrize("fsync", ["always", "no"])
@pytest.mark.parametrize(("size", "pause"), [(50, 0.001), (1, 0.03)], ids=["claims", "waits"])
async def test_redis_killed_again_and_again_loses_nothing(
    fabric_of: Callable[..., Fabric],
    redis_factory: Callable[..., RedisServer],
    expected_logs: Expect,
    fsync: str,
    size: int,
    pause: float,
) -> None:
    """While messages are pushed and claimed without pause, and while consumers wait for the next."""
    expected_logs(OUTAGE)
    chance = random.Random(size)
    # With everysec Redis writes nothing while an fsync is under way, and a busy machine may take long over one: what it
    # confirms meanwhile a SIGKILL loses. With `no` it writes before it confirms, as it does with everysec otherwise.
    server = redis_factory(appendonly="yes", appendfsync=fsync)
    fabric = fabric_of(server.url)
    pusher = Pusher(fabric, size, pause)
    store = fabric.start_store()
    async with pusher.running():
        for _ in range(6):
            accepted = len(pusher.accepted)
            await eventually_async(lambda accepted=accepted: len(pusher.accepted) > accepted)  # type: ignore[misc]
            await asyncio.sleep(chance.uniform(0, 0.2))
            server.kill()
            await asyncio.to_thread(server.start)
    await fabric.kept(pusher.accepted)
    assert (await fabric.counts()).accepted == len(pusher.accepted)  # what was repeated was not taken again
    assert store.stop() == 0
    assert "Traceback" not in store.text


async def test_a_stopped_store_is_replaced_and_refused_when_it_goes_on(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    # given a store that is stopped with a batch in its hands
    first = fabric.start_store("first", TEST_SILENCE="1", TEST_SLOW="0.3")
    await pusher.push(1)
    await fabric.drained()  # so the database is prepared: stopped within that, it would keep others out
    await pusher.push(10)
    await eventually_async(fabric.in_hand)
    first.signal(signal.SIGSTOP)
    # when another one finds it silent and does the work
    other = fabric.start_store("other", TEST_SILENCE="1")
    assert (await fabric.drained()).recovered > 0
    other.logged(r"store@first\S* is silent: its \d+ messages of store_put go back to the queue")
    # then the first is refused, and works on
    first.signal(signal.SIGCONT)
    first.logged("has lost its desk of store_put")
    assert other.stop() == 0
    await pusher.push(10)
    await fabric.kept(pusher.accepted)
    assert (await fabric.counts()).done == 21
    assert first.stop() == 0


async def test_a_message_that_kills_is_given_up_and_its_neighbours_are_done(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    await pusher.push(30)
    deaths = 0
    store = fabric.start_store(TEST_POISON="item13")

    async def given_up() -> bool:
        return (await fabric.counts()).dead > 0

    while not await given_up():
        if store.process.poll() is not None:
            deaths += 1
            assert deaths <= 3
            store = fabric.child("store", "--instance", "1", TEST_POISON="item13")
        await asyncio.sleep(0.01)
    counts = await fabric.drained()
    assert (counts.done, counts.dead, counts.difference()) == (29, 1, 0)
    assert fabric.stored() == pusher.accepted - {"item13"}
    assert deaths == 3
    assert store.stop() == 0


# ---- no room


async def test_a_full_redis_refuses_answers_and_is_drained(
    fabric_of: Callable[..., Fabric], redis_factory: Callable[..., RedisServer]
) -> None:
    server = redis_factory(appendonly="yes", maxmemory="6mb")
    fabric = fabric_of(server.url)
    accepted: set[str] = set()
    # given calls in the queue, and a Redis that is full of jobs
    async with Producer(fabric.broker, "test") as producer, Caller(fabric.broker, producer, "data", "test") as caller:
        link = fabric.broker.link("test")
        await link.join("store_notify", "group", 1_000_000)
        deadline = now_ms() + 20_000
        calls = [caller.call("store_get", Message("items.count", deadline=deadline)) for _ in range(20)]
        await eventually_async(lambda: all(each.taken for each in caller._all()))
        with contextlib.suppress(QueueFull):
            while True:
                id = f"item{len(accepted)}"
                await producer.push("store_put", item(id, "x" * 5000))
                accepted.add(id)
        # when a store comes
        store = fabric.start_store()
        # then the calls are answered, the jobs done and announced, and there is room again
        replies = await asyncio.gather(*calls)
        assert all(reply.body.isdigit() for reply in replies)
        await fabric.kept(accepted)
        assert (await fabric.counts("store_notify/group")).accepted == len(accepted)
        server.cli("DEL", "gorgon:{store_notify}/group")
        await producer.push("store_put", item("last"))
        await fabric.kept(accepted | {"last"})
        await link.close()
    assert store.stop() == 0
    assert "warning" not in store.text


# ---- away


async def test_a_broker_that_is_away_is_waited_for_and_logged_once(
    fabric_of: Callable[..., Fabric], durable: RedisServer, expected_logs: Expect
) -> None:
    expected_logs(OUTAGE)
    # given no Redis
    durable.kill()
    fabric = fabric_of(durable.url)
    store = fabric.start_store()
    store.logged("is away")
    # when it comes, goes and comes again
    durable.start()
    store.logged("is back after")
    durable.kill()
    store.logged("is away", 2)
    durable.start()
    store.logged("is back after", 2)
    # then the work is done, and the log has two lines for each outage
    pusher = Pusher(fabric, 1, 0)
    await pusher.push(10)
    await fabric.kept(pusher.accepted)
    assert store.stop() == 0
    assert len(re.findall(r"warning .*broker .* is away, waiting for it: ", store.text)) == 2
    assert len(re.findall(r"warning .*broker .* is back after [0-9.]+ s", store.text)) == 2


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_draining_while_the_broker_is_away_ends(
    fabric_of: Callable[..., Fabric], durable: RedisServer, busy: bool
) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    store = fabric.start_store(TEST_SLOW="0.8" if busy else "0", TEST_DRAIN="2" if busy else "15")
    if busy:
        await pusher.push(5)
        await eventually_async(fabric.stored)
    durable.kill()
    store.logged("is away")
    started = time.monotonic()
    assert store.stop() == 0
    assert time.monotonic() - started < 12
    # and what it could not settle is done by the next
    durable.start()
    store = fabric.start_store()
    await fabric.kept(pusher.accepted)
    assert store.stop() == 0


async def test_a_database_killed_during_writes_loses_nothing(
    fabric_of: Callable[..., Fabric], durable: RedisServer, mongod_factory: Callable[[], MongodServer]
) -> None:
    mongod = mongod_factory()
    fabric = fabric_of(durable.url, mongod.url + "kills")
    pusher = Pusher(fabric, 50, 0.005)
    store = fabric.start_store()
    async with pusher.running():
        for number in range(2):
            done = (await fabric.counts()).done

            async def going(done: int = done) -> bool:
                return (await fabric.counts()).done > done + 200

            await eventually_async(going)
            mongod.kill()
            await asyncio.to_thread(store.logged, "database .* is away", number + 1)
            await asyncio.to_thread(mongod.start)
            await asyncio.to_thread(store.logged, "database .* is back", number + 1)
    await fabric.kept(pusher.accepted)
    counts = await fabric.counts()
    assert (counts.retried, counts.recovered) == (0, 0)
    assert store.stop() == 0
    assert len(re.findall("database .* is away", store.text)) == 2


async def test_a_database_that_takes_no_writes_is_away_once_although_it_is_read(
    fabric_of: Callable[..., Fabric], durable: RedisServer, tmp_path: Path
) -> None:
    fabric = fabric_of(durable.url)
    store, pusher = fabric.start_store(), Pusher(fabric, 1, 0)
    await pusher.push(1)
    await fabric.drained()
    # given a database that another program has locked, when it is read while a write waits
    with contextlib.closing(sqlite3.connect(tmp_path / "items.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await pusher.push(1)
        await asyncio.to_thread(store.logged, "database .* is away")
        producer = Producer(fabric.broker, "reader")
        async with producer, Caller(fabric.broker, producer, "web_data", "reader") as caller:
            for _ in range(3):
                find = Message("items.find", {"filter": {"userid": 7}}, deadline=now_ms() + 10_000)
                assert (await caller.call("store_get", find)).error is None
        # then it is still away
        assert "is back" not in store.text
        other.execute("ROLLBACK")
    # and back when it has taken the write
    await asyncio.to_thread(store.logged, "database .* is back")
    await fabric.kept(pusher.accepted)
    assert store.stop() == 0
    assert len(re.findall("database .* is (?:away|back)", store.text)) == 2


async def test_a_database_whose_name_is_not_known_yet_is_waited_for(
    fabric_of: Callable[..., Fabric], durable: RedisServer
) -> None:
    fabric = fabric_of(durable.url, "mongodb+srv://db.nowhere.invalid/notes")
    store = fabric.start_store()
    await asyncio.to_thread(store.logged, "database .* is away, waiting for it: MongoDB's addresses could not be")
    assert store.stop() == 0


# ---- the end of a process


async def test_a_second_store_of_a_name_ends_the_first(fabric_of: Callable[..., Fabric], durable: RedisServer) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    first = fabric.start_store()
    second = fabric.start_store()
    # a loop in a thread failed: the process says why and ends, having drained the others
    assert first.process.wait(timeout=60) == 1
    assert "error   store@1 another process has taken over as store@1" in first.text
    assert "Traceback" not in first.text
    await pusher.push(10)
    await fabric.kept(pusher.accepted)
    assert second.stop() == 0


async def test_sigterm_drains(fabric_of: Callable[..., Fabric], durable: RedisServer) -> None:
    fabric = fabric_of(durable.url)
    pusher = Pusher(fabric, 1, 0)
    store = fabric.start_store(TEST_SLOW="2")
    # given a batch in hand, and more in the queue
    await pusher.push(1)
    await eventually_async(fabric.in_hand)
    await pusher.push(39)
    # when
    assert store.stop() == 0
    # then the batch in hand was settled, and no other is begun
    counts = await fabric.counts()
    assert (counts.done, counts.in_flight, counts.queued) == (1, 0, 39)
    assert fabric.stored() == {"item0"}
    assert "unfinished" not in fabric.start_store().text
    await fabric.kept(pusher.accepted)


def test_signals_of_the_operator_and_the_watchdog(
    fabric_of: Callable[..., Fabric], shared_redis: RedisServer, tmp_path: Path
) -> None:
    fabric = fabric_of(shared_redis.url)
    shared_redis.cli("CONFIG", "SET", "appendonly", "yes")
    file = tmp_path / "gorgond.conf"
    file.write_text("[log]\nlevel = info\n")
    systemd = Systemd(tmp_path)
    store = fabric.child("store", "--config", str(file), NOTIFY_SOCKET=str(systemd.path))
    systemd.hears("READY=1")
    # SIGHUP: a valid configuration is applied, an invalid one refused
    file.write_text("[log]\nlevel = warning\n")
    store.signal(signal.SIGHUP)
    systemd.hears("READY=1", 2)
    file.write_text("[log]\nlevel = loud\n")
    store.signal(signal.SIGHUP)
    store.logged("the new configuration is refused, the old one stays: .*gorgond.conf:2: .*level cannot be 'loud'")
    assert "has read its configuration again" not in store.text  # that is an info
    file.write_text("[log]\nlevel = info\n")
    store.signal(signal.SIGHUP)
    store.logged("has read its configuration again")
    # SIGABRT: every thread's stack
    store.signal(signal.SIGABRT)
    assert store.process.wait(timeout=60) == -signal.SIGABRT
    assert store.text.count('File "') > 10
    assert "Fatal Python error: Aborted" in store.text
    assert len(re.findall(r"(Current t|T)hread 0x", store.text)) >= 3  # main, and the consumers of two queues
    systemd.socket.close()
    shared_redis.cli("CONFIG", "SET", "appendonly", "no")


def test_a_wrong_configuration_is_exit_code_78(fabric_of: Callable[..., Fabric], shared_redis: RedisServer) -> None:
    fabric = fabric_of(shared_redis.url)
    for name, value in (("GORGOND_STORE_LANES", "many"), ("GORGOND_STORE_URL", "sqlite:///:memory:")):
        child = fabric.child("store", **{name: value})
        assert child.process.wait(timeout=60) == 78
        assert child.text.splitlines()[-1].startswith("gorgond: ")
        assert "Traceback" not in child.text


class Systemd:
    """The socket on which systemd hears its services."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def hears(self, word: str, times: int = 1) -> None:
        """Wait until it has heard that so often."""
        eventually(lambda: self.times(word) >= times)

    def times(self, word: str) -> int:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard += self.socket.recv(4096).decode().splitlines()
        return sum(line.startswith(word) for line in self.heard)


def test_systemd_is_told_everything_and_the_watchdog_only_while_consumers_turn(
    fabric_of: Callable[..., Fabric], durable: RedisServer, tmp_path: Path
) -> None:
    fabric = fabric_of(durable.url)
    systemd = Systemd(tmp_path)
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "4000000", "TEST_HANG": "item0"}
    # given a store that lives well
    store = fabric.start_store(**environ)
    systemd.hears("READY=1")
    systemd.hears("STATUS=consuming auth_store_get, auth_store_put, store_get, store_put, store_search: ")
    systemd.hears("WATCHDOG=1")
    store.signal(signal.SIGHUP)
    systemd.hears("RELOADING=1")
    systemd.hears("READY=1", 2)
    # when it waits for its broker, that is said and no reason to restart it
    durable.kill()
    systemd.hears("STATUS=waiting for broker")
    fed = systemd.times("WATCHDOG=1")
    systemd.hears("WATCHDOG=1", fed + 3)
    durable.start()
    store.logged("is back")
    # when one handler hangs, the watchdog is not fed any more, though the other loops turn
    asyncio.run(Pusher(fabric, 1, 0).push(1))
    store.logged(r"store_put\S* .*has not turned for \d+ s")
    fed = systemd.times("WATCHDOG=1")
    store.logged(r"store_put\S* .*has not turned for \d+ s", 3)
    assert systemd.times("WATCHDOG=1") == fed
    store.kill()

    store = fabric.start_store("2", **environ)
    systemd.hears("READY=1", 3)
    assert store.stop() == 0
    assert systemd.times("STOPPING=1") == 1
    systemd.socket.close()


# ---- the web


async def fetch(port: int, method: str, path: str, body: bytes = b"", prefer: str = "wait") -> tuple[int, Any]:
    """One request on a connection of its own: status and JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Prefer: {prefer}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    status, _, rest = answer.partition(b"\r\n")
    return int(status.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


async def test_no_request_fails_when_the_broker_dies_and_comes_back(
    fabric_of: Callable[..., Fabric], durable: RedisServer, expected_logs: Expect
) -> None:
    expected_logs(OUTAGE)
    fabric = fabric_of(durable.url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = fabric.start_store()
    web = fabric.child("web", GORGOND_WEB_PORT=str(port), GORGOND_WEB_ADDRESS="127.0.0.1")
    web.logged("started")
    stored: set[str] = set()
    statuses: dict[int, int] = {}
    failed: list[object] = []
    stopping = False

    async def client(number: int) -> None:
        while not stopping:
            if number % 2:
                status, body = await fetch(port, "GET", f"/info/{number - 1}")
                wanted = 200
            elif number % 4:
                status, body = await fetch(port, "POST", f"/info/{number}", b'{"title":"a note"}')
                wanted = 201
                stored.update(body.get("ids", ()))
            else:
                notes = b'[{"title":"one"},{"title":"two"}]'
                status, body = await fetch(port, "POST", f"/info/{number}", notes, "respond-async")
                wanted = 202
                stored.update(body.get("ids", ()))
            statuses[status] = statuses.get(status, 0) + 1
            if status != wanted:
                failed.append((status, body))
            await asyncio.sleep(0.02)

    clients = [asyncio.create_task(client(number)) for number in range(50)]
    try:
        for _ in range(2):
            before = sum(statuses.values())
            await eventually_async(lambda before=before: sum(statuses.values()) > before + 200)  # type: ignore[misc]
            durable.kill()
            await asyncio.to_thread(durable.start)
        before = sum(statuses.values())
        await eventually_async(lambda: sum(statuses.values()) > before + 200)
    finally:
        stopping = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
    assert failed == []
    await fabric.kept(stored)
    assert web.stop() == 0
    assert store.stop() == 0
