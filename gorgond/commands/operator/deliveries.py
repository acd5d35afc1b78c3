"""What became of each notification that was to be sent over a channel: documents in the store (`notifiers.delivering`).
Those that were given up are dead letters of the channel's queue, by which they are sent again.

A user is named by the id or by the e-mail address; an empty name means all, of channels too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from gorgond.app.notifying import DELIVERIES
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


async def _find(caller: Caller, filter: dict[str, Any], most: int) -> list[Delivery]:
    args = {"filter": filter, "sort": [["ts", -1]], "limit": most}
    reply = await caller.call("store_get", Message(f"{DELIVERIES}.find", args, deadline=now_ms() + PATIENCE))
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
    async with open_links(installation.connect()) as links:
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
        for id in ids:
            if id not in there:
                raise GorgonError(f"{id} is not among what was given up: gorgonctl notifications list --state dead")
        done = 0
        for queue, broker, letter in (there[id] for id in dict.fromkeys(ids or there)):
            done += await links[broker].requeue(queue, letter.number)
            links.extend()
    return [f"{counted(done, 'notification')} put back into the queue, to be sent again"]


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
