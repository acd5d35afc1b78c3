"""DataStore: answers store_get from the database, writes store_put to it, announces every change on store_notify.

Requests that only the auth server may make (`schema.PRIVATE`) come over auth_store_get and auth_store_put, to which
nobody else may push (`service.access`).

Each consumer has a thread with an event loop of its own in which the database's driver blocks: while one consumer waits
for the database, another one's Python runs. A batch is one question to the database.

    store_get   store.health        → {"database", "version", "latency_ms", "pool", "search"}
                <collection>.find   {"filter", "sort", "limit", "skip", "after", "fields", "search", "short"} → array
                <collection>.count  {"filter", "search"} → number, of a search 10,000 at most
    notify_store_get    users.find: names and addresses of users by their ids, for notification servers
    provider_store_get  what is asked of the collection providers: how far one has read
    store_search  the same: what is dear has a queue and a consumer of its own, so that nobody else waits for it
    store_put   <collection>.insert   {"documents": […]}      → {"results": [{"id", "effect"}, …]}
                <collection>.replace  {"documents": […]}
                <collection>.patch    {"id", "changes", "ts", "unchanged"}
                <collection>.delete   {"id", "ts"}

A message whose `user` says `"writes": "own"`, as the open API's do, touches nothing of another registered user's
(`stores.ownership`): 401, 403. Any other writer decides that by itself.

A document without an id gets one from its message, so that the message may be handled twice. `ts` defaults to when
the message was sent, and then the change comes after whatever is there (`stores.contract`). After the write, before it
is settled, an event for each document goes to store_notify: op "<collection>.added|edited|deleted", args {"id", "ts",
"document" or "changes"}. Before that it goes to store_changed, which a copy of the database listens to: op
"store.changed", args {"collection", "ids"}.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from gorgond.bounds import LIM_MAX
from gorgond.config import Config
from gorgond.errors import StoreAway, StoreDenied, StoreRefused
from gorgond.redpill import (
    MORE,
    NEXT,
    Broker,
    BrokerError,
    Done,
    Message,
    Outage,
    Outcome,
    Producer,
    Unavailable,
    dumps,
    loads,
)
from gorgond.roles.row import Indexes
from gorgond.service.fabric import Fabric
from gorgond.service.life import Service
from gorgond.service.loop import in_thread
from gorgond.settings import masked
from gorgond.stores import open_store
from gorgond.stores.contract import AtLeast, Page, Query
from gorgond.stores.declared import dropped_of, indexes_of
from gorgond.stores.findings import demand_safe
from gorgond.stores.jobs import Change, Job, refusal
from gorgond.stores.moving import finding
from gorgond.stores.requests import query_of
from gorgond.stores.schema import INDEXES

log = logging.getLogger(__name__)


REPEATS = 16
"""Documents read at a time to announce them once more: what a client may store is up to a megabyte each."""

CHANGED = 1000  # ids in one announcement

DECLARED = 10.0  # seconds between two looks at what applications have indexed
KEPT = 10.0  # seconds between two times that the index for searches is tidied up
AGAIN = 60.0  # seconds until the database is asked again for an index that it has refused

WRITES = 500
"""Messages of store_put taken at a time. A write waits for the disk of the broker and of the database whatever its
size: on MongoDB two stores write 9,800 notes a second by 64, 13,100 by 256, 15,400 by 500."""


class DataStore(Service):
    """One store server, for reads and writes."""

    role = "store"
    reads, writes = True, True

    def __init__(self, config: Config, fabric: Fabric, instance: str) -> None:
        super().__init__(config, fabric, instance)
        with config.blaming("store", "url"):
            self.store = open_store(config.store.url)
        self.outage = Outage(f"database {masked(config.store.url)}")
        self.searchable = config.store.search == "yes"
        self._preparing: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if self.reads:
            batch = self.config.store.batch
            carrier = self.fabric.carrier("store_get", self.fabric.calls)
            for broker in self.holders("store_get"):
                for number in range(self.config.store.lanes if broker is carrier else 1):
                    self._read("store_get", broker, str(number), batch)
            # Reads of auth servers, notification servers and providers, and searches, are calls alone.
            self._answer("auth_store_get", "0", batch)
            self._answer("notify_store_get", "0", batch)
            self._answer("provider_store_get", "0", 1)
            # One at a time: each has the time of a whole batch for itself.
            self._answer("store_search", "s", 1)
        if self.writes:
            for queue in ("store_put", "auth_store_put"):
                for broker in self.holders(queue):
                    self._write(queue, broker)
        self._preparing = [
            self.task_in_thread(self._prepare, "prepare"),
            self.task_in_thread(self._index_declared, "indexes"),
        ]

    def _answer(self, queue: str, part: str, batch: int) -> None:
        for broker in self.fabric.holders(queue, (self.fabric.calls,)):
            self._read(queue, broker, part, batch)

    def _read(self, queue: str, broker: Broker, part: str, batch: int) -> None:
        handler = _Reader(self, queue, f"{queue}.{part} at {broker.outage.what}")
        self.consumer(queue, handler, batch, broker=broker, part=part, thread=True)

    def _write(self, queue: str, broker: Broker) -> None:
        events = self.producer_apart(f"{self.name}.w {queue} events", "store_notify")
        handler = _Writer(self, queue, f"{queue} at {broker.outage.what}", events)
        self.consumer(queue, handler, WRITES, broker=broker, part="w", finishes=True, thread=True, producer=events)

    async def _prepare(self) -> None:
        """Make the indexes, when the database is there; nobody waits for them, draining neither."""
        while not self.draining:
            try:
                self._see_safe()  # it may have been away before
                self.store.prepare()
            except StoreAway as away:
                self.outage.begin(str(away), "prepare")
                await asyncio.sleep(1)
            else:
                self.outage.end("prepare")
                break
        while not self.draining:
            try:
                self._prepare_search()
            except StoreAway:  # the consumers tell it, if it lasts
                await asyncio.sleep(1)
            except StoreRefused as refused:
                log.warning("the index for searches is as it was, tried again in %g s: %s", AGAIN, refused)
                await asyncio.sleep(AGAIN)
            else:
                break
        while not self.draining:
            await asyncio.sleep(KEPT)
            with contextlib.suppress(StoreAway):
                self._keep_search()

    async def _index_declared(self) -> None:
        """Make the indexes that applications declare, do away with those that they declare no more, and look whether
        there are others, again and again."""
        made: dict[str, Indexes] = {}
        gone: dict[str, tuple[str, ...]] = {}
        while not self.draining:
            try:
                [found] = self.store.find([Query(INDEXES, {}, limit=LIM_MAX)])
                documents = loads(found) if isinstance(found, bytes) else []
                before, gone = gone, dropped_of(documents)
                for name, fields in gone.items():
                    if before.get(name) != fields:
                        self.store.drop_index(name, fields)
                        made.pop(name, None)
                for name, each in indexes_of(documents).items():
                    if made.get(name) != each and not self.draining:
                        self.store.index(name, each.newest, each.values)
                        made[name] = each
            except StoreAway as away:  # the consumers tell it, if it lasts
                log.debug("the indexes of applications have to wait: %s", away)
            await asyncio.sleep(DECLARED)

    def _prepare_search(self) -> None:
        if self.searchable:
            self.store.make_search()
        elif self.store.drop_search():
            log.warning("the index for searches is done away with; [store] search = yes keeps it")

    def _keep_search(self) -> None:
        if self.searchable:
            try:
                self.store.keep_search()
            except StoreRefused as refused:
                log.info("the index for searches is kept later: %s", refused)

    async def meet(self) -> None:
        await super().meet()
        await in_thread(self._enter, "enter the database")

    async def _enter(self) -> None:
        """See that the database lets us in, and keeps what it confirms."""
        try:
            self.store.find([Query(INDEXES, {}, limit=1)])
            self._see_safe()
        except StoreDenied:
            raise
        except StoreAway as away:
            log.debug("the database is waited for: %s", away)

    def _see_safe(self) -> None:
        """Raises ConfigError where what is confirmed may be lost, and StoreAway."""
        with self.config.blaming("store", "url"):
            demand_safe([*self.store.check(), *finding(self.store)])

    async def close(self) -> None:
        for task in self._preparing:
            task.cancel()
        self.store.close()

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "database": masked(self.config.store.url)}

    def doing(self) -> str:
        if self.outage.length:
            return f"waiting for {self.outage.what} for {self.outage.length:.0f} s: {self.outage.reason}"
        return self.consuming()


class StoreReader(DataStore):
    """One that only reads."""

    role = "store-read"
    writes = False


class StoreWriter(DataStore):
    """One that only writes."""

    role = "store-write"
    reads = False


class _Handler:
    """Handles what came to `queue`, blocking in the database's driver; `place` is what it misses the database as."""

    def __init__(self, service: DataStore, queue: str, place: str) -> None:
        self._service = service
        self._store = service.store
        self._queue = queue
        self._place = place

    async def __call__(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        try:
            outcomes = await self._answer(batch)
        except StoreAway as away:
            self._service.outage.begin(str(away), self._place)
            raise Unavailable(str(away)) from None
        self._service.outage.end(self._place)
        return outcomes

    async def _answer(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        raise AssertionError("it reads or writes")


class _Reader(_Handler):
    """Serves store_get, or another queue that is read by."""

    async def _answer(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(batch)
        finds: list[tuple[int, Query]] = []
        counts: list[tuple[int, Query]] = []
        for index, message in enumerate(batch):
            if message.op == "store.health":
                outcomes[index] = Done(dumps({**self._store.health(), "search": self._service.searchable}))
                continue
            try:
                verb, query = query_of(message, self._queue)
                if query.search and not self._service.searchable:
                    raise StoreRefused("search: there is none here; [store] search = yes has it", field="search")
            except StoreRefused as refused:
                outcomes[index] = refusal(refused)
            else:
                (finds if verb == "find" else counts).append((index, query))
        if finds:
            for (index, _), found in zip(finds, self._store.find([query for _, query in finds]), strict=True):
                outcomes[index] = _answer_of(found) if isinstance(found, bytes) else refusal(found)
        if counts:
            for (index, _), count in zip(counts, self._store.count([query for _, query in counts]), strict=True):
                outcomes[index] = _count_of(count) if isinstance(count, int) else refusal(count)
        return [outcome for outcome in outcomes if outcome is not None]


class _Writer(_Handler):
    """Serves store_put, or auth_store_put. A change is written, then announced, then settled: none of the three is ever
    skipped. To a copy of the database it is announced first, under which ids something may be another."""

    def __init__(self, service: DataStore, queue: str, place: str, events: Producer) -> None:
        super().__init__(service, queue, place)
        self._events = events
        self._silence = Outage("store_notify or store_changed")
        self._announced = service.metrics.part()

    async def _answer(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        jobs = [Job.of(message, self._queue) for message in batch]
        self._claim([job for job in jobs if job.once is not None])
        done = iter(self._store.change([write for job in jobs for write in job.writes]))
        for job in jobs:
            job.done = list(islice(done, len(job.writes)))
        await self._announce(_changed(jobs), "store_changed")
        changes = [change for job in jobs for change in job.changes()]
        await self._announce([change.event(change.content()) for change in changes if not change.again], "store_notify")
        repeats = [change for change in changes if change.again]
        for begin in range(0, len(repeats), REPEATS):
            await self._announce(self._events_again(repeats[begin : begin + REPEATS]), "store_notify")
        return [job.outcome() for job in jobs]

    def _claim(self, jobs: Sequence[Job]) -> None:
        """Refuse those that come under a key which was used for another request, before anything is written."""
        claims = self._store.claim([job.once for job in jobs if job.once is not None]) if jobs else []
        for job, first in zip(jobs, claims, strict=True):
            if not first:
                job.refuse(StoreRefused("once: this key was used for another request", 422, "once"))

    def _events_again(self, changes: Sequence[Change]) -> list[Message]:
        """The events of changes that were done before, since the first ones may be lost: of what is stored by now."""
        found = self._store.find([Query(each.write.collection, {"id": each.write.id}, limit=1) for each in changes])
        events = []
        for change, answer in zip(changes, found, strict=True):
            if isinstance(answer, bytes) and (documents := loads(answer)):
                [content] = [stored] = documents
                if change.write.kind == "patch":
                    content = {name: stored.get(name) for name in change.write.document}
                events.append(change._replace(ts=stored["ts"]).event(content))
        return events

    async def _announce(self, events: Sequence[Message], topic: str) -> None:
        if not events:
            return
        started = time.perf_counter()
        try:
            await self._events.publish(topic, *events)
        except BrokerError as error:  # written but not announced: do both again
            self._silence.begin(str(error))
            raise Unavailable(str(error)) from None
        self._silence.end()
        took = time.perf_counter() - started
        for op, count in Counter(event.op for event in events).items():
            self._announced.measure(f"{topic} {op}", count, 0, 0, took)


def _changed(jobs: Sequence[Job]) -> list[Message]:
    """The announcements, for a copy of the database, that something may have been changed under the ids of these: of
    all collections, and without what. What is no write, by its collection or its id, changes nothing."""
    ids: dict[str, dict[str, None]] = {}
    for write in (write for job in jobs for write in job.writes if write.checked):
        ids.setdefault(write.collection, {})[write.id] = None
    return [
        Message("store.changed", {"collection": name, "ids": some[begin : begin + CHANGED]})
        for name, some in ((name, [*each]) for name, each in ids.items())
        for begin in range(0, len(some), CHANGED)
    ]


def _count_of(number: int) -> Done:
    return Done(dumps(number), headers=MORE) if isinstance(number, AtLeast) else Done(dumps(number))


def _answer_of(documents: bytes) -> Done:
    if not isinstance(documents, Page):
        return Done(documents)
    return Done(documents, headers=(MORE if documents.cut else {}) | ({NEXT: documents.next} if documents.next else {}))
