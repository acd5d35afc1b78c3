"""tools/bench.py: that it runs and tells; how fast is no test's business."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import psutil
import pytest
import redis

from tests.waiting import HANGS, eventually
from tools.speed.site import Layout
from tools.speed.stage import QUICK, Stage

ROOT = Path(__file__).parents[2]
NO_WRK = shutil.which("wrk") is None and os.environ.get("CI") != "true"


@pytest.mark.usefixtures("redis_binary")
@pytest.mark.skipif(NO_WRK, reason="wrk is not installed")
def test_it_measures_and_leaves_nothing_behind(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    # when two cases are measured on the smallest scale
    directory, figures = tmp_path_factory.mktemp("b"), tmp_path / "figures.json"
    command = [sys.executable, "tools/bench.py", "--case", "queue", "--case", "rpc", "--json", str(figures)]
    scale = ["--quick", "--rounds", "1", "--seconds", "1", "--messages", "2000"]
    environ = os.environ | {"TMPDIR": str(directory)}
    ran = subprocess.run(
        command + scale, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=HANGS
    )
    assert ran.returncode == 0, ran.stderr
    # then it tells their figures, those that were not asked for being null
    found = json.loads(figures.read_text())
    measured = {"queue_per_s", "rpc_cpu_us"}
    assert {name for name in measured if found[name] > 0} == measured
    missing = {"info_ratio", "flow_ratio", "ingest_per_s", "load_p50_ms", "load_p99_ms"}
    assert {name for name in missing if found[name] is None} == missing
    assert set(found["details"]) == {"queue", "rpc", "memory"}
    queue = found["details"]["queue"]
    assert queue["always_1x64_per_s"]["rounds"]
    # and others are measured beside it, or it is said that they are not
    for other in ("rabbitmq", "jetstream"):
        assert (f"{other}_per_s" in queue) != (f"queue: {other} is not measured" in ran.stderr)
    # and nothing is left behind
    assert list(directory.iterdir()) == []
    processes = psutil.process_iter(["cmdline"])
    assert [process for process in processes if str(directory) in " ".join(process.info["cmdline"] or [])] == []


@pytest.mark.usefixtures("redis_binary", "mongod_binary")
@pytest.mark.skipif(NO_WRK, reason="wrk is not installed")
def test_growth_tells_what_more_instances_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    # given the case on a small scale
    growth = import_module("tools.speed.cases.growth")
    monkeypatch.setattr(growth, "QUEUES", 10)
    monkeypatch.setattr(growth, "IDLE", (("web", 1), ("store", 1)))
    scale = replace(QUICK, items=1000, users=10, grown=(1, 2))
    # when it is measured
    with Stage(scale, None) as stage:
        found = growth.growth(stage)
    # then it tells each figure that is wanted, as a ratio to one instance
    wanted = {row.name: row.must for row in found.rows if row.must}
    ratios = {f"{case}_{what}_ratio" for case in ("rpc", "info", "app") for what in ("cpu", "speed")}
    assert set(wanted) == ratios | {"queues_us", "idle_percent"}
    # but for those that are so little here that the kernel's clock may count nothing
    little = ("idle_percent", "queues_us")
    assert [row.name for row in found.rows if row.middle <= 0 and row.name not in little] == []
    two = next(row.middle for row in found.rows if row.name == "rpc_2_cpu_us")
    one = next(row.middle for row in found.rows if row.name == "rpc_1_cpu_us")
    assert next(row.middle for row in found.rows if row.name == "rpc_cpu_ratio") == two / one


@pytest.mark.usefixtures("redis_binary", "mongod_binary")
def test_load_tells_what_tornado_takes_under_the_same_inserts() -> None:
    load = import_module("tools.speed.cases.load")
    scale = replace(QUICK, items=1000, users=10, clients=20)
    with Stage(scale, None) as stage:
        found = load.load(stage)
    rows = {row.name: row for row in found.rows}
    assert {"p99_of_tornado", "cpu_us"} <= {name for name, row in rows.items() if row.must and row.middle > 0}
    parts = [row.middle for name, row in rows.items() if name.endswith("_cpu_us") and name != "mongod_cpu_us"]
    assert rows["cpu_us"].middle == pytest.approx(sum(parts))


@pytest.mark.usefixtures("redis_binary")
def test_stores_without_a_database_are_as_many_as_asked_for() -> None:
    # given a site with three of them
    with Stage(QUICK, None) as stage, stage.site(Layout(stores=3), store=False) as site:
        stores = [process.popen for process in site.crew.processes if process.name == "store"]
        calls = redis.Redis.from_url(site.calls)
        # then each is a consumer of its own, and none ends another
        eventually(lambda: calls.hlen("gorgon:{store_get}:lanes") == 3)
        assert [store.poll() for store in stores] == [None] * 3
        calls.close()
