"""What became of each notification that was to be sent over a channel: documents in the store (`notifiers.delivering`).
Those that were given up are dead letters of the channel's queue, by which they are sent again; but for those to
endpoints, which have what was to be sent in their documents (`notifiers.retrying`), and a server that sends it again.

A user is named by the id or by the e-mail address; an empty name means all, of channels too.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from gorgond.app.notifying import DELIVERIES, QUEUE
from gorgond.app.webhooks import ENDPOINTS, ON, REPLAY
from gorgond.auth.records import Records
from gorgond.auth.users import Users
from gorgond.commands.operator import text
from gorgond.commands.operator.brokers import open_links
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import Caller, DeadLetter, Message, Producer, loads, now_ms
from gorgond.service.channels import channel_of
from gorgond.service.words import counted
from gorgond.stats.letters import letters_of, message_of

PATIENCE = 10_000  # ms for one question to the store
OF_USER = 1000  # the newest of a user that are looked at
PART = 1000  # those to endpoints that are looked for at once
_PLACE = ("id", "userid", "channel", "target", "ts")  # what says where one was to go

Delivery = dict[str, Any]


async def deliveries(
    installation: Installation, user: str, channel: str, states: Sequence[str], most: int
) -> list[Delivery]:
    """Those of this user and channel in these states, the newest so many first. Raises GorgonError."""
    async with _caller(installation) as caller:
        if user:  # all of one user's lie together, and are not many
            id = await _id_of(caller, user)
            asked = [_find(caller, {"id": {"$gte": f"{id}:", "$lt": f"{id};"}}, OF_USER)]
        else:
            of_channel = {"channel": channel} if channel else {}
            asked = [_find(caller, {"state": state, **of_channel}, most) for state in states]
        found = [each for some in await asyncio.gather(*asked) for each in some]
    chosen = [each for each in found if each["state"] in states and channel in ("", each.get("channel"))]
    return sorted(chosen, key=lambda each: -int(each["ts"]))[:most]


@asynccontextmanager
async def _caller(installation: Installation) -> AsyncIterator[Caller]:
    fabric = installation.connect()
    async with (
        Producer(fabric.calls, "gorgonctl") as producer,
        Caller(fabric.calls, producer, "ctl_data", "gorgonctl") as caller,
    ):
        yield caller


async def _id_of(caller: Caller, user: str) -> str:
    if "@" not in user:
        return user
    found = await Users(Records(caller)).by_email(user)
    if found is None:
        raise GorgonError(f"there is no user {user}")
    return str(found["id"])


async def _find(
    caller: Caller, filter: dict[str, Any], most: int, fields: Sequence[str] = (), collection: str = DELIVERIES
) -> list[Delivery]:
    args = {"filter": filter, "sort": [["ts", -1]], "limit": most, "fields": list(fields)}
    reply = await caller.call("store_get", Message(f"{collection}.find", args, deadline=now_ms() + PATIENCE))
    if reply.error is not None:
        raise reply.error
    found: list[Delivery] = loads(reply.body)
    return found


async def replay(installation: Installation, user: str, channel: str, ids: Sequence[str]) -> list[str]:
    """Have those of this user and channel sent again that were given up, of these `ids` if there are any; what was
    done, in words. Raises GorgonError, when one is not there, before anything is done."""
    if user:
        async with _caller(installation) as caller:
            user = await _id_of(caller, user)
    fabric = installation.connect()
    async with open_links(fabric) as links:
        known = sorted({queue for link in links.values() for queue in await link.queues() if channel_of(queue)})
        queues = [queue for queue in known if channel in ("", channel_of(queue))]
        if not queues:
            raise GorgonError(
                f"there is no channel {channel}; there are {' '.join(map(channel_of, known)) or 'none yet'}"
            )
        there: dict[str, tuple[str, str, DeadLetter]] = {}
        for queue in queues:
            async for broker, letter in letters_of(links, queue):
                links.extend()
                of, id = _about(queue, letter)
                if id and user in ("", of):
                    there[id] = (queue, broker, letter)
        to_endpoints: dict[str, Delivery] = {}
        if not ids or (others := [id for id in ids if id not in there]):
            async with _caller(installation) as caller:
                to_endpoints = await _to_endpoints(caller, user, channel, others if ids else ())
        for id in ids:
            if id not in there and id not in to_endpoints:
                raise GorgonError(f"{id} is not among what was given up: gorgonctl notifications list --state dead")
        done = 0
        for queue, broker, letter in (there[id] for id in dict.fromkeys(ids or there) if id in there):
            done += await links[broker].requeue(queue, letter.number)
            links.extend()
    again = [to_endpoints[id] for id in dict.fromkeys(ids or to_endpoints) if id in to_endpoints]
    for queue, messages in _replays(again, bool(ids)).items():
        async with Producer(fabric.carrier(queue, fabric.durable), "gorgonctl") as producer:
            await producer.push(queue, *messages)
    return [f"{counted(done + len(again), 'notification')} put back into the queue, to be sent again"]


async def _to_endpoints(caller: Caller, user: str, channel: str, ids: Sequence[str]) -> dict[str, Delivery]:
    """By their ids those that were given up, of this user and channel, to endpoints that are on; of these `ids`, if
    there are any."""
    filter: dict[str, Any] = {"state": "dead"} | ({"channel": channel} if channel else {})
    if ids:
        filter["id"] = {"$in": list(ids)}
    elif user:
        filter["id"] = {"$gte": f"{user}:", "$lt": f"{user};"}
    dead: dict[str, Delivery] = {}
    while some := {each["id"]: each for each in await _find(caller, filter, PART, _PLACE) if each["id"] not in dead}:
        dead |= some
        filter["ts"] = {"$lte": min(each["ts"] for each in some.values())}
    targets = sorted({_target(each) for each in dead.values() if each.get("target")})
    on: set[str] = set()
    for first in range(0, len(targets), PART):
        wanted = {"id": {"$in": targets[first : first + PART]}, "state": ON}
        on.update(each["id"] for each in await _find(caller, wanted, PART, ("id",), ENDPOINTS))
    return {id: each for id, each in dead.items() if _target(each) in on and user in ("", each["userid"])}


def _target(delivery: Delivery) -> str:
    return f"{delivery['userid']}:{delivery.get('target')}"


def _replays(again: Sequence[Delivery], named: bool) -> dict[str, list[Message]]:
    """By queue the messages that have these sent again, which were `named` or are all: one for each endpoint."""
    of: defaultdict[tuple[str, str, str], list[Delivery]] = defaultdict(list)
    for each in again:
        of[each["channel"], each["userid"], each["target"]].append(each)
    found: defaultdict[str, list[Message]] = defaultdict(list)
    for (channel, user, target), some in of.items():
        args = {"user": user, "target": target, "since": min(each["ts"] for each in some) if named else 0}
        if named:
            args["ids"] = [each["id"] for each in some]
        found[f"{QUEUE}:{channel}"].append(Message(REPLAY, args))
    return found


def _about(queue: str, letter: DeadLetter) -> tuple[str, str]:
    """The user whom a dead letter is for, and the id of the delivery; empty for one that is no notification."""
    message = message_of(letter)
    if message is None or not {"id", "user"} <= message.args.keys():
        return "", ""
    user, id, target = (str(message.args.get(name, "")) for name in ("user", "id", "target"))
    return user, ":".join(filter(None, (user, id, channel_of(queue), target)))


def delivery_table(found: Sequence[Delivery]) -> list[str]:
    """The lines of `gorgonctl notifications list`."""
    header = ("changed", "user", "kind", "channel", "state", ">tries", "next", "id", "why")
    return text.table(header, [tuple(_cells(each)) for each in found]) or ["there are none"]


def _cells(delivery: Delivery) -> Iterator[str]:
    yield text.clock(delivery["ts"])
    yield from (str(delivery.get(key, "")) for key in ("userid", "kind", "channel", "state", "tries"))
    yield text.clock(delivery["next"]) if delivery.get("next") else ""
    yield str(delivery["id"])
    yield " ".join(str(delivery[key]) for key in ("code", "reason") if delivery.get(key))
