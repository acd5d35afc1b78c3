"""The store and the providers as a handler sees them. Each call may raise what a call raises: CallFailed with the other
side's code, DeadlineExceeded, QueueFull, BrokerAway; a handler that lets it pass answers with it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gorgond.app.arrays import read_array
from gorgond.errors import Conflict, NotFound, Refused
from gorgond.redpill import Reply, loads

Document = dict[str, Any]


class Asks(Protocol):
    """The context on whose behalf the clients ask, which gives each question its deadline and its id."""

    async def ask(self, queue: str, op: str, args: dict[str, Any], private: bool = False) -> Reply:
        """Have something read or fetched, with what is private to the user who asks if so; its errors are raised."""

    async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
        """Have something changed, once; its errors are raised."""


class Documents(list[Document]):
    """Documents that were found. `next` is where others may follow, for `after`; empty at the end of the list. `more`:
    an answer had no room for all that were asked for. A handler that gives them back as they are answers with the
    headers `X-Next` and `X-More: true` then."""

    more = False
    next = ""


class Count(int):
    """How many documents there are. `more`: there are more than that, which were not counted. A handler that gives it
    back as it is answers with the header `X-More: true` then."""

    more = False


def queue_of(args: Mapping[str, Any]) -> str:
    """Where these arguments of a find or count go: searches have a queue of their own, so that no other read waits
    behind them."""
    return "store_search" if args.get("search") else "store_get"


async def documents_of(reply: Reply) -> Documents:
    """The documents that a store found."""
    found = Documents(await read_array(reply.body))
    found.more, found.next = reply.more, reply.next
    return found


class StoreClient:
    """The database; filters as in `gorgond.stores.filters`: {"userid": 5, "ts": {"$gte": 1700000000000}}."""

    __slots__ = ("_context",)

    def __init__(self, context: Asks) -> None:
        self._context = context

    async def find(
        self,
        collection: str,
        filter: Mapping[str, Any] | None = None,
        *,
        sort: str = "",
        limit: int = 20,
        skip: int = 0,
        after: str = "",
        fields: Sequence[str] = (),
        search: str = "",
        private: bool = False,
    ) -> Documents:
        """The documents that the filter finds, `limit` of them at most (1000 at most, and 15 MB), with `id` and `ts`.

        `sort` names fields, "-ts,title": those with - the largest first; of those that are alike there, the `id`
        decides. What is sorted by `ts` or `id` has pages: the next one is what comes `after` the `next` of this one.
        `skip` leaves so many out, which costs the more the more they are. `fields` are those wanted, empty: all.
        `search`: words in title or body, 16 at most. Of the items that are private, those of the user who asks are
        found with `private`, and no others.
        """
        args: dict[str, Any] = {"filter": filter or {}, "limit": limit}
        if sort:
            args["sort"] = [[name.removeprefix("-"), -1 if name.startswith("-") else 1] for name in sort.split(",")]
        if skip:
            args["skip"] = skip
        if after:
            args["after"] = after
        if fields:
            args["fields"] = list(fields)
        if search:
            args["search"] = search
        reply = await self._context.ask(queue_of(args), f"{collection}.find", args, private)
        return await documents_of(reply)

    async def get(self, collection: str, id: str) -> Document:
        """The document of that id. Raises NotFound, and Refused 422 for one of more than 15 MB."""
        found = await self.find(collection, {"id": id}, limit=1)
        if found.more:
            raise Refused(422, f"{id} in {collection} is too large to be sent")
        if not found:
            raise _missing(collection, id)
        return found[0]

    async def count(self, collection: str, filter: Mapping[str, Any] | None = None, *, search: str = "") -> Count:
        """How many documents the filter finds; of a `search` 10,000 at most are counted."""
        args: dict[str, Any] = {"filter": filter or {}}
        if search:
            args["search"] = search
        reply = await self._context.ask(queue_of(args), f"{collection}.count", args)
        count = Count(loads(reply.body))
        count.more = reply.more
        return count

    async def insert(self, collection: str, document: Mapping[str, Any]) -> str:
        """Store a document, which gets an id if it has none: its id. The same again changes nothing. Raises Conflict
        when there is another one of that id, whose first content is other, or it was deleted since."""
        return (await self.insert_all(collection, [document]))[0]

    async def insert_all(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> list[str]:
        """The same for up to 1000. Those that are in nobody's way are stored all the same."""
        results = await self._change(f"{collection}.insert", {"documents": [dict(each) for each in documents]})
        for each in results:
            _check(collection, each)
        return [each["id"] for each in results]

    async def replace(self, collection: str, document: Mapping[str, Any]) -> None:
        """Store a document in the place of that of its id. Raises Conflict when that has a newer `ts` than one in the
        document, or was deleted since."""
        results = await self._change(f"{collection}.replace", {"documents": [dict(document)]})
        _check(collection, results[0])

    async def patch(
        self, collection: str, id: str, changes: Mapping[str, Any], *, unchanged: int | None = None
    ) -> None:
        """Set these fields of a document; None removes one. With `unchanged`, the `ts` of the document as it was read,
        only if nobody has changed it since. Raises NotFound, and Conflict when somebody has."""
        args: dict[str, Any] = {"id": id, "changes": dict(changes)}
        if unchanged is not None:
            args["unchanged"] = unchanged
        _check(collection, (await self._change(f"{collection}.patch", args))[0])

    async def delete(self, collection: str, id: str) -> None:
        """Delete a document. Raises NotFound."""
        _check(collection, (await self._change(f"{collection}.delete", {"id": id}))[0])

    async def _change(self, op: str, args: dict[str, Any]) -> list[dict[str, str]]:
        reply = await self._context.change("store_put", op, args)
        results: list[dict[str, str]] = loads(reply.body)["results"]
        return results


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer of an API outside; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The value in the body. Raises ValueError for what is no JSON."""
        return loads(self.body)


class ProviderClient:
    """Data from outside, and to it: the operation "mail.fetch" is `fetch` of the provider [provider.mail]. Both raise
    NotFound when there is no such provider, or it knows no such operation."""

    __slots__ = ("_context",)

    def __init__(self, context: Asks) -> None:
        self._context = context

    async def get(self, op: str, args: Mapping[str, Any] | None = None) -> Any:
        """Have data fetched: the provider's answer."""
        return loads((await self._context.ask(_of_provider("provider_get", op), op, dict(args or {}))).body)

    async def put(self, op: str, args: Mapping[str, Any] | None = None) -> Any:
        """Have data sent: the provider's answer."""
        return loads((await self._context.change(_of_provider("provider_put", op), op, dict(args or {}))).body)


async def fetch(
    context: Asks, method: str, url: str, headers: Mapping[str, str], body: bytes | None, by: str
) -> Fetched:
    """The answer of an API outside, which the provider `by` asks."""
    args: dict[str, Any] = {"method": method, "url": url, "headers": dict(headers)}
    if body is not None:
        args["body"] = b64encode(body).decode()
    provider, op = ProviderClient(context), f"{by}.fetch"
    answer = await (provider.get(op, args) if method in ("GET", "HEAD") else provider.put(op, args))
    return Fetched(answer["status"], answer["headers"], b64decode(answer["body"]))


def _of_provider(queue: str, op: str) -> str:
    """The queue of the provider that the operation names."""
    return f"{queue}:{op.partition('.')[0]}"


def _check(collection: str, result: Mapping[str, str]) -> None:
    if result["effect"] == "missing":
        raise _missing(collection, result["id"])
    if result["effect"] == "conflict":
        raise Conflict(f"there is another {result['id']} in {collection}, with other content")
    if result["effect"] == "stale":
        raise Conflict(f"there is a newer version of {collection} {result['id']}, or it was deleted since")


def _missing(collection: str, id: str) -> NotFound:
    return NotFound(f"there is no {id} in {collection}")
