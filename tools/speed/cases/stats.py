"""stats: what it costs that every instance tells what it does, and that 50 people look, all of it under full load.

The case does not take the cost of measuring for an instance from the difference of two runs, which is smaller than what
runs differ by. It measures the cost of each part by itself: counting requests, messages and batches, and once a second
making, writing and publishing a snapshot as large as those that the instances send.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gorgond.config import load
from gorgond.redpill import Listener, Message, Producer, connect
from gorgond.service.fabric import connect_fabric
from gorgond.service.metrics import Metrics, upper_edge
from tools.speed.echo import Echo
from tools.speed.measure import Answers, ask
from tools.speed.ports import free_port
from tools.speed.processes import Process
from tools.speed.report import Result, Row, rows_of_answers
from tools.speed.site import Layout
from tools.speed.stage import Stage, say

PATH = "/info/UID/10"
VIEWERS = 50
TIMES = 2000  # that a part is done to see what it costs
ROLES = ("web", "store")
PARTS = ("measuring_percent", "counting_percent", "telling_us_per_s")


def stats(stage: Stage) -> Result:
    """Shares of the CPU, in percent: of what an instance uses, and of a core."""
    shares: dict[str, list[float]] = {f"{role}_{part}": [] for role in ROLES for part in PARTS}
    cores: dict[str, list[float]] = {"alone": [], "watched": []}
    answers = []
    with stage.site(Layout(web=1, stores=1)) as site:
        port = free_port()
        server = site.gorgond("stats", "--port", str(port), "--open", "local")
        ask(site.url, PATH, stage.scale.users, 1, [site.crew])
        for number in range(stage.scale.rounds):
            say(f"stats: round {number + 1} of {stage.scale.rounds}")
            before = asyncio.run(_next_snapshots(site.calls))
            alone, share = _ask(
                server, lambda: ask(site.url, PATH, stage.scale.users, stage.scale.seconds, [site.crew])
            )
            answers.append(alone)
            cores["alone"].append(share)
            after = asyncio.run(_next_snapshots(site.calls))
            for role in ROLES:
                for part, share in zip(PARTS, _shares(before[role], after[role], site.calls), strict=True):
                    shares[f"{role}_{part}"].append(share)
            with _viewers(port):
                _, share = _ask(
                    server, lambda: ask(site.url, PATH, stage.scale.users, stage.scale.seconds, [site.crew])
                )
            cores["watched"].append(share)
    more = [watched - alone for watched, alone in zip(cores["watched"], cores["alone"], strict=True)]
    rows = [Row(name, values, "≤ 1" if "measuring" in name else "") for name, values in shares.items()]
    rows += [Row("server_percent_of_a_core", cores["alone"]), Row("viewers_percent_of_a_core", more, "≤ 10")]
    return Result("stats", [*rows, *rows_of_answers(answers)], {"viewers": VIEWERS})


def _ask(server: Process, ask: Callable[[], Answers]) -> tuple[Answers, float]:
    """A round of asking, and the percent of a core that the stats server used meanwhile."""
    before, began = server.cpu(), time.monotonic()
    answers = ask()
    return answers, (server.cpu() - before) / (time.monotonic() - began) * 100


async def _next_snapshots(broker: str) -> Mapping[str, Mapping[str, Any]]:
    """The next snapshot of each role."""
    found: dict[str, Mapping[str, Any]] = {}

    def hear(_: str, event: Message) -> None:
        found[event.args["role"]] = event.args
        if set(found) >= set(ROLES):
            listener.stop()

    listener = Listener(connect(broker, durable=False), ["stats"], "bench", hear)
    await listener.run()
    return found


def _shares(before: Mapping[str, Any], after: Mapping[str, Any], broker: str) -> tuple[float, float, float]:
    """Percent of the CPU that an instance used between two snapshots which went into measuring, of it into counting,
    which grows with the load, and µs a second for telling, which do not."""
    requests, messages, batches = (late - early for early, late in zip(_work(before), _work(after), strict=True))
    counting = (requests + batches) * _cost(_count) + messages * _cost(_note)
    telling, used = _telling(after, broker), (after["cpu"] - before["cpu"]) * 1e6
    whole = counting + (after["uptime"] - before["uptime"]) * telling
    return whole / used * 100, counting / used * 100, telling


def _work(snapshot: Mapping[str, Any]) -> tuple[int, int, int]:
    """Requests, messages and batches that were counted."""
    requests = sum(number for name, number in snapshot["counters"].items() if name.startswith("http "))
    consumers = snapshot["queues"].values()
    return (
        requests,
        sum(consumer["handled"] for consumer in consumers),
        sum(consumer["batches"] for consumer in consumers),
    )


_METRICS = Metrics()
_SUMS = {"items.find": [0, 0, 0]}


def _count(number: int) -> None:
    """Count as a web server does for each request, and a consumer for each batch."""
    _METRICS.count("http 200")
    _METRICS.measure("GET /info/{uid}", 1, 0, 2000, number / 1e6)


def _note(number: int) -> None:
    """Note as a consumer does for each message."""
    figures = _SUMS.get("items.find")
    if figures is not None:
        figures[0] += 1
        figures[2] += number
        figures[1] += 0
        figures[2] += number


def _cost(do: Callable[[int], None]) -> float:
    """µs for doing it once."""
    began = time.process_time()
    for number in range(100 * TIMES):
        do(number)
    return (time.process_time() - began) / (100 * TIMES) * 1e6


def _telling(snapshot: Mapping[str, Any], broker: str) -> float:
    """µs for making a snapshot such as this one, writing and publishing it."""
    config = load(os.devnull, {}, {"broker.url": "memory://bench"})
    service = Echo(config, connect_fabric(config), "bench")
    for name, operation in snapshot["operations"].items():
        for bucket, count in operation["buckets"].items():
            service.metrics.measure(name, count, 0, 0, upper_edge(int(bucket)) / 1e6)

    async def tell() -> float:
        async with Producer(connect(broker, durable=False), "bench") as producer:
            began = time.process_time()
            for _ in range(TIMES):
                await producer.publish("bench", Message("stats.second", service.snapshot()))
            return (time.process_time() - began) / TIMES * 1e6

    return asyncio.run(tell())


@contextmanager
def _viewers(port: int) -> Iterator[None]:
    """Those who look meanwhile; what they are sent stays in their sockets."""
    viewers = [socket.create_connection(("127.0.0.1", port)) for _ in range(VIEWERS)]
    try:
        for viewer in viewers:
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            viewer.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield
    finally:
        for viewer in viewers:
            viewer.close()
