"""Queues on a Redis of their own, at work: the website, the operator, kills of either Redis, and a queue that moves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gorgond.chaos.servers import Server
from gorgond.config import load
from gorgond.redpill import Broker, Counts, connect
from gorgond.service.fabric import connect_fabric
from gorgond.service.routing import agree
from tests.conftest import RedisServer
from tests.integration.killing import Child, Fabric, Pusher
from tests.integration.upping import Running
from tests.programs import asked, ended, started
from tests.waiting import eventually, eventually_async
from tools.speed.ports import free_port

JOBS = {"Content-Type": "application/json", "Prefer": "respond-async"}
MOVED = "store_put store_notify"


@pytest.fixture
def other(redis_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_factory(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")


def route_to(other: RedisServer, queues: str = MOVED) -> str:
    return " ".join(f"{queue}={other.url}" for queue in queues.split())


@contextmanager
def up(directory: Path, route: str) -> Iterator[Running]:
    """A `gorgond up` with these routes."""
    port, output = free_port(), directory / "output"
    flags = ("--no-provider", "--web", "1", "--stores", "1", "--port", str(port), "--stats-port", "0")
    variables = {"GORGOND_BROKER_ROUTE": route, "GORGOND_WEB_DEADLINE": "3s"}
    with TemporaryDirectory(prefix="gorgond-") as data:
        made = Running(Path(data), output, output, port)
        with started("up", "--data", data, *flags, output=output, **variables) as process:
            eventually(made.up)
            yield made
            assert ended(process) == 0


def post(site: Running, title: str, headers: dict[str, str] = JOBS) -> tuple[int, list[str], str]:
    """Hand in a note: the status, its ids, and when to try again."""
    request = Request(f"http://localhost:{site.port}/info/5", json.dumps({"title": title}).encode(), headers)
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read()).get("ids", []), ""
    except HTTPError as refused:
        return refused.code, [], refused.headers.get("Retry-After", "")
    except (OSError, HTTPException):
        return 0, [], ""


def stored(site: Running, id: str) -> bool:
    return asked(f"http://localhost:{site.port}/items/{id}") is not None


def done(server: RedisServer, queue: str) -> int:
    topic, slash, group = queue.partition("/")
    return int(server.cli("HGET", f"gorgon:{{{topic}}}{slash}{group}:counts", "done") or 0)


def kill(site: Running, name: str) -> None:
    """SIGKILL of one of its processes, which comes back."""
    before = site.processes()[name][0]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: site.processes()[name][0] not in (0, before))


def test_what_is_routed_goes_over_its_redis_and_the_operator_sees_all(tmp_path: Path, other: RedisServer) -> None:
    with up(tmp_path, route_to(other)) as site:
        main = Server("broker", f"unix://{site.data}/broker.sock")
        # when notes are handed in as calls and as jobs
        assert post(site, "a call", {"Content-Type": "application/json"})[0] == 201
        status, [job], _ = post(site, "a job")
        assert status == 202
        eventually(lambda: stored(site, job))
        # then they went over the other Redis, and so did the events of the changes
        eventually(lambda: done(other, "store_put") >= 2 and done(other, "store_notify/journal") >= 2)
        assert main.count_accepted("store_put") == main.count_accepted("store_notify/journal") == 0
        # and the operator sees that, all balanced
        eventually(lambda: site.ctl("status")[0] == 0)
        rows = {row["name"]: row for row in site.picture()["queues"]}
        assert rows["store_put"]["done"] >= 2
        assert site.picture()["ledger"]["difference"] == 0
        assert [row["queues"] for row in site.picture()["redis"]] == [[], [], ["store_notify", "store_put"]]
        code, said = site.ctl("route")
        assert code == 0
        assert said.endswith("all hosts have agreed on it\n")
        assert any(line.split() == ["store_put", str(other.socket), "0"] for line in said.splitlines()), said
        # when a queue is paused, then wherever some of it may lie, and what waits is found by its id
        assert site.ctl("pause", "store_put")[0] == 0
        [late] = post(site, "late")[1]
        code, said = site.ctl("trace", late)
        assert (code, "store_put" in said) == (0, True)
        assert site.ctl("resume", "store_put")[0] == 0
        eventually(lambda: stored(site, late))
        # a dead letter there has a name of its own
        other.cli("RPUSH", "gorgon:{store_put}", "no message")
        other.cli("HINCRBY", "gorgon:{store_put}:pushed", "accepted", "1")
        letter = f"1@{other.socket}"
        eventually(lambda: letter in site.ctl("dead", "list", "store_put")[1])
        assert "no message, but 10 bytes" in site.ctl("dead", "show", "store_put", letter)[1]
        assert site.ctl("dead", "drop", "store_put", letter)[1] == "1 dead letter of store_put deleted\n"
        eventually(lambda: site.ctl("status")[0] == 0)


def test_without_its_redis_only_what_is_routed_stands_still(tmp_path: Path, other: RedisServer) -> None:
    with up(tmp_path, route_to(other)) as site:
        [before] = post(site, "before")[1]
        eventually(lambda: stored(site, before))
        # when the other Redis is gone
        other.kill()
        # then who hands in a job is told to come again, and all others are served
        assert post(site, "meanwhile") == (503, [], "2")
        assert asked(f"http://localhost:{site.port}/readyz") is not None
        assert stored(site, before)
        # and the verdict says which, and nothing of instances that hang
        wanted = f"broker {other.socket} of store_notify, store_put has been away for"
        said = eventually(lambda: verdict if wanted in (verdict := site.verdict()) else "")
        assert said.startswith("▲ Degraded: broker ")
        assert "silent" not in said
        # when it is back, all is well
        other.start()
        [after] = eventually(lambda: post(site, "after")[1])
        eventually(lambda: stored(site, after))
        eventually(lambda: site.ctl("status")[0] == 0)
        # when it has lost what it had, then that is told of this one, until somebody takes note
        other.cli("FLUSHALL")
        wanted = f"broker {other.socket} has less than it had accepted: "
        assert "of store_put" in eventually(lambda: verdict if wanted in (verdict := site.verdict()) else "")
        assert site.ctl("forget", str(other.socket))[1] == f"{other.socket} is missed no more\n"
        eventually(lambda: wanted not in site.verdict())


def test_either_redis_killed_again_and_again_loses_nothing(tmp_path: Path, other: RedisServer) -> None:
    accepted: list[str] = []
    over = threading.Event()

    def load(site: Running) -> None:
        while not over.is_set():
            accepted.extend(post(site, "under load")[1])

    with up(tmp_path, route_to(other)) as site:
        clients = [threading.Thread(target=load, args=(site,)) for _ in range(4)]
        for each in clients:
            each.start()
        for _ in range(4):
            # when the other Redis is killed under load, and then the first one
            number = len(accepted)
            eventually(lambda number=number: len(accepted) > number + 20)  # type: ignore[misc]
            other.kill()
            other.start()
            number = len(accepted)
            eventually(lambda number=number: len(accepted) > number + 20)  # type: ignore[misc]
            kill(site, "broker")
        over.set()
        for each in clients:
            each.join()
        # then all that was accepted is there, and the books balance
        for id in accepted:
            eventually(lambda id=id: stored(site, id))  # type: ignore[misc]
        eventually(lambda: site.ctl("status")[0] == 0)
        assert site.picture()["ledger"]["difference"] == 0
        assert len(accepted) > 160


async def test_a_queue_moves_under_load_and_back(
    fabric_of: Callable[..., Fabric], redis_factory: Callable[..., RedisServer]
) -> None:
    main, other = (redis_factory(appendonly="yes", appendfsync="always") for _ in range(2))
    fabric = fabric_of(main.url)
    there, back = f"store_put={other.url}", f"store_put=main store_put={other.url}"
    pushers: list[Pusher] = []

    def pusher(to: Broker) -> Pusher:
        fabric.broker = to
        pushers.append(Pusher(fabric, 20, 0.002))
        pushers[-1].pushed = len(pushers) * 10**6  # ids of its own
        return pushers[-1]

    async def move(route: str, was: str, old: Child, instance: str) -> Child:
        """As docs/operations.md has it: agree, then restart; who pushes goes on meanwhile."""
        moved = connect_fabric(load("/dev/null", {}, {"broker.url": main.url, "broker.route": route}))
        await agree(moved)
        store = await asyncio.to_thread(fabric.start_store, instance, GORGOND_BROKER_ROUTE=route)
        new = pusher(moved.carrier("store_put", moved.durable))
        async with new.running():
            await eventually_async(lambda: len(new.accepted) > 500)
            assert await asyncio.to_thread(old.stop) == 0
        # one that routes as before does not start
        child = fabric.child("store", "--instance", f"late{instance}", GORGOND_BROKER_ROUTE=was)
        assert await asyncio.to_thread(child.process.wait, 60) == 78
        assert "the hosts have agreed on" in child.text
        return store

    # given a queue at the first Redis, and who pushes to it
    first = await asyncio.to_thread(fabric.start_store, "1")
    before = pusher(fabric.broker)
    async with before.running():
        await eventually_async(lambda: len(before.accepted) > 500)
        # when it moves, and somebody who was not told yet pushes to the old place still
        second = await move(there, "", first, "2")
    await eventually_async(lambda: settled(main))
    # and when it moves back
    await move(back, there, second, "3")
    await eventually_async(lambda: settled(other))
    await eventually_async(lambda: settled(main))
    # then each was where it was pushed, and nothing is lost or done twice
    assert (await counts(other)).done == len(pushers[1].accepted)
    assert (await counts(main)).done == len(pushers[0].accepted) + len(pushers[2].accepted)
    assert fabric.stored() == set().union(*(each.accepted for each in pushers))


async def counts(server: RedisServer) -> Counts:
    link = connect(server.url).link("test")
    try:
        return (await link.counts(["store_put"]))[0]
    finally:
        await link.close()


async def settled(server: RedisServer) -> bool:
    """Whether nothing is left to do there; the books balance, and nothing was given up."""
    found = await counts(server)
    assert (found.difference(), found.dead) == (0, 0), found
    return not (found.queued or found.in_flight or found.delayed)
