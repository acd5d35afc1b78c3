"""gorgon-chaos on real processes: faults by hand, short drills that pass, and that deviate on gorgond with a
deliberate fault."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from xml.etree import ElementTree

import psutil
import pytest

from gorgond.chaos.attempts import Book
from gorgond.chaos.drill import Drill, Options, Run, run_drill
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.errors import Aborted
from gorgond.chaos.faults import Faults
from gorgond.chaos.gauges import Gauges
from gorgond.chaos.load import Load
from gorgond.chaos.local import LocalTarget
from gorgond.chaos.servers import Server
from gorgond.chaos.target import Target
from gorgond.chaos.undo import UndoLog
from gorgond.commands.control import ask
from gorgond.errors import GorgonError
from gorgond.redpill import DONE, Consumer, Message, Outcome, Producer, connect
from tests.conftest import RedisServer
from tests.integration.breaks import BREAKS
from tests.programs import ROOT, asked, started
from tests.waiting import HANGS, eventually

pytestmark = pytest.mark.usefixtures("redis_binary")


def command(state: Path, *arguments: str, root: Path = ROOT) -> list[str]:
    return ["env", f"XDG_STATE_HOME={state}", sys.executable, str(root / "tools/chaos.py"), *arguments]


def chaos(state: Path, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(state, *arguments, "--target", "local", root=root),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )


def test_the_gauges_look_at_searches_too(shared_redis: RedisServer) -> None:
    # given a broker on which nobody has searched yet
    gauges = Gauges([Server("broker", shared_redis.url)], time.monotonic)
    gauges.start()
    try:
        # when a drill looks at it
        sample = eventually(lambda: next(iter(gauges.samples), None))
        # then what the database is asked is there, each kind by itself
        assert sample is not None
        assert set(sample.counts or ()) == {"store_get", "store_search", "store_put"}
    finally:
        gauges.stop()


async def test_a_queue_is_drained_when_what_it_had_is_done_though_more_comes(
    shared_redis: RedisServer, tmp_path: Path
) -> None:
    # given a queue to which as much is pushed as is done, so that it is never empty
    server, broker = Server("broker", shared_redis.url), connect(shared_redis.url, durable=False)
    with Book(tmp_path / "book") as book, UndoLog(tmp_path / "undo") as journal:
        target = cast("Target", None)
        faults = Faults(target, journal, 1, lambda _: None, lambda: book.now)
        options = Options(1, 1, tmp_path)
        run = Run(target, faults, {"broker": server}, cast("Load", None), book, options, HANGS, None)
        async with Producer(broker, "p") as producer:

            async def handle(messages: Sequence[Message]) -> list[Outcome]:
                await producer.push("q", *(Message("a.b") for _ in messages))
                return [DONE for _ in messages]

            await producer.push("q", *(Message("a.b") for _ in range(20)))
            consumer = Consumer(broker, "q", "c", handle, batch=4)
            consuming = asyncio.create_task(consumer.run())
            # when it is waited for, then it is drained when those twenty are done
            await asyncio.to_thread(run.wait_until_drained, "broker", "q")
            assert run.checks == []
            assert server.count_settled("q") >= 20
            assert server.count_accepted("q") >= server.count_settled("q") + 20
            consumer.stop()
            await consuming
    server.close()


def test_a_drill_that_is_broken_off_is_undone_and_its_notes_are_deleted(data: Path, tmp_path: Path) -> None:
    def up() -> bool:
        return all(each.up for each in LocalTarget(str(data)).victims())

    def hurt(run: Run) -> None:
        users.extend(run.load.uids)
        run.faults.stop("store@2")
        run.until(lambda: run.book.kinds["201"] > 10, HANGS, "notes are stored")
        raise Aborted("the drill takes longer than it may")

    said: list[str] = []
    users: list[int] = []
    few = ("--no-provider", "--web", "1", "--stores", "2")
    with started("up", "--data", str(data), "--port", "0", "--stats-port", "0", *few) as process:
        eventually((data / "control.sock").exists)
        eventually(up)
        target = LocalTarget(str(data))
        with UndoLog(tmp_path / "undo") as journal:
            # when a drill hurts a fabric that is not its own and is broken off
            options = Options(1, 2, tmp_path, short=True)
            broken_off = run_drill(Drill("late", "one that is too slow", hurt), target, options, journal, said.append)
            # then it says why, all is made good, none of its notes is left, and the next one runs
            assert str(broken_off.error) == "the drill takes longer than it may"
            assert journal.pending == []
            fine = run_drill(DRILLS["poison"], target, options, journal, said.append)
        assert fine.judged
        assert fine.verdict.passed
        assert [json.loads(asked(f"{target.url}/info/{uid}") or "{}")["items"] for uid in users] == [[]] * len(users)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


# ---- by hand


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory whose path is short enough for sockets."""
    with TemporaryDirectory(prefix="gorgond") as directory:
        yield Path(directory)


def test_faults_by_hand_and_their_undoing(data: Path, tmp_path: Path) -> None:
    def processes() -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in ask(data / "control.sock", "list")["processes"]}

    def up() -> bool:
        with suppress(GorgonError):  # it does not listen yet
            return all(each["state"] == "up" for each in processes().values())
        return False

    def drill_marks() -> list[str]:
        picture = json.loads(asked(f"{ask(data / 'control.sock', 'list')['stats']}/api/stats.json") or b"{}")
        return [mark["text"] for mark in picture["marks"] if mark["kind"] == "drill"]

    def do(*arguments: str) -> subprocess.CompletedProcess[str]:
        return chaos(tmp_path, *arguments, "--data", str(data))

    # given a fabric that runs
    few = ("--no-provider", "--web", "1", "--stores", "2")
    with started("up", "--data", str(data), "--port", "0", "--stats-port", "0", *few) as process:
        eventually(up)
        first = processes()
        listed = do("list").stdout
        assert all(name in listed for name in first)
        # when it is only asked what would happen, or too much is asked for, then nothing happens
        assert do("kill", "store@1", "--dry-run").stderr == "would SIGKILL store@1\n"
        assert do("kill", "*@*").returncode == 3
        assert processes() == first
        # when one is killed, then it is started again
        assert do("kill", "store@1").returncode == 0
        eventually(lambda: processes()["store@1"]["pid"] not in (0, first["store@1"]["pid"]))
        # when one is paused and another stopped, then both stay so, and no drill begins
        assert do("pause", "store@2").returncode == do("stop", "web").returncode == 0
        paused = psutil.Process(processes()["store@2"]["pid"])
        assert paused.status() == psutil.STATUS_STOPPED
        assert processes()["web@1"]["state"] == "stopped"
        refused = do("drill", "redis-kill")
        assert (refused.returncode, "an earlier run left 2 things to undo" in refused.stderr) == (3, True)
        # when it is undone, then all is as it was
        assert do("undo").returncode == 0
        assert paused.status() != psutil.STATUS_STOPPED
        eventually(up)
        # when drills are run on it, one to its end, then the stats page has marks for both
        poison = do("drill", "poison", "--short")
        assert poison.returncode == 0, poison.stdout
        begun = [*command(tmp_path, "drill", "redis-hang", "--target", "local"), "--data", str(data)]
        with subprocess.Popen(begun, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as drill:
            assert drill.stderr is not None
            next(line for line in drill.stderr if " s  pause " in line)
            drill.send_signal(signal.SIGINT)
            drill.communicate(timeout=60)
        assert drill.returncode == 2
        marks = ["poison begins", "poison: passed", "redis-hang begins", "redis-hang: broken off"]
        eventually(lambda: drill_marks() == [f"drill {mark}" for mark in marks])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


# ---- drills


def test_a_short_drill_passes_and_is_told_in_every_way(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("json", "junit", "svg")}
    told = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    done = chaos(tmp_path, "drill", "redis-kill", "--short", "--seed", "1", *told)
    assert done.returncode == 0, done.stdout + done.stderr
    # then the figures are there,
    (redis_kill,) = json.loads(files["json"].read_text())
    assert redis_kill["what"] == "a short one (kill: 3)"
    assert (redis_kill["drill"], redis_kill["passed"], redis_kill["figures"]["faults"]) == (
        "redis-kill", True, {"kill": 3},
    )  # fmt: skip
    assert redis_kill["figures"]["acknowledged"] > 10
    # for CI too,
    suites = ElementTree.parse(files["junit"]).getroot()
    assert [(suite.get("name"), suite.get("failures")) for suite in suites] == [("redis-kill", "0")]
    # as a picture that needs nothing else,
    picture = (files["svg"] / "redis-kill.svg").read_text()
    ElementTree.fromstring(picture)
    assert "<image" not in picture
    # and in words
    assert "redis-kill: passed in" in done.stdout


def test_a_redis_that_queues_are_routed_to_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    told = tmp_path / "json"
    done = chaos(tmp_path, "drill", "route-kill", "--short", "--seed", "1", "--json", str(told))
    assert done.returncode == 0, done.stdout + done.stderr
    (drill,) = json.loads(told.read_text())
    assert drill["figures"]["acknowledged"] > 10
    assert (drill["figures"]["lost"], drill["figures"]["unbalanced"]) == (0, 0)
    assert drill["figures"]["faults"]["kill"] >= 3


@pytest.mark.parametrize("fault", BREAKS)
def test_drills_deviate_where_a_promise_is_broken(fault: str, tmp_path: Path) -> None:
    # given a gorgond with a deliberate fault
    broken = BREAKS[fault]
    for part in ("gorgond", "tools"):
        shutil.copytree(ROOT / part, tmp_path / part)  # with what is compiled: only what is broken is not yet
    for file, texts in broken.texts.items():
        text = (tmp_path / file).read_text()
        for sound, wrong in texts:
            assert sound in text
            text = text.replace(sound, wrong)
        (tmp_path / file).write_text(text)
    # when it is drilled, then it is told what is not as it must be
    done = chaos(tmp_path, "drill", broken.drill, "--short", "--seed", "1", root=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAIL {broken.check}" in done.stdout, done.stdout


def test_an_interrupted_drill_leaves_nothing(tmp_path: Path) -> None:
    # given a drill with processes of its own
    process = subprocess.Popen(
        command(tmp_path, "drill", "rolling", "--target", "local"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    next(line for line in process.stderr if " s  restart " in line)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) > 5
    directory = json.loads((tmp_path / "gorgond/chaos/undo").read_text().splitlines()[0])["undo"][1]
    assert Path(directory).exists()
    # when it is interrupted, then it says so, and nothing is left
    process.send_signal(signal.SIGINT)
    assert "gorgon-chaos: aborted: interrupted" in process.communicate(timeout=60)[1]
    assert process.returncode == 2
    eventually(lambda: not any(child.is_running() for child in children))
    assert not Path(directory).exists()
    assert (tmp_path / "gorgond/chaos/undo").read_text() == ""
