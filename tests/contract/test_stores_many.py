"""Many writers and readers at the same time, on each store."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from gorgond.stores.contract import Kind, Store
from tests.contract.stores import ROOT, found, query, write

WRITER = """
import sys
from gorgond.stores import open_store
from gorgond.stores.contract import Write
url, name = sys.argv[1:]
store, stored = open_store(url), 0
for n in range(15):
    inserts = [Write("insert", "items", f"{n}.{m}", 1, {"by": name}) for m in range(20)]
    newest = [Write("replace", "items", f"newest{n}", ts, {"by": name}) for ts in range(1 + (name == "b"), 20, 2)]
    deletes = [Write(kind, "items", f"gone{n}", ts, {}) for ts in range(1, 5) for kind in ("insert", "delete")]
    effects = store.write([*inserts, *newest, *deletes])
    stored += effects[:20].count("stored")
print(stored)
"""


def test_two_processes_write_the_same_ids(store: Store, url: str) -> None:
    # when
    command = [sys.executable, "-c", WRITER, url]
    with (
        subprocess.Popen([*command, "a"], stdout=subprocess.PIPE, cwd=ROOT) as a,
        subprocess.Popen([*command, "b"], stdout=subprocess.PIPE, cwd=ROOT) as b,
    ):
        stored = [int(process.communicate(timeout=60)[0]) for process in (a, b)]
    # then each insert was stored by one of them, the newest is there, and what was deleted is gone
    assert sum(stored) == 15 * 20
    everything = found(store, query(limit=1000))
    assert len(everything) == 15 * 20 + 15
    assert all(one["ts"] == 19 and one["by"] == "a" for one in everything if one["id"].startswith("newest"))


def test_threads_share_a_store(store: Store) -> None:
    def work(thread: int) -> None:
        for n in range(20):
            assert store.write([write("insert", f"{thread}.{n}", n, userid=thread)]) == ["stored"]
            assert len(found(store, query({"userid": thread}, limit=100))) == n + 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert store.count([query()]) == [80]


def test_a_race_between_insert_and_delete_never_leaves_the_document(store: Store) -> None:
    chance = random.Random(1)
    for n in range(100):
        barrier = threading.Barrier(2)

        def run(kind: Kind, ts: int, wait: float, id: str = f"{n}", barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            time.sleep(wait)
            store.write([write(kind, id, ts)])

        with ThreadPoolExecutor(2) as pool:  # a delete takes longer: the insert comes at any moment of it, or later
            list(pool.map(run, ("insert", "delete"), (1, 2), (chance.uniform(0, 0.004), 0)))
    assert store.count([query()]) == [0]
