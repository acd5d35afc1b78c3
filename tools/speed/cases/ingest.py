"""ingest: a provider pushes as fast as it can, stores write all of it to mongod, journaled.

Without an index for searches. `insert_many_per_s` are the same notes put into the same mongod by pymongo alone, in the
same round. `searched` is ingest of fewer items into an empty database that indexes their words, as a part of ingest
into one that does not: for MongoDB, and for SQLite with one store. `searched_cpu` is what a note costs without that
index, as a part of what it costs with it, all processes together; it says more on a machine that has other work.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tools.speed.flow import Flow, wait_until_settled
from tools.speed.measure import cpu_us
from tools.speed.processes import PATIENCE, BenchError
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.site import Layout, Site
from tools.speed.stage import Stage, say

QUEUE_LIMIT = 100_000  # the default of [broker] queue_limit
SEED = 1  # of what is pushed
FLAT_OUT = 1_000_000  # items a second that no provider reaches
SLOWEST = 500  # items a second; below that something is wrong
SEARCHED = 0.25  # of the items, where they are indexed for searches


def ingest(stage: Stage, brokers: str = "two") -> Result:
    """Items a second from the first accepted until all are stored, none missing; the deepest that the queue was."""
    number, tried = stage.scale.ingest, stage.scale.stores
    flows: dict[int, list[Flow]] = {stores: [] for stores in tried}
    cpu: dict[int, list[dict[str, float]]] = {stores: [] for stores in tried}
    alone: list[float] = []
    searched: list[tuple[float, float]] = []
    sqlite: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(stage.scale.rounds):
        say(f"ingest, {brokers}: round {turn + 1} of {stage.scale.rounds}")
        for stores in tried:
            flow, used = _round(stage, brokers, stores)
            flows[stores].append(flow)
            cpu[stores].append(used)
        alone.append(_measure_insert(stage))
        searched.append(_measure_index(stage, brokers, tried[-1]))
        for search, found in sqlite.items():
            found.append(_on_sqlite(stage, brokers, search))
    speeds = {stores: [number / flow.seconds for flow in flows[stores]] for stores in tried}
    best = max(tried, key=lambda stores: median(speeds[stores]))
    sums = [sum(each.values()) for each in cpu[best]]
    rows = [
        Row("per_s", speeds[best], "≥ 15000", "ingest_per_s"),
        Row("of_insert_many", _ratios(speeds[best], alone), "≥ 0.45", "ingest_ratio"),
        Row("insert_many_per_s", alone),
        Row("cpu_us", sums, "≤ 130", "ingest_cpu_us"),
        Row("queue_deepest", [flow.deepest for flow in flows[best]], f"≤ {QUEUE_LIMIT}"),
        *rows_of_cpu(cpu[best]),
        *(Row(f"stores_{stores}_per_s", speeds[stores]) for stores in tried),
        Row("searched", _ratios([per_s for per_s, _ in searched], speeds[tried[-1]]), "≥ 0.6"),
        Row("searched_per_s", [per_s for per_s, _ in searched]),
        Row("searched_cpu", _ratios([sum(each.values()) for each in cpu[tried[-1]]], [used for _, used in searched])),
        Row("sqlite_searched", _ratios(sqlite[True], sqlite[False]), "≥ 0.6"),
        Row("sqlite_per_s", sqlite[False]),
    ]
    return Result("ingest", rows, {"brokers": brokers, "stores": best, "items": number, "lost": 0})


def _round(stage: Stage, brokers: str, stores: int) -> tuple[Flow, dict[str, float]]:
    number = stage.scale.ingest
    with stage.site(Layout(web=0, stores=stores), brokers) as site:
        crews = [site.crew, stage.mongod]
        before = [crew.cpu() for crew in crews]
        flow = _measure_push(site, number, stage.scale.users)
        used = cpu_us(before, [crew.cpu() for crew in crews], number)
    with stage.items() as items:
        stored = items.count_documents({"_id": {"$regex": f"^random:{SEED}-"}})
    stage.remove(SEED)
    if stored != number:
        raise BenchError(f"{number - stored} of {number} items were lost: {flow.counts}")
    return flow, used


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """In each round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def _measure_insert(stage: Stage) -> float:
    """Items a second that pymongo alone puts there."""
    number = stage.scale.ingest
    with stage.crew() as crew:
        inserting = crew.python(
            "insert_many", "tools.speed.insert", stage.store, str(number), str(stage.scale.users), str(SEED)
        )
        told: dict[str, float] = json.loads(inserting.output(PATIENCE + number / SLOWEST))
    stage.remove(SEED)
    return number / told["seconds"]


def _on_sqlite(stage: Stage, brokers: str, search: bool) -> float:
    """Items a second into a file of SQLite."""
    number = round(stage.scale.ingest * SEARCHED)
    with stage.crew() as crew:
        site = Site(crew, Layout(web=0, stores=1), brokers, f"sqlite:///{crew.directory}/notes.db", search=search)
        return number / _measure_push(site, number, stage.scale.users).seconds


def _measure_index(stage: Stage, brokers: str, stores: int) -> tuple[float, float]:
    """Items a second that are indexed for searches, and what each costs."""
    number = round(stage.scale.ingest * SEARCHED)
    with stage.site_with_search(Layout(web=0, stores=stores), brokers) as site:
        crews = [site.crew, stage.mongod]
        before = [crew.cpu() for crew in crews]
        seconds = _measure_push(site, number, stage.scale.users).seconds
        return number / seconds, sum(cpu_us(before, [crew.cpu() for crew in crews], number).values())


def _measure_push(site: Site, number: int, users: int) -> Flow:
    """The flow of pushing and storing so many."""
    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(asyncio.run, wait_until_settled(site.durable, "store_put", number))
        options = [f"--count={number}", f"--rate={FLAT_OUT}", f"--seed={SEED}", f"--users={users}"]
        provider = site.gorgond("provider", *options)
        flow: Flow = watching.result()
        provider.cpu()  # is known beyond its end
        provider.output(PATIENCE)
    return flow
