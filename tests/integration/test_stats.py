"""The stats server on a real fabric: its numbers are what was sent, and it says what hurts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gorgond.redpill import Consumer, Dead, Message, Producer, connect
from tests.conftest import RedisServer
from tests.integration.watched import PASSWORD, Fabric, fabric_in
from tests.neighbours import Neighbours
from tests.programs import asked, gorgond
from tests.waiting import eventually, eventually_async
from tools.speed.ports import free_port


@pytest.fixture
def fabric(tmp_path: Path, redis_factory: Callable[..., RedisServer]) -> Iterator[Fabric]:
    """One that is well, with a stats server, a web server and a store."""
    with fabric_in(tmp_path, redis_factory) as fabric:
        yield fabric


def all_started(fabric: Fabric) -> dict[str, subprocess.Popen[bytes]]:
    roles = {role: fabric.start(role) for role in ("stats", "store", "web")}
    eventually(fabric.well)
    return roles


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """What Prometheus reads: value by name, role and operation."""
    return {
        (sample.name, sample.labels.get("role", ""), sample.labels.get("operation", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def told(base: str) -> dict[str, float]:
    """How many of each operation Prometheus reads."""
    found = samples(asked(f"{base}/metrics") or b"").items()
    return {
        f"{role} {what}": n for (name, role, what), n in found if name == "gorgond_operation_duration_seconds_count"
    }


def test_the_numbers_are_what_was_sent(fabric: Fabric) -> None:
    # given two stats servers
    roles = all_started(fabric)
    other = f"http://127.0.0.1:{free_port()}"
    fabric.start("stats", "--instance", "2", GORGOND_STATS_PORT=other.rpartition(":")[2])
    eventually(lambda: len(fabric.picture(other).get("instances", ())) == 4)
    # when requests are sent, some of which fail
    body = b'[{"title":"a"},{"title":"b"}]'
    for number in range(150):
        assert asked(f"{fabric.web}/info/{number}")
        if number % 3 == 0:
            assert asked(f"{fabric.web}/info/{number}", body)
        assert asked(f"{fabric.web}/nothing") is None
    expected = {
        "web none": 150,
        "web GET /info/{uid}": 150,
        "web POST /info/{uid}": 50,
        "store store_get items.find": 150,
        "store store_put items.insert": 50,
        "store store_notify items.added": 100,
    }
    # and the web server ends a moment later
    roles["web"].send_signal(signal.SIGTERM)
    assert roles["web"].wait(timeout=60) == 0
    # then both tell so many, no more and no less, to Prometheus' own parser and in their history
    for base in (fabric.stats, other):
        eventually(lambda: expected.items() <= told(base).items())  # noqa: B023
        for series, number in {**expected, "web": 350}.items():
            assert fabric.count(series, base) == number
    assert fabric.count("web", span="month") == fabric.count("web", span="year") == 350
    # the picture is made once a second
    eventually(lambda: fabric.picture()["spans"]["hour"]["count"] == 350)
    span = fabric.picture()["spans"]["hour"]
    assert span["errors"] == 0
    assert 0 < span["p50"] <= span["p95"] <= span["p99"] <= span["max"]
    # and the heat map has each of them in one cell
    heat = json.loads(asked(f"{fabric.stats}/api/heat.json?span=hour&of={quote('web GET /info/{uid}')}") or b"")
    assert sum(sum(column["counts"]) for column in heat["columns"]) == 150
    assert set(expected) <= set(heat["operations"])
    # and the ledger balances, and the end of the web server is told
    picture = fabric.picture()
    assert picture["ledger"]["difference"] == 0
    assert picture["durability"] == "always"
    eventually(lambda: fabric.says("Down: no web server is up"))
    assert any(mark["kind"] == "stop" and "web@1" in mark["text"] for mark in fabric.picture()["marks"])


def test_the_verdict_says_which_store_hangs_and_what_piles_up(fabric: Fabric) -> None:
    roles = all_started(fabric)
    # a store that hangs
    os.kill(roles["store"].pid, signal.SIGSTOP)
    eventually(lambda: fabric.says("store@1", "has been silent"))
    os.kill(roles["store"].pid, signal.SIGCONT)
    eventually(fabric.well)
    # a backlog that nobody works off
    roles["store"].send_signal(signal.SIGTERM)
    assert roles["store"].wait(timeout=60) == 0
    eventually(lambda: fabric.says("Down: no store server is up"))

    async def push() -> None:
        async with Producer(connect(fabric.durable.url), "test") as producer:
            await producer.push("store_put", *[Message("items.insert", {"documents": [{}]}) for _ in range(1234)])

    asyncio.run(push())
    eventually(lambda: fabric.says("store_put backlog 1,23", "nobody consumes it"))
    # and it is over when a store has done it all
    fabric.start("store")
    eventually(fabric.well)


def test_the_verdict_says_which_broker_is_away(fabric: Fabric) -> None:
    all_started(fabric)
    for server in (fabric.durable, fabric.calls):
        server.kill()
        eventually(lambda: fabric.says("Down: broker", str(server.socket)))  # noqa: B023
        server.start()
        eventually(fabric.well)
    ends = "The outage is over"
    eventually(lambda: [mark["text"] for mark in fabric.picture()["marks"]].count(ends) == 2)


def test_a_restart_loses_nothing(fabric: Fabric) -> None:
    # given a stats server that has ended in good order, and somebody who hears of every change
    roles = all_started(fabric)
    fabric.durable.cli("SADD", "gorgon:{store_notify}:groups", "test")
    fabric.durable.cli("HSET", "gorgon:{store_notify}:limits", "test", "1000")
    for _ in range(100):
        assert asked(f"{fabric.web}/info/1")
    eventually(lambda: fabric.today() == 100)
    before = fabric.picture()
    roles["stats"].send_signal(signal.SIGTERM)
    assert roles["stats"].wait(timeout=60) == 0
    # when another takes over, and then one that takes over from a killed one
    for _ in range(2):
        successor = fabric.start("stats")
        # then all is there, as it was
        eventually(lambda: fabric.today() == 100)
        after = fabric.picture()
        assert after["spans"]["day"]["max"] == before["spans"]["day"]["max"]
        assert set(map(str, before["marks"])) <= set(map(str, after["marks"]))
        successor.kill()
        successor.wait(timeout=60)
    # and its own books are nobody's news
    assert fabric.durable.cli("LLEN", "gorgon:{store_notify}/test") == "0"


def status(method: str, url: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any], str]:
    """An answer's status, JSON and cookie."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    data = None if method == "GET" else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json", **named}, method=method)
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"{}"), answer.headers.get("Set-Cookie", "")
    except HTTPError as error:
        return error.code, json.loads(error.read() or b"{}"), ""


def test_dead_letters_are_the_operators_business(fabric: Fabric) -> None:
    # given a dead letter
    all_started(fabric)
    fabric.durable.cli("RPUSH", "gorgon:{store_put}", "no message")
    fabric.durable.cli("HINCRBY", "gorgon:{store_put}:counts", "accepted", "1")
    eventually(lambda: fabric.says("store_put: 1 new dead letter in the last minute"))
    url = f"{fabric.stats}/api/dead/store_put"
    # then nobody but the operator sees it
    assert status("GET", url)[0] == 401
    assert status("POST", f"{url}/1/drop")[0] == 401
    operator = {"Authorization": f"Bearer {PASSWORD}"}
    code, found, _ = status("GET", url, **operator)
    (letter,) = found["letters"]
    assert (code, letter["raw"], letter["broker"], found["more"]) == (200, "no message", "durable", False)
    assert "undecodable" in letter["reason"]
    # and puts it back, whereupon it dies again
    assert status("POST", f"{url}/{letter['number']}/requeue?broker=durable", **operator)[0] == 204
    (again,) = eventually(lambda: status("GET", url, **operator)[1]["letters"])
    assert again["number"] > letter["number"]
    # and with a session, drops it
    ours = {"X_Gorgond": "stats"}
    assert status("POST", f"{fabric.stats}/api/login", {"password": "wrong"}, **ours)[0] == 403
    code, _, given = status("POST", f"{fabric.stats}/api/login", {"password": PASSWORD}, **ours)
    session = {"Cookie": given.partition(";")[0]}
    assert code == 204
    assert status("GET", f"{fabric.stats}/api/session", **session)[1] == {"operator": True}
    drop = f"{url}/{again['number']}/drop"
    assert status("POST", drop, **session)[0] == 403
    assert status("POST", drop, **session, **ours)[0] == 204
    assert status("POST", drop, **session, **ours)[0] == 404
    assert status("GET", f"{fabric.stats}/api/dead/no%20name", **session)[0] == 400
    assert status("POST", f"{fabric.stats}/api/logout", **session, **ours)[0] == 204


def test_many_dead_letters_are_looked_through_and_settled_together(
    fabric: Fabric, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("gives up")
    # given more than one answer holds, and a queue that nobody takes them from again
    fabric.start("stats")
    eventually(lambda: asked(f"{fabric.stats}/healthz"))
    ids = [f"1a20aa6bf76000{number:04}" for number in range(130)]

    async def die() -> None:
        async def give_up(messages: Sequence[Message]) -> list[Dead]:
            return [Dead("nobody can") for _ in messages]

        async with Producer(connect(fabric.durable.url), "test") as producer:
            await producer.push("store_put", *(Message("items.nonsense", {}, id=id) for id in ids))
        consumer = Consumer(connect(fabric.durable.url), "store_put", "test", give_up)
        running = asyncio.create_task(consumer.run())
        link = connect(fabric.durable.url).link("test")

        async def all_dead() -> bool:
            return (await link.counts(["store_put"]))[0].dead == len(ids)

        await eventually_async(all_dead)
        await link.close()
        consumer.stop()
        await running

    asyncio.run(die())
    operator = {"Authorization": f"Bearer {PASSWORD}"}
    url = f"{fabric.stats}/api/dead/store_put"
    # then they come a hundred at a time, each once
    eventually(lambda: status("GET", url, **operator)[1].get("more"))
    first = status("GET", url, **operator)[1]
    second = status("GET", f"{url}?after={first['next']}", **operator)[1]
    assert [each["id"] for each in first["letters"] + second["letters"]] == ids
    assert (first["more"], second["more"]) == (True, False)
    # and those of an id alone
    assert [each["id"] for each in status("GET", f"{url}?id={ids[99]}", **operator)[1]["letters"]] == [ids[99]]
    # and all as lines
    with urlopen(Request(f"{url}/letters.jsonl", headers=operator), timeout=60) as answer:
        assert [json.loads(line)["id"] for line in answer.read().splitlines()] == ids
    # when some are put back, and the others dropped, then it is so many, the oldest first
    assert status("POST", f"{url}/requeue?limit=25", **operator)[1] == {"done": 25}
    assert status("GET", url, **operator)[1]["letters"][0]["id"] == ids[25]
    assert status("POST", f"{url}/drop", **operator)[1] == {"done": 105}
    assert fabric.durable.cli("LLEN", "gorgon:{store_put}") == "25"
    # and nobody but the operator does so, nor with names that are none
    assert status("POST", f"{url}/drop")[0] == 401
    assert status("POST", f"{fabric.stats}/api/queues/store_put/pause")[0] == 401
    assert status("POST", f"{fabric.stats}/api/queues/nosuch/pause", **operator)[0] == 404
    assert status("GET", f"{url}?after=x7", **operator)[0] == 400
    # when the queue is paused and resumed, then that is said
    for deed, paused in (("pause", True), ("resume", False)):
        assert status("POST", f"{fabric.stats}/api/queues/store_put/{deed}", **operator)[1] == {"paused": paused}
        eventually(lambda: ("store_put", paused) in [(it["name"], it["paused"]) for it in fabric.picture()["queues"]])  # noqa: B023


def test_marks_of_others_are_shown(fabric: Fabric) -> None:
    # given a stats server that hears what is said, itself at least
    fabric.start("stats")
    eventually(lambda: fabric.picture().get("instances"))
    fabric.mark("kill store@1")
    eventually(lambda: {"drill"} & {each["kind"] for each in fabric.picture()["marks"]})


def pictures(viewer: socket.socket) -> bytes:
    """What a viewer gets until it has three pictures."""
    heard = b""
    while heard.count(b"event: picture") < 3:
        heard += viewer.recv(1 << 20)
    return heard


def test_fifty_viewers_cost_next_to_nothing(fabric: Fabric) -> None:
    # given 50 viewers who read all they get
    roles = all_started(fabric)
    process = psutil.Process(roles["stats"].pid)

    def cost(seconds: float) -> float:
        """The share of a core that the stats server uses for so long."""
        began, before = time.monotonic(), process.cpu_times()
        eventually(lambda: time.monotonic() - began > seconds)
        after = process.cpu_times()
        return (after.user + after.system - before.user - before.system) / (time.monotonic() - began)

    alone = cost(4)
    address = ("127.0.0.1", int(fabric.stats.rpartition(":")[2]))
    with ExitStack() as closing:
        viewers = [closing.enter_context(socket.create_connection(address, timeout=60)) for _ in range(50)]
        for viewer in viewers:
            viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with Neighbours() as neighbours:
            watched = cost(4)
            allowed = 0.1 * neighbours.slowdown
        heard = [pictures(viewer) for viewer in viewers]
    # then each has got several pictures, which are the same, and the server has next to no more to do
    assert all(part.startswith(b"HTTP/1.1 200 OK") for part in heard)
    assert all(json.loads(part.partition(b"data: ")[2].split(b"\n")[0])["verdict"] for part in heard)
    print(f"a stats server uses {alone:.1%} of a core alone, {watched:.1%} with 50 viewers")
    assert watched - alone < allowed


def test_an_address_that_others_reach_needs_a_password() -> None:
    done = gorgond("stats", "--address", "0.0.0.0", "--broker", "memory://", GORGOND_STATS_PORT="0")
    assert done.returncode == 78
    assert "set [stats] password too" in done.stderr
