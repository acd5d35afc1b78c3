"""The indexes that applications declare beside those of the roles.

An app server writes what its applications declare into the collection INDEXES, a document for each collection of each
application, as it writes any other. The stores look there again and again, and make what is not there yet. So no store
runs an application's code, and one that is started later, or a database that is moved, has the same indexes.

    {"id": "shop.orders", "collection": "orders", "newest": ["customer"], "values": ["sku"], "dropped": ["price"]}

A field that an application declared once, and does not any more, is `dropped`: its index goes, unless others ask for
it. Those of an application that nobody runs any more stay: who knows whether it comes back, and to make them again may
take long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gorgond.errors import StoreRefused
from gorgond.roles.row import FIELD, Indexes
from gorgond.stores.filters import check_collection
from gorgond.stores.schema import DECLARED, PRIVATE

DROPPED_MAX = 100  # fields of a declaration that are remembered: those that were dropped last
FIELDS_MAX = 16  # of a collection: each makes a write dearer
COLLECTIONS_MAX = 200


def declaration(id: str, collection: str, asked: Indexes, before: Mapping[str, Any]) -> dict[str, Any]:
    """The document that asks for these indexes, where `before` is the one that stands, or {}."""
    fields = {*asked.newest, *asked.values}
    once = [field for name in ("newest", "values", "dropped") for field in before.get(name) or ()]
    dropped = [field for field in dict.fromkeys(once) if field not in fields]
    return {
        "id": id, "collection": collection, "newest": list(asked.newest), "values": list(asked.values),
        "dropped": dropped[-DROPPED_MAX:],
    }  # fmt: skip


def dropped_of(documents: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The fields, by collection, that documents of INDEXES once asked for and none asks for now."""
    wanted, dropped = indexes_of(documents), dict[str, tuple[str, ...]]()
    for document in documents:
        name, fields = document.get("collection"), document.get("dropped")
        if not isinstance(name, str) or not isinstance(fields, list) or name in PRIVATE:
            continue
        kept = {field for each in (wanted.get(name), DECLARED.get(name)) if each for field in each.newest + each.values}
        gone = [each for each in fields if isinstance(each, str) and re.fullmatch(FIELD, each) and each not in kept]
        if gone:
            dropped[name] = tuple(dict.fromkeys([*dropped.get(name, ()), *gone]))
    return dropped


def indexes_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, Indexes]:
    """The indexes that documents of INDEXES ask for beside those of the roles, by collection; one that cannot be is
    left out."""
    asked: dict[str, tuple[list[str], list[str]]] = {}
    for document in documents:
        name: Any = document.get("collection")
        try:
            check_collection(name)
        except StoreRefused:
            continue
        if name in PRIVATE:
            continue
        if name not in asked and len(asked) >= COLLECTIONS_MAX:
            continue
        there = DECLARED.get(name, Indexes())
        newest, values = asked.setdefault(name, ([], []))
        for fields, more, before in (
            (newest, document.get("newest"), there.newest),
            (values, document.get("values"), there.values),
        ):
            for field in more if isinstance(more, list) else ():
                known = field in fields or field in before
                good = isinstance(field, str) and re.fullmatch(FIELD, field)
                if good and not known and len(newest) + len(values) < FIELDS_MAX:
                    fields.append(field)
    return {name: Indexes(tuple(newest), tuple(values)) for name, (newest, values) in asked.items() if newest or values}
