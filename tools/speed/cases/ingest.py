"""ingest: a provider pushes as fast as it can, stores write all of it to mongod, journaled.

Without an index for searches; `searched_per_s` is the same with it, of fewer items, into an empty database.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tools.speed.flow import Flow, settled
from tools.speed.measure import cpu_us
from tools.speed.processes import PATIENCE, BenchError
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.site import Layout, Site
from tools.speed.stage import Stage, say

QUEUE_LIMIT = 100_000  # the default of [broker] queue_limit
SEED = 1  # of what is pushed
FLAT_OUT = 1_000_000  # items a second that no provider reaches
SEARCHED = 0.05  # of the items, where they are indexed for searches


def ingest(stage: Stage, brokers: str = "two") -> Result:
    """Items a second from the first accepted until all are stored, none missing; the deepest that the queue was."""
    number, tried = stage.scale.ingest, stage.scale.stores
    flows: dict[int, list[Flow]] = {stores: [] for stores in tried}
    cpu: dict[int, list[dict[str, float]]] = {stores: [] for stores in tried}
    searched: list[float] = []
    for turn in range(stage.scale.rounds):
        say(f"ingest, {brokers}: round {turn + 1} of {stage.scale.rounds}")
        for stores in tried:
            flow, used = _round(stage, brokers, stores)
            flows[stores].append(flow)
            cpu[stores].append(used)
        searched.append(_searched(stage, brokers, tried[-1]))
    speeds = {stores: [number / flow.seconds for flow in flows[stores]] for stores in tried}
    best = max(tried, key=lambda stores: median(speeds[stores]))
    rows = [
        Row("per_s", speeds[best], "≥ 15000", "ingest_per_s"),
        Row("queue_deepest", [flow.deepest for flow in flows[best]], f"≤ {QUEUE_LIMIT}"),
        *rows_of_cpu(cpu[best]),
        *(Row(f"stores_{stores}_per_s", speeds[stores]) for stores in tried),
        Row("searched_per_s", searched),
    ]
    return Result("ingest", rows, {"brokers": brokers, "stores": best, "items": number, "lost": 0})


def _round(stage: Stage, brokers: str, stores: int) -> tuple[Flow, dict[str, float]]:
    number = stage.scale.ingest
    with stage.site(Layout(web=0, stores=stores), brokers) as site:
        crews = [site.crew, stage.mongod]
        before = [crew.cpu() for crew in crews]
        flow = _pushed(site, number, stage.scale.users)
        used = cpu_us(before, [crew.cpu() for crew in crews], number)
    with stage.items() as items:
        stored = items.count_documents({"_id": {"$regex": f"^random:{SEED}-"}})
    stage.remove(SEED)
    if stored != number:
        raise BenchError(f"{number - stored} of {number} items were lost: {flow.counts}")
    return flow, used


def _searched(stage: Stage, brokers: str, stores: int) -> float:
    """Items a second that are indexed for searches."""
    number = round(stage.scale.ingest * SEARCHED)
    with stage.searched_site(Layout(web=0, stores=stores), brokers) as site:
        return number / _pushed(site, number, stage.scale.users).seconds


def _pushed(site: Site, number: int, users: int) -> Flow:
    """The flow of pushing and storing so many."""
    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(asyncio.run, settled(site.durable, "store_put", number))
        options = [f"--count={number}", f"--rate={FLAT_OUT}", f"--seed={SEED}", f"--users={users}"]
        provider = site.gorgond("provider", *options)
        flow: Flow = watching.result()
        provider.cpu()  # is known beyond its end
        provider.output(PATIENCE)
    return flow
