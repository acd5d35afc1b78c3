"""Processes that tests kill, around one broker and one database, and who pushes meanwhile.

The test process pushes items and notes those the broker accepted; afterwards they are compared with the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pymongo

from gorgond.redpill import Counts, Message, Producer, connect
from gorgond.stores.contract import Query
from gorgond.stores.sqlite import SqliteStore
from tests.programs import ROOT
from tests.waiting import LONG, eventually, eventually_async

RUNNER = [sys.executable, "-m", "tests.integration.runner"]


class Child:
    """A gorgond process and its log."""

    def __init__(self, log: Path, *arguments: str, **environ: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*RUNNER, *arguments],
                env={name: value for name, value in os.environ.items() if not name.startswith("GORGOND_")} | environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def logged(self, regex: str, times: int = 1) -> None:
        """Wait until that was logged."""
        eventually(lambda: len(re.findall(regex, self.text)) >= times or self.process.poll() is not None)
        assert len(re.findall(regex, self.text)) >= times, self.text

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)

    def stop(self) -> int:
        """SIGTERM: the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)


class Fabric:
    """Processes around one broker and one database."""

    def __init__(self, directory: Path, broker: str, store: str) -> None:
        self.directory = directory
        self.store = store
        self.broker = connect(broker)
        self.environ = {"GORGOND_BROKER_URL": broker, "GORGOND_STORE_URL": store, "GORGOND_NOTIFY_PORT": "0"}
        self.children: list[Child] = []

    def child(self, *arguments: str, **environ: str) -> Child:
        log = self.directory / f"{'-'.join(arguments).replace('/', '')}.log"
        self.children.append(Child(log, *arguments, **(self.environ | environ)))
        return self.children[-1]

    def start_store(self, instance: str = "1", **environ: str) -> Child:
        """A store that has started."""
        started = len(re.findall("started", self._log(instance)))
        child = self.child("store", "--instance", instance, **environ)
        child.logged("started", started + 1)
        return child

    def _log(self, instance: str) -> str:
        log = self.directory / f"store---instance-{instance}.log"
        return log.read_text() if log.exists() else ""

    async def counts(self, queue: str = "store_put") -> Counts:
        link = self.broker.link("test")
        try:
            return (await link.persist(lambda: link.counts([queue])))[0]
        finally:
            await link.close()

    async def in_hand(self) -> bool:
        """Whether a store has jobs in its hands."""
        return (await self.counts()).in_flight > 0

    async def drained(self, queue: str = "store_put", timeout: float = LONG) -> Counts:
        """The figures when nothing is left to do."""

        async def drained() -> bool:
            counts = await self.counts(queue)
            return not (counts.queued or counts.in_flight or counts.delayed)

        await eventually_async(drained, timeout)
        return await self.counts(queue)

    async def kept(self, accepted: set[str], *, only: bool = True) -> None:
        """All that was accepted is in the database, and the ledger is even; `only` that is there."""
        counts = await self.drained()
        assert counts.difference() == 0, counts
        assert counts.dead == 0, counts
        stored = self.stored()
        assert accepted <= stored, f"{len(accepted - stored)} of {len(accepted)} are lost"
        if only:
            assert stored == accepted

    def stored(self) -> set[str]:
        """The ids in the database; each is there once, being its key."""
        if self.store.startswith("mongodb"):
            client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(self.store)
            with client:
                return {document["_id"] for document in client.get_default_database()["items"].find({}, {"_id": 1})}
        store, ids = SqliteStore(self.store), [""]
        try:
            while True:  # by id, so that it ends also while somebody writes
                (found,) = store.find([Query("items", {"id": {"$gt": ids[-1]}}, (("id", 1),), 1000, 0, ("id",))])
                assert isinstance(found, bytes)
                some = [document["id"] for document in json.loads(found)]
                if not some:
                    return {*ids[1:]}
                ids += some
        finally:
            store.close()


def item(id: str, title: str = "a note") -> Message:
    return Message("items.insert", {"documents": [{"id": id, "userid": 7, "title": title}]}, id)


class Pusher:
    """Pushes items, `size` at a time with `pause` between, and notes what was accepted."""

    def __init__(self, fabric: Fabric, size: int, pause: float) -> None:
        self.fabric = fabric
        self.size = size
        self.pause = pause
        self.pushed = 0
        self.accepted: set[str] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self._run(stop))
        try:
            yield
            stop.set()
            await asyncio.wait_for(task, 60)
        finally:
            task.cancel()

    async def _run(self, stop: asyncio.Event) -> None:
        async with Producer(self.fabric.broker, "test") as producer:
            while not stop.is_set():
                ids = [f"item{self.pushed + number}" for number in range(self.size)]
                self.pushed += self.size
                await producer.push("store_put", *map(item, ids))
                self.accepted.update(ids)
                await asyncio.sleep(self.pause)

    async def push(self, number: int) -> None:
        """So many at once."""
        async with Producer(self.fabric.broker, "test") as producer:
            ids = [f"item{self.pushed + index}" for index in range(number)]
            self.pushed += number
            await producer.push("store_put", *map(item, ids))
            self.accepted.update(ids)
