"""Messages to a store, made into queries and writes; the drivers check their values.

Raises StoreRefused for what does not fit, naming the argument and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.bounds import LIM_MAX
from gorgond.errors import StoreRefused
from gorgond.redpill import ID_MAX, Message
from gorgond.stores.contract import Kind, Once, Query, Write
from gorgond.stores.ownership import NOBODY
from gorgond.stores.paging import following
from gorgond.stores.schema import CONTACT, KEPT_ONCE, MOVING, OWNED, PRIVATE, PROVIDERS

_FIND = frozenset({"filter", "sort", "limit", "skip", "after", "fields", "search", "short"})
_KINDS: dict[str, tuple[Kind, frozenset[str]]] = {
    "insert": ("insert", frozenset({"documents"})),
    "replace": ("replace", frozenset({"documents"})),
    "patch": ("patch", frozenset({"id", "changes", "ts", "unchanged"})),
    "delete": ("delete", frozenset({"id", "ts"})),
}


AUTH = "auth_"
"""The names of the auth server's own queues begin so: auth_store_get, auth_store_put."""
OF_PROVIDERS = "provider_"
"""And that of the providers' own: provider_store_get."""
OF_NOTIFICATIONS = "notify_"
"""And that of the notification servers' own: notify_store_get."""


def query_of(message: Message, queue: str) -> tuple[str, Query]:
    """The question of a message of store_get, or of another queue that is read by: "find" or "count", and the query."""
    collection, _, verb = message.op.partition(".")
    if verb not in ("find", "count"):
        raise StoreRefused(f"{message.op}: {queue} takes <collection>.find and <collection>.count")
    args = message.args
    _check_only(args, _FIND)
    if queue.startswith(OF_NOTIFICATIONS):
        if verb != "find" or not _by_id(args, CONTACT.get(collection, ())):
            raise StoreRefused(f"{message.op}: {queue} tells how a user is reached, and nothing else", 403)
    elif queue.startswith(OF_PROVIDERS) or not (verb == "find" and _by_id(args, PRIVATE.get(collection, ()))):
        _check_queue(collection, queue)
    sort, fields = args.get("sort", ()), args.get("fields", ())
    for name, pairs in (("sort", sort), ("fields", fields)):
        if not isinstance(pairs, list | tuple):
            raise StoreRefused(f"{name}: must be a list")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in sort):
        raise StoreRefused('sort: must be a list of pairs, as [["ts", -1]]')
    order = tuple((field, direction) for field, direction in sort)
    filter = args.get("filter", {})
    return verb, Query(
        collection,
        following(filter, order, args["after"]) if "after" in args else filter,
        order,
        args.get("limit", 20),
        args.get("skip", 0),
        tuple(fields),
        args.get("search", ""),
        args.get("short", 0),
        _viewer(message.user) if collection in OWNED else None,
    )


def writes_of(message: Message, queue: str) -> list[Write]:
    """The writes that a message of store_put or auth_store_put asks for."""
    collection, _, verb = message.op.partition(".")
    if verb not in _KINDS:
        raise StoreRefused(f"{message.op}: {queue} takes <collection>. followed by {', '.join(_KINDS)}")
    kind, allowed = _KINDS[verb]
    args = message.args
    _check_only(args, allowed)
    if not (kind == "insert" and collection in KEPT_ONCE):
        _check_queue(collection, queue)
    asker = _asker(message.user)
    if kind in ("patch", "delete"):
        ts, changes, unchanged = args.get("ts", message.sent), args.get("changes", {}), args.get("unchanged")
        if unchanged is not None:
            if type(unchanged) is not int or "ts" in args:
                raise StoreRefused("unchanged: must be the ts of the document as it was found, beside no ts")
            ts = max(ts, unchanged + 1)
        dated = "ts" in args or unchanged is not None
        return [Write(kind, collection, args.get("id", ""), ts, changes, asker, dated, message.id, unchanged)]
    documents = args.get("documents")
    if not isinstance(documents, list) or not 0 < len(documents) <= LIM_MAX:
        raise StoreRefused(f"documents: must be a list of 1 to {LIM_MAX} objects")
    writes: list[Write] = []
    ids: set[str] = set()
    for index, document in enumerate(documents):
        if not isinstance(document, dict):
            raise StoreRefused(f"documents: must be a list of 1 to {LIM_MAX} objects")
        # A repeat of the message makes the same ids.
        id = document.get("id") or (f"{message.id}-{index}" if index else message.id)
        if not isinstance(id, str):
            raise StoreRefused("id: must be a string", field="id")
        if id in ids:
            raise StoreRefused(f"id: {id[:100]!r} is given twice", field="id")
        ids.add(id)
        ts = document.get("ts", message.sent)
        made = {**document, "id": id, "ts": ts}
        writes.append(Write(kind, collection, id, ts, made, asker, "ts" in document, message.id))
    return writes


def once_of(message: Message) -> Once | None:
    """The key under which a message of store_put may come again, as another message too; None if it has none."""
    once = (message.user or {}).get("once")
    if once is None:
        return None
    key, said = (once.get("key"), once.get("said")) if isinstance(once, dict) else (None, None)
    if not all(isinstance(text, str) and 0 < len(text) <= ID_MAX for text in (key, said)):
        raise StoreRefused("once: must be the key and the fingerprint of a request")
    return Once(str(key), str(said))


def _asker(user: Mapping[str, Any] | None) -> int | None:
    """The user who asks, and may write only what is that user's or nobody's; None for a writer that decides by itself
    whose it writes."""
    return None if user is None or user.get("writes") != "own" else _number(user)


def _viewer(user: Mapping[str, Any] | None) -> int:
    """The user to whom private documents may be shown: the one who asks, if that is asked for."""
    return NOBODY if user is None or user.get("reads") != "own" else _number(user)


def _number(user: Mapping[str, Any]) -> int:
    id = str(user.get("id", ""))
    return int(id) if id.isascii() and id.isdigit() and len(id) < 20 else NOBODY


def _check_queue(collection: str, queue: str) -> None:
    if collection == MOVING:
        raise StoreRefused(f"{collection}: the stores' own, by which they know whether a database is whole", 403)
    if collection != PROVIDERS and queue.startswith(OF_PROVIDERS):
        raise StoreRefused(f"{collection}: providers are told of the collection {PROVIDERS} alone", 403)
    if collection in PRIVATE and not queue.startswith(AUTH):
        raise StoreRefused(f"{collection}: only the auth server may, over {AUTH}{queue}", 403)
    if collection not in PRIVATE and queue.startswith(AUTH):
        raise StoreRefused(f"{collection}: this goes over {queue.removeprefix(AUTH)}", 403)


def _by_id(args: Mapping[str, Any], public: Sequence[str]) -> bool:
    """Whether a find asks for nothing but what its asker may know: fields that are `public` there, by the ids."""
    filter, fields = args.get("filter"), args.get("fields")
    if not (isinstance(filter, dict) and list(filter) == ["id"] and isinstance(fields, list) and fields):
        return False
    by_id = isinstance(filter["id"], str) or (isinstance(filter["id"], dict) and list(filter["id"]) == ["$in"])
    return by_id and all(field in public for field in fields) and not args.get("search") and not args.get("sort")


def _check_only(args: Mapping[str, Any], allowed: frozenset[str]) -> None:
    for name in args:
        if name not in allowed:
            raise StoreRefused(f"{name}: not an argument here; allowed are {', '.join(sorted(allowed))}")
