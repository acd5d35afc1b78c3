"""The end of an account: what its user asks for is answered at once, the rest is a job that is kept.

    auth_erase   {"id", "claims"}   a user's id and what `emails` may have of the user; "again" when nothing was found
                 before, and "last" when that was so twice: then the account goes too

The account is marked first: in one write it loses its password, address, name, roles and sessions, and nobody is
known by it. The job does that too, so it does not matter who died in between. Then it deletes, a part at a time, the
user's sessions, identities at other sites, claim to the address, and all that belongs to the user, private notes too,
through the stores' queues, as their owner would: each is announced, and gone for good. Each part is a message of its
own, and all that it does can be done again.

A request that the user had made just before may be under way still, and a note answered 202 lies in the durable
`store_put` for as long as that is paused. So before each look a message goes through there, and the job goes on when
that was answered: all that lay before it is in the stores' hands. It looks LATER seconds after it has found nothing,
when no request of the user's is under way any more; and LATER seconds after that, when no store has anything in hand
any more, it looks for the last time and deletes the account itself.

A part that the stores do not do, because they are away or paused or others change the same, is tried again until they
do it: as a message of its own, which has all its attempts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gorgond.auth.records import Document, Records
from gorgond.auth.tokens import Tokens, new_era
from gorgond.auth.users import ERASED, Users
from gorgond.redpill import CallFailed, GorgonError, Message, now_ms

QUEUE = "auth_erase"
PART = 200  # documents of each collection that one message deletes
LATER = 60.0  # seconds: longer than a request may be under way, or a write in the hands of a store

log = logging.getLogger("gorgond.auth")

Push = Callable[[Message, float], Awaitable[None]]
"""Keeps a message for QUEUE until so many seconds have passed."""


class Erasing:
    """Ends accounts. `kept` asks the stores over the broker that lasts. Raises what asking the store raises, and
    pushing."""

    def __init__(self, records: Records, kept: Records, users: Users, tokens: Tokens, push: Push) -> None:
        self._records = records
        self._kept = kept
        self._users = users
        self._tokens = tokens
        self._push = push

    async def begin(self, user: Document) -> bool:
        """End this user's account: on return it is sure to be erased. Whether nobody is known by it any more already;
        else the job sees to that soon, since others change the account at this moment."""
        args = {"id": user["id"], "claims": self._users.claims(user["email"])}
        await self._push(Message("auth.erase", args), 0)
        try:
            await self._mark(user)
        except CallFailed as failed:
            if failed.code != 409:
                raise
            return False
        return True

    async def _mark(self, user: Document) -> None:
        blank = {"name": "", "email": "", "passhash": "", "roles": [], ERASED: now_ms(), **new_era()}
        await self._records.patch("users", user, blank)
        await self._tokens.end_others(user["id"])

    async def part(self, job: Message) -> None:
        """Do a part of what the job asks for, and see to the next one; to the same one, later, when the stores do not
        do it. Raises what pushing raises."""
        try:
            await self._do(job)
        except GorgonError as error:
            log.info("the end of user %s is tried again in %g s: %s", job.args["id"], LATER, error)
            await self._push(Message(job.op, job.args), LATER)

    async def _do(self, job: Message) -> None:
        id, claims = job.args["id"], job.args.get("claims", ())
        again, last = job.args.get("again", False), job.args.get("last", False)
        user = await self._records.get("users", id)
        if user is not None and not user.get(ERASED):
            await self._mark(user)
        for collection in ("sessions", "identities"):
            await self._delete(collection, await self._records.find(collection, {"userid": id}))
        for claim in claims:
            found = await self._records.get("emails", claim)
            if found is not None and found["userid"] == id:
                await self._records.delete_unchanged("emails", found)
        await self._kept.pass_writes()
        left = await self._records.belongings(id, PART)
        await asyncio.gather(*(self._records.delete_belonging(collection, each, id) for collection, each in left))
        if left:
            await self._push(Message(job.op, job.args), 0)
        elif not last:
            await self._push(Message(job.op, {**job.args, "again": True, "last": again}), LATER)
        elif user is not None:
            await self._records.delete("users", user)

    async def _delete(self, collection: str, documents: list[Document]) -> Any:
        return await asyncio.gather(*(self._records.delete(collection, document) for document in documents))
