"""Real processes whose broker or database is away, or full: they wait, say so once, and lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gorgond.redpill import Caller, Message, Producer, QueueFull, now_ms
from tests.conftest import MongodServer, RedisServer
from tests.integration.killing import Fabric, Pusher, item
from tests.waiting import eventually_async
from tools.speed.ports import free_port

OUTAGE = r"is away, waiting for it|is back after"


Expect = Callable[[str], None]


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
    # given a store that may wait for ever, unless it has something in hand
    store = fabric.start_store(TEST_SLOW="0.8" if busy else "0", TEST_DRAIN="2" if busy else "3600")
    if busy:
        await pusher.push(5)
        await eventually_async(fabric.stored)
    durable.kill()
    store.logged("is away")
    assert store.stop() == 0
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
    port = free_port()
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
