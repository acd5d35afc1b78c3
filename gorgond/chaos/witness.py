"""The effects of a drill, read back through the queues from the store, and from the queues themselves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gorgond.app.notifying import DELIVERIES, NOTIFICATIONS, PREFERENCES
from gorgond.chaos.application import TRACES
from gorgond.chaos.servers import Server
from gorgond.config import Config
from gorgond.redpill import Caller, Message, Producer, now_ms
from gorgond.service.fabric import connect_fabric

PAGE = 1000  # notes read at a time
PATIENCE = 30.0  # seconds a page may take
TOLD = (NOTIFICATIONS, PREFERENCES, DELIVERIES)  # the collections with what is a user's who was notified
_MARK = re.compile(r'"chaos": ?"([^"]+)"')
_ID = re.compile(r'"id": ?"([^"]+)"')
_CLEANING = "chaos-cleaning-"  # what the ids of deletions begin with


@dataclass(slots=True)
class Found:
    """`stored` has each mark's ids, of notes and of notifications: more than one is an effect that happened twice.
    `strangers` are notes of our users without a mark, `dead` and `left` the marks in dead letters and those still under
    way, `twice` the messages that lay in two places at the same time."""

    stored: dict[str, set[str]] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)


def look_at_queues(servers: Iterable[Server], found: Found) -> None:
    """Where messages lie: fills `dead`, `left`, `twice`. Raises RedisError while a server is away."""
    for server in servers:
        for queue in server.queues():
            seen: set[str] = set()
            for place, message in server.places(queue):
                marks = _MARK.findall(message)
                if not marks and _CLEANING not in message:
                    continue
                if "/" not in queue:  # a group's events tell of effects, they are none
                    (found.dead if place == "dead" else found.left).update(marks)
                # A dead letter has a header of its own before the message.
                id = _ID.search(message, message.find("\n") + 1)
                if id is not None:
                    (found.twice if id[1] in seen else seen).add(id[1])
                    if id[1].startswith(_CLEANING) and place != "dead" and "/" not in queue:
                        found.left.add(id[1])


def look_at_store(config: Config, uids: Iterable[int], told: Iterable[str], found: Found) -> None:
    """Look up what is stored for these users, and in the inboxes of those who were `told`: fills `stored` and
    `strangers`."""
    asyncio.run(_read(config, uids, told, found))


def traces(config: Config) -> list[str]:
    """The jobs that left a trace of their time by the clock, one for each trace."""

    async def read() -> list[str]:
        async with _caller(config) as caller:
            return [each["job"] async for each in _all(caller, TRACES, {}, ["id", "job"])]

    return asyncio.run(read())


async def _read(config: Config, uids: Iterable[int], told: Iterable[str], found: Found) -> None:
    async with _caller(config) as caller:
        for uid in uids:
            async for note in _all(caller, "items", {"userid": uid}, ["id", "chaos"]):
                if mark := note.get("chaos"):
                    found.stored.setdefault(mark, set()).add(note["id"])
                else:
                    found.strangers.append(note["id"])
        for user in told:
            async for notification in _all(caller, NOTIFICATIONS, _of(user), ["id", "data"]):
                for mark in _MARK.findall(notification["data"]):
                    found.stored.setdefault(mark, set()).add(notification["id"])


@asynccontextmanager
async def _caller(config: Config) -> AsyncIterator[Caller]:
    fabric = connect_fabric(config)
    broker = fabric.carrier("store_get", fabric.calls)
    async with (
        Producer(broker, "chaos-witness") as producer,
        Caller(broker, producer, "chaos_data", "chaos-witness") as caller,
    ):
        yield caller


async def _all(
    caller: Caller, collection: str, filter: Mapping[str, Any], fields: list[str]
) -> AsyncIterator[Mapping[str, Any]]:
    """The documents that match, in the order of their ids."""
    last = ""
    while True:
        after = {"$and": [filter, {"id": {"$gt": last}}]}
        args = {"filter": after, "sort": [["id", 1]], "limit": PAGE, "fields": fields}
        question = Message(f"{collection}.find", args, deadline=now_ms() + int(PATIENCE * 1000))
        reply = await caller.call("store_get", question)
        if reply.error is not None:
            raise reply.error
        page: list[Mapping[str, Any]] = json.loads(reply.body)
        if not page:
            return
        for document in page:
            yield document
        last = page[-1]["id"]


def _of(user: str) -> dict[str, Any]:
    """What is this user's, where the id says so."""
    return {"$or": [{"id": user}, {"id": {"$gte": f"{user}:", "$lt": f"{user};"}}]}


def clean(config: Config, notes: Iterable[str], users: Iterable[str], told: Iterable[str]) -> None:
    """Have the drill's notes and users deleted, and what those were `told`. Until that is done `look_at_queues` finds
    it under way."""
    gone = {"items": ("store_put", list(notes)), "users": ("auth_store_put", list(users))}
    asyncio.run(_clean(config, gone, list(told)))


async def _clean(config: Config, gone: dict[str, tuple[str, list[str]]], told: list[str]) -> None:
    async with _caller(config) as caller:
        for collection in TOLD if told else ():
            ids = [each["id"] for user in told async for each in _all(caller, collection, _of(user), ["id"])]
            gone[collection] = ("store_put", ids)
    await _delete(config, gone)


async def _delete(config: Config, gone: Mapping[str, tuple[str, list[str]]]) -> None:
    """Delete documents: by collection, the queue for that and their ids."""
    fabric = connect_fabric(config)
    for collection, (queue, ids) in gone.items():
        async with Producer(fabric.carrier(queue, fabric.durable), "chaos-witness-d") as producer:
            for begin in range(0, len(ids), PAGE):
                page = ids[begin : begin + PAGE]
                deletes = [Message(f"{collection}.delete", {"id": id, "ts": now_ms()}, _CLEANING + id) for id in page]
                await producer.push(queue, *deletes)
