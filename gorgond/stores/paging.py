"""Long lists, page by page: the next one begins after the place of the last document that was told.

A cursor is such a place: the `ts` and the id of a document, as a text that is nobody's business. It stays true whatever
is written or deleted meanwhile, that document too, and in every database. As `id` ends every sort no two documents have
one place, so none is told twice or left out. What comes after a place is a condition as any other: the database looks
at no more than the page, however far from the beginning that is.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from gorgond.errors import StoreRefused
from gorgond.redpill import dumps, loads
from gorgond.stores.contract import ANSWER_BYTES, Page, Query, Sort, ended, shorten
from gorgond.stores.filters import check, check_id, check_sort

PLACES = ("ts", "id")
"""The fields by which lists are sorted that have pages."""


def cursor_of(ts: int, id: str) -> str:
    """The cursor of a document."""
    return urlsafe_b64encode(dumps([ts, id])).rstrip(b"=").decode()


def following(filter: Mapping[str, Any], sort: Sort, cursor: object) -> dict[str, Any]:
    """The filter for what comes after that place in this order. Raises StoreRefused."""
    check(filter)
    check_sort(sort)
    if not has_pages(sort):
        raise StoreRefused("after: only what is sorted by ts or id has pages", field="after")
    ts, id = _place(cursor)
    by_id = next(direction for field, direction in ended(sort) if field == "id")
    place: dict[str, Any] = {"id": {_beyond(by_id): id}}
    field, direction = sort[0]
    if field == "ts":
        # The first condition leads through the index, the others leave out what came before at that very time.
        place = {"ts": {_beyond(direction) + "e": ts}, "$or": [{"ts": {_beyond(direction): ts}}, place]}
    return {**filter, "$and": [*filter.get("$and", ()), place]}


def has_pages(sort: Sort) -> bool:
    """Whether a list in this order has pages."""
    return bool(sort) and all(field in PLACES for field, _ in sort)


def page(query: Query, documents: Iterable[tuple[bytes, Any, Any]]) -> bytes:
    """The answer to a find: these documents, each with its `ts` and id, as one JSON array of ANSWER_BYTES at most. It
    is `cut` if that takes leaving some out: one that is too large by itself, and all from the first for which no room
    is left."""
    parts: list[bytes] = []
    size, cut, seen = 1, False, 0
    ts = id = None
    for document, *place in documents:
        if len(document) + 2 > ANSWER_BYTES:
            cut = True
        else:
            size += len(document) + 1
            if size > ANSWER_BYTES:
                cut = True
                break
            parts.append(document)
        seen += 1
        ts, id = place
    return ended_by(query, b"[%s]" % b",".join(parts), seen, ts, id, cut)


def ended_by(query: Query, documents: bytes, number: int, ts: Any, id: Any, cut: bool = False) -> bytes:
    """The answer to a find with the `number` documents that are in this JSON array, or were too large for it, the last
    of which has this `ts` and id. One that somebody else has put there, without such, has no place."""
    more = (cut or number == query.limit) and has_pages(query.sort)
    next = cursor_of(ts, id) if more and type(ts) is int and isinstance(id, str) else ""
    return Page(documents, cut, next) if cut or next else documents


def _beyond(direction: int) -> str:
    return "$gt" if direction > 0 else "$lt"


def _place(cursor: object) -> tuple[int, str]:
    """The place that a cursor is of. Raises StoreRefused."""
    try:
        if not isinstance(cursor, str):
            raise TypeError
        ts, id = loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        check_id(id)
        if type(ts) is not int or cursor_of(ts, id) != cursor:
            raise ValueError
    except (ValueError, TypeError, StoreRefused):
        raise StoreRefused("after: must be what an answer says under `next`, as it is", field="after") from None
    return ts, id


def part(doc: bytes, query: Query) -> bytes:
    """The part of a document that a query wants."""
    document = loads(doc)
    if query.projection:
        wanted = {"id", *query.projection}
        document = {key: value for key, value in document.items() if key in wanted}
    if query.short:
        shorten(document, query.short)
    return dumps(document)
