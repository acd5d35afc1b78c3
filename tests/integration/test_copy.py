"""`gorgond copy`: a store moved to another database while it is written to, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gorgond.commands.copying import running
from gorgond.commands.copying.command import copy as copy_store
from gorgond.commands.copying.copying import Copy
from gorgond.commands.copying.running import Running
from gorgond.commands.operator.installation import Installation
from gorgond.config import load
from gorgond.errors import ConfigError, GorgonError, StoreAway, StoreRefused
from gorgond.redpill import Message, Producer, Room
from gorgond.redpill.memory import MemoryBroker
from gorgond.roles import WRITTEN
from gorgond.roles.store import DataStore, _changed
from gorgond.service.fabric import Fabric, connect_fabric
from gorgond.service.systemd import Notifier
from gorgond.stores import open_store
from gorgond.stores.contract import Query, Store, Write
from gorgond.stores.jobs import Job
from gorgond.stores.kept import Kept
from gorgond.stores.moving import moving_of
from gorgond.stores.schema import MOVING
from tests.conftest import RedisServer
from tests.waiting import HANGS, LONG, eventually_async

Documents = dict[tuple[str, str], int]


@pytest.fixture
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where from and where to."""
    places = {"sqlite": f"sqlite:///{tmp_path}/a.db", "mongodb": request.getfixturevalue("mongod_factory")().url + "a"}
    here, there = request.param
    return places[here], places[there]


@asynccontextmanager
async def serving(redis: RedisServer, url: str) -> AsyncIterator[Fabric]:
    """A store server on that database."""
    config = load(os.devnull, {}, {"broker.url": redis.url, "store.url": url, "store.search": "no"})
    fabric = connect_fabric(config)
    server = DataStore(config, fabric, "1")
    running = asyncio.create_task(server.run(Notifier()))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if running.done():
        server.store.close()
        running.result()
    try:
        yield fabric
    finally:
        server.stop()
        await running


class Writer:
    """Pushes changes one after the other, and knows what is there when all are done."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.expected: Documents = {}
        self.stopping = False
        self.pushed = 0

    async def run(self, seed: int) -> None:
        chance = random.Random(seed)
        async with Producer(self._fabric.durable, "writer") as producer:
            while not self.stopping:
                some = [self._change(chance) for _ in range(chance.randrange(1, 8))]
                await producer.push("store_put", *some)
                await asyncio.sleep(0.01)

    def _change(self, chance: random.Random) -> Message:
        self.pushed += 1
        collection = chance.choice(["items", "jobs", "orders"])
        id = f"w{chance.randrange(200)}" if chance.random() < 0.8 else f"s{chance.randrange(2000):04}"
        place, verb = (collection, id), chance.choice(["replace", "patch", "delete"])
        if verb == "delete":
            self.expected.pop(place, None)
            return Message(f"{collection}.delete", {"id": id})
        there, self.expected[place] = place in self.expected, self.pushed
        if verb == "patch" and there:
            return Message(f"{collection}.patch", {"id": id, "changes": {"n": self.pushed}})
        return Message(f"{collection}.replace", {"documents": [{"id": id, "n": self.pushed, "body": "x" * 500}]})


def copying(redis: RedisServer, urls: tuple[str, str], *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gorgond", "copy", "--from", urls[0], "--to", urls[1], *flags]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GORGOND_")}
    environ["GORGOND_BROKER_URL"] = redis.url
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


async def ended(process: subprocess.Popen[str]) -> str:
    """Its output, when it ended well."""
    output, _ = await asyncio.to_thread(process.communicate, timeout=HANGS)
    assert process.returncode == 0, output
    return output


async def kill(process: subprocess.Popen[str], when: Callable[[], bool]) -> None:
    """Kill it then, unless it has ended."""
    await eventually_async(lambda: process.poll() is not None or when())
    process.kill()
    await asyncio.to_thread(process.communicate, timeout=HANGS)


async def paused(fabric: Fabric) -> bool:
    link = fabric.durable.link("test")
    try:
        return all(each.paused for each in await link.counts(["store_put", "auth_store_put"]))
    finally:
        await link.close()


def _has(store: Store, number: int) -> bool:
    """Whether there are so many notes."""
    [found] = store.count([Query("items", {})])
    assert isinstance(found, int)
    return found >= number


def content(store: Store) -> Documents:
    found: Documents = {}
    for collection in ("items", "jobs", "orders"):
        last: list[Kept] = [Kept("")]
        while last := store.scan(collection, last[-1].id, 1000):
            found |= {(collection, each.id): each.document["n"] for each in last if each.document is not None}
    return found


@pytest.mark.parametrize("urls", [("sqlite", "mongodb"), ("mongodb", "sqlite")], indirect=True, ids=" to ".join)
async def test_a_store_is_moved_while_it_is_written_to(
    urls: tuple[str, str], redis_factory: Callable[..., RedisServer]
) -> None:
    redis = redis_factory(appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")
    with closing(open_store(urls[0])) as source, closing(open_store(urls[1])) as target:
        # given a database with some thousand notes, and somebody who goes on writing
        seeds = [Write("insert", "items", f"s{n:04}", n, {"n": -1, "body": "x" * 500}) for n in range(2000)]
        source.write(seeds)
        async with serving(redis, urls[0]) as fabric:
            writer = Writer(fabric)
            writer.expected = {("items", each.id): -1 for each in seeds}
            writing = asyncio.create_task(writer.run(7))
            # when it is copied by one that is killed again and again
            for part in (1, 1000):
                await kill(copying(redis, urls), functools.partial(_has, target, part))
            # and by one that ends
            said = await ended(copying(redis, urls))
            assert "items" in said
            assert not await paused(fabric)
            # and at last moved, by one that is killed while the stores are to go over
            await kill(copying(redis, urls, "--finish"), functools.partial(_is_left, source))
            assert await paused(fabric)
            finishing = copying(redis, urls, "--finish")
        # then no store begins any more with what was left
        with pytest.raises(ConfigError, match=r"its content is moved to .*: say that in \[store\] url"):
            async with serving(redis, urls[0]):
                raise AssertionError("it began")
        # and when one works on the new one, then it goes on there
        await eventually_async(lambda: moving_of(target) is None)
        async with serving(redis, urls[1]) as fabric:
            assert "the stores write again" in await ended(finishing)
            assert not await paused(fabric)
            before = writer.pushed
            await eventually_async(lambda: writer.pushed > before + 50)
            writer.stopping = True
            await writing
            await eventually_async(lambda: _is_done(fabric))
        # and nothing is lost, and nothing that was deleted is back
        assert content(target) == writer.expected


def _is_left(store: Store) -> bool:
    moving = moving_of(store)
    return moving is not None and moving.state == "left"


async def _is_done(fabric: Fabric) -> bool:
    link = fabric.durable.link("test")
    try:
        [found] = await link.counts(["store_put"])
    finally:
        await link.close()
    return found.queued + found.in_flight + found.delayed == 0


# ---- databases alone


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    return f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"


def passed(copy: Copy) -> Copy:
    while copy.step():
        pass
    return copy


def test_what_is_changed_meanwhile_is_in_the_sums(two: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gorgond.commands.copying.copying.PAGE", 10)
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        source.write([Write("insert", "items", f"{n:03}", n, {"n": n}) for n in range(100)])
        copy = Copy(source, target, *two)
        assert copy.begin()
        # given a pass that is half through
        for _ in range(5):
            copy.step()
        # when documents before it and after it are changed, deleted, and made, and one whose first letter is new
        source.write([Write("patch", "items", each, 500, {"n": -1}) for each in ("003", "080")])
        source.write([Write("delete", "items", each, 500, {}) for each in ("004", "081")])
        source.write([Write("insert", "items", each, 500, {}) for each in ("0045", "0815", "zz", "")[:3]])
        source.write([Write("insert", "orders", "o", 1, {})])
        copy.apply({"items": ["003", "080", "004", "081", "0045", "0815", "zz", "never"], "orders": ["o"]})
        passed(copy)
        # then the figures are those of a pass that begins afterwards
        again = passed(Copy(source, target, *two))
        assert copy.sums == again.sums
        assert copy.sums["items"].documents == 101
        # and all is the same
        for name in ("items", "orders"):
            assert [each.digest() for each in source.scan(name, "", 1000)] == [
                each.digest() for each in target.scan(name, "", 1000)
            ]
        copy.compare()
        copy.leave()
        assert not Copy(source, target, *two).begin()


def test_a_database_that_goes_away_has_all_looked_at_anew(
    two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        source.write([Write("insert", "items", f"{n}", n, {}) for n in range(5)])
        copy = passed(Copy(source, target, *two))
        source.write([Write("insert", "items", "x", 1, {})])

        restore = target.restore

        def away(*some: Any) -> None:
            restore(*some)
            raise StoreAway("its answer was lost")

        with monkeypatch.context() as gone:
            gone.setattr(target, "restore", away)
            with pytest.raises(StoreAway):
                copy.apply({"items": ["x"]})
        copy.apply({"items": ["x"]})
        assert passed(copy).sums["items"].documents == 6


def test_what_would_be_overwritten_or_taken_for_the_whole_is_refused(two: tuple[str, str], tmp_path: Path) -> None:
    third = f"sqlite:///{tmp_path}/c.db"
    with (
        closing(open_store(two[0])) as source,
        closing(open_store(two[1])) as target,
        closing(open_store(third)) as other,
    ):
        for store in (source, other):
            store.write([Write("insert", "items", "a", 1, {})])
        with pytest.raises(GorgonError, match="name the same database"):
            Copy(source, source, two[0], two[0]).begin()
        with pytest.raises(GorgonError, match="has content of its own, items: name an empty database"):
            Copy(source, other, two[0], third).begin()
        # given a copy that was begun: it goes on, and nobody else copies to it or from it
        assert Copy(source, target, *two).begin()
        assert Copy(source, target, *two).begin()
        with pytest.raises(GorgonError, match=r"b.db is an unfinished copy of sqlite:.*a.db: empty it first"):
            Copy(other, target, third, two[1]).begin()
        with pytest.raises(GorgonError, match=r"b.db is an unfinished copy of"):
            Copy(target, other, two[1], third).begin()
        # and no store begins on it
        config = load(os.devnull, {}, {"store.url": two[1], "broker.url": "memory://"})
        service = DataStore(config, connect_fabric(config), "1")
        with pytest.raises(ConfigError, match=r"its content is being copied from .*a.db: the command that began it"):
            asyncio.run(service._enter())
        service.store.close()
        # when it is done, then from what was left nothing is copied elsewhere
        done = passed(Copy(source, target, *two))
        done.compare()
        done.leave()
        with pytest.raises(GorgonError, match=r"a.db is moved to sqlite:.*b.db already"):
            Copy(source, other, two[0], third).begin()
        assert json.dumps(content_of(target)) == '["a"]'


def content_of(store: Store) -> list[str]:
    return [each.id for each in store.scan("items", "", 10) if each.document is not None]


def test_only_what_may_have_been_written_is_announced(two: tuple[str, str]) -> None:
    asked = [
        Message("items.delete", {"id": ["x"]}),
        Message("items.delete", {"id": 5}),
        Message('no"name.delete', {"id": "x"}),
        Message("items.delete", {"id": "x"}),
    ]
    jobs = [Job.of(each, "store_put") for each in asked]
    with closing(open_store(two[0])) as store:
        store.change([write for job in jobs for write in job.writes])
    assert [each.args for each in _changed(jobs)] == [{"collection": "items", "ids": ["x"]}]


def test_what_is_announced_is_no_sql(two: tuple[str, str]) -> None:
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        copy = Copy(source, target, *two)
        assert copy.begin()
        wrong: list[dict[str, Any]] = [{'items" --': ["x"]}, {"items": [["x"]]}, {"items": [5]}]
        for changed in wrong:
            with pytest.raises((StoreRefused, TypeError)):
                copy.apply(changed)
        copy.apply({MOVING: ["state"]})
        assert moving_of(target) is not None


def test_a_source_that_is_not_there_is_no_empty_one(two: tuple[str, str], tmp_path: Path) -> None:
    nowhere = Installation(load(os.devnull, {}, {"broker.url": "memory://"}), None)
    with pytest.raises(ConfigError, match=r"--from: .*a.db is not there"):
        copy_store(nowhere, *two, finish=False)
    assert [*tmp_path.iterdir()] == []


# ---- what the fabric has to do with it


@pytest.fixture
def fabric() -> Fabric:
    broker = MemoryBroker()
    return Fabric(broker, broker, Room(1000, 10**9))


class Told(list[str]):
    """What is said."""

    def has(self, words: str) -> bool:
        return any(words in each for each in self)


async def tell(fabric: Fabric, name: str, database: str | None) -> None:
    """A store tells of itself."""
    about = {"role": "store", "name": name} | ({} if database is None else {"database": database})
    async with Producer(fabric.calls, "test") as producer:
        await producer.publish("stats", Message("stats", about))


async def switched(fabric: Fabric, pause: bool) -> None:
    link = fabric.durable.link("test")
    for queue in WRITTEN:
        await (link.pause(queue) if pause else link.resume(queue))
    await link.close()


@pytest.mark.parametrize("ended", ["interrupted", "resumed"])
async def test_a_finish_that_is_broken_off_moves_nobody(
    two: tuple[str, str], fabric: Fabric, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    monkeypatch.setattr(running, "HEARD", 0.0)
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        source.write([Write("insert", "items", "a", 1, {})])
        run = Running(Copy(source, target, *two), fabric, two[1], lambda _: None)
        looking, looked = threading.Event(), threading.Event()

        def claims(*_: Any) -> list[Any]:
            looking.set()
            (run._stopping if ended == "interrupted" else looked).wait(LONG)
            return []

        # given a copy that is at its last look, for which the queues are paused
        monkeypatch.setattr(source, "claims", claims)
        finishing = asyncio.create_task(run.run(True))
        await eventually_async(looking.is_set)
        assert await paused(fabric)
        # when it is interrupted, then stores go on with the old database: it is not left
        if ended == "interrupted":
            finishing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await finishing
        # and when somebody resumes the queues, as they may have written since
        else:
            await switched(fabric, pause=False)
            looked.set()
            with pytest.raises(GorgonError, match="somebody has resumed the queues meanwhile"):
                await finishing
        assert moving_of(source) is None
        assert not await paused(fabric)


async def test_who_has_just_begun_to_listen_knows_not_all_stores(
    two: tuple[str, str], fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "HEARD", HANGS)
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        # given a database that was left, and queues that wait for the stores to go over
        source.write([Write("insert", "items", "a", 1, {})])
        copy = Copy(source, target, *two)
        assert copy.begin()
        passed(copy).compare()
        copy.leave()
        await switched(fabric, pause=True)
        run = Running(Copy(source, target, *two), fabric, two[1], lambda _: None)
        going = asyncio.create_task(run.run(False))
        # when one of them tells that it has, then that is not all
        while not run._stores:
            await tell(fabric, "store@1", two[1])
        await asyncio.sleep(3 * running.LOOK)
        assert not going.done()
        assert await paused(fabric)
        # and when the others have had the time to, then it is
        monkeypatch.setattr(running, "HEARD", 0.0)
        await tell(fabric, "store@1", two[1])
        await asyncio.wait_for(going, LONG)
        assert not await paused(fabric)


async def test_a_store_that_announces_nothing_lets_nothing_be_moved(
    two: tuple[str, str], fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "HEARD", HANGS)
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        source.write([Write("insert", "items", "a", 1, {})])
        said = Told()
        going = asyncio.create_task(Running(Copy(source, target, *two), fabric, two[1], said.append).run(True))
        # when a store of an earlier version tells of itself, which does not say on which database it works
        while not (going.done() or said.has("start the stores anew")):
            await tell(fabric, "store@2", None)
            await asyncio.sleep(0.01)
        # then nothing is moved: what it writes could not be followed
        with pytest.raises(GorgonError, match="store@2: of an earlier gorgond"):
            await asyncio.wait_for(going, 0.1)
        assert moving_of(source) is None


async def test_a_second_copy_takes_over(two: tuple[str, str], fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "HEARD", HANGS)
    with closing(open_store(two[0])) as source, closing(open_store(two[1])) as target:
        # given a copy that goes on
        source.write([Write("insert", "items", "a", 1, {})])
        first = asyncio.create_task(Running(Copy(source, target, *two), fabric, two[1], lambda _: None).run(True))
        await eventually_async(lambda: target.kept("items", ["a"])[0].document is not None)
        # when another one begins, on whatever host, then the first one ends
        second = asyncio.create_task(Running(Copy(source, target, *two), fabric, two[1], lambda _: None).run(True))
        with pytest.raises(GorgonError, match="another process has taken over as copy@1"):
            await asyncio.wait_for(first, LONG)
        assert moving_of(source) is None
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
