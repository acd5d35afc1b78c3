"""Documents in the store, asked for and changed through auth_store_get and auth_store_put, to which only we may push;
and what belongs to users whose accounts end, through the queues of all.

Every write says the newer `ts` of the clock and of the document it changes, so that hosts whose clocks differ a little
do not refuse each other's changes; one that comes too late all the same is made again on what is there by then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gorgond.redpill import CallFailed, Message, loads, now_ms
from gorgond.roles import ROLES
from gorgond.service.calling import Calling

Document = dict[str, Any]

TIMEOUT = 10_000  # ms for one question to the store, outages of the broker included
CHANGES = 10  # so many times in a row nobody else changes the same document


class Records:
    """The store, for the auth server. Raises what a call raises: CallFailed, DeadlineExceeded, BrokerError."""

    def __init__(self, caller: Calling) -> None:
        self._caller = caller

    async def get(self, collection: str, id: str) -> Document | None:
        """The document of this id."""
        found = await self.find(collection, {"id": id}, 1)
        return found[0] if found else None

    async def find(self, collection: str, filter: Mapping[str, Any], limit: int = 1000) -> list[Document]:
        """The documents that match."""
        args = {"filter": filter, "limit": limit}
        found: list[Document] = await self._ask("auth_store_get", f"{collection}.find", args)
        return found

    async def insert(self, collection: str, document: Document) -> bool:
        """Store a document with an id of its own; False when there is one of this id."""
        return await self._write(f"{collection}.insert", {"documents": [document]}) == "stored"

    async def patch(self, collection: str, document: Document, changes: Mapping[str, Any]) -> bool:
        """Set these fields of a document as it was found; False when it is gone."""
        for _ in range(CHANGES):
            args = {"id": document["id"], "changes": changes, "ts": _newer(document)}
            effect = await self._write(f"{collection}.patch", args)
            if effect != "stale":
                return effect == "stored"
            found = await self.get(collection, document["id"])
            if found is None:
                return False
            document = found
        raise CallFailed(409, f"{collection}: others change this at the same time")

    async def patch_unchanged(self, collection: str, document: Document, changes: Mapping[str, Any]) -> bool:
        """Set these fields of a document if it is as it was found; False when it is not. Of several who found the same
        one succeeds."""
        args = {"id": document["id"], "changes": changes, "unchanged": document["ts"]}
        return await self._write(f"{collection}.patch", args) == "stored"

    async def amend(self, collection: str, document: Document, changes: Mapping[str, Any]) -> None:
        """Set these fields of a document unless it is a newer one by now; it is no newer one by that."""
        await self._write(f"{collection}.patch", {"id": document["id"], "changes": changes, "ts": document["ts"]})

    async def delete(self, collection: str, document: Document) -> None:
        """Delete a document as it was found, or as it is by now."""
        for _ in range(CHANGES):
            args = {"id": document["id"], "ts": _newer(document)}
            if await self._write(f"{collection}.delete", args) != "stale":
                return
            document = await self.get(collection, document["id"]) or document
        raise CallFailed(409, f"{collection}: others change this at the same time")

    async def delete_unchanged(self, collection: str, document: Document) -> None:
        """Delete a document unless it is a newer one by now."""
        await self._write(f"{collection}.delete", {"id": document["id"], "ts": document["ts"]})

    async def belongings(self, userid: str, most: int, among: Collection[str] | None = None) -> list[tuple[str, str]]:
        """Documents of a user, private ones too, by collection and id: so many of each collection, or of each `among`
        these."""
        user = {"id": userid, "reads": "own"}
        found: list[tuple[str, str]] = []
        for collection, filter in owned_filters(userid).items():
            if among is not None and collection not in among:
                continue
            args = {"filter": filter, "limit": most, "fields": ["ts"]}
            documents = await self._ask("store_get", f"{collection}.find", args, user)
            found += [(collection, each["id"]) for each in documents]
        return found

    async def delete_belonging(self, collection: str, id: str, userid: str) -> None:
        """Delete a document of this user, whatever it is by now."""
        await self._ask("store_put", f"{collection}.delete", {"id": id}, {"id": userid})

    async def pass_writes(self) -> None:
        """Wait until the stores have taken up all that lies before this in the broker's `store_put`. It changes
        nothing there: nothing is so old that it is older than the time 0."""
        await self._ask("store_put", "items.patch", {"id": "none", "changes": {}, "ts": 0})

    async def _write(self, op: str, args: Document) -> str:
        effect: str = (await self._ask("auth_store_put", op, args))["results"][0]["effect"]
        return effect

    async def _ask(self, queue: str, op: str, args: Document, user: Document | None = None) -> Any:
        reply = await self._caller.call(queue, Message(op, args, user=user, deadline=now_ms() + TIMEOUT))
        if reply.error is not None:
            raise reply.error
        return loads(reply.body)


TARGETS = frozenset(name for role in ROLES.values() for name, each in role.collections.items() if each.targets)
"""The collections that say where else users are told."""


def owned_filters(userid: str) -> dict[str, dict[str, Any]]:
    """The filters for all that belongs to a user, by collection, as the table of roles says."""
    filters: dict[str, dict[str, Any]] = {
        "userid": {"userid": int(userid)},
        "id": {"id": userid},
        "id:": {"id": {"$gt": f"{userid}:", "$lt": f"{userid};"}},
    }
    owned = ((name, each.owner) for role in ROLES.values() for name, each in role.collections.items() if each.owner)
    return {name: filters[owner] for name, owner in owned}


def _newer(document: Document) -> int:
    return max(now_ms(), int(document["ts"]) + 1)
