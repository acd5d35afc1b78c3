"""ingest: a provider pushes as fast as it can, one store writes all of it to mongod, journaled."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tools.speed.flow import Flow, settled
from tools.speed.measure import cpu_us
from tools.speed.processes import PATIENCE, BenchError
from tools.speed.report import Result, Row, rows_of_cpu
from tools.speed.site import Layout
from tools.speed.stage import Stage, say

QUEUE_LIMIT = 100_000  # the default of [broker] queue_limit
SEED = 1  # of what is pushed
FLAT_OUT = 1_000_000  # items a second that no provider reaches


def ingest(stage: Stage, brokers: str = "two") -> Result:
    """Items a second from the first accepted until all are stored, none missing; the deepest that the queue was."""
    number, tried = stage.scale.ingest, stage.scale.stores
    flows: dict[int, list[Flow]] = {stores: [] for stores in tried}
    cpu: dict[int, list[dict[str, float]]] = {stores: [] for stores in tried}
    for turn in range(stage.scale.rounds):
        say(f"ingest, {brokers}: round {turn + 1} of {stage.scale.rounds}")
        for stores in tried:
            flow, used = _round(stage, brokers, stores)
            flows[stores].append(flow)
            cpu[stores].append(used)
    speeds = {stores: [number / flow.seconds for flow in flows[stores]] for stores in tried}
    best = max(tried, key=lambda stores: median(speeds[stores]))
    rows = [
        Row("per_s", speeds[best], "≥ 15000", "ingest_per_s"),
        Row("queue_deepest", [flow.deepest for flow in flows[best]], f"≤ {QUEUE_LIMIT}"),
        *rows_of_cpu(cpu[best]),
        *(Row(f"stores_{stores}_per_s", speeds[stores]) for stores in tried),
    ]
    return Result("ingest", rows, {"brokers": brokers, "stores": best, "items": number, "lost": 0})


def _round(stage: Stage, brokers: str, stores: int) -> tuple[Flow, dict[str, float]]:
    number = stage.scale.ingest
    with stage.site(Layout(web=0, stores=stores), brokers) as site, ThreadPoolExecutor(1) as watcher:
        crews = [site.crew, stage.mongod]
        before = [crew.cpu() for crew in crews]
        watching = watcher.submit(asyncio.run, settled(site.lasting, "store_put", number))
        options = [f"--count={number}", f"--rate={FLAT_OUT}", f"--seed={SEED}", f"--users={stage.scale.users}"]
        provider = site.gorgond("provider", *options)
        flow: Flow = watching.result()
        used = cpu_us(before, [crew.cpu() for crew in crews], number)
        provider.output(PATIENCE)
    with stage.items() as items:
        stored = items.count_documents({"_id": {"$regex": f"^random-{SEED}-"}})
    stage.remove(SEED)
    if stored != number:
        raise BenchError(f"{number - stored} of {number} items were lost: {flow.counts}")
    return flow, used
