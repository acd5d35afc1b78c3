"""The indexes that applications declare beside those of the roles.

An app server writes what its applications declare into the collection INDEXES, a document for each collection of each
application, as it writes any other. The stores look there again and again, and make what is not there yet. So no store
runs an application's code, and one that is started later, or a database that is moved, has the same indexes.

    {"id": "shop.orders", "collection": "orders", "newest": ["customer"], "values": ["sku"]}

An index that is no longer declared stays: others may ask for it, and to make it again may take long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gorgond.errors import StoreRefused
from gorgond.roles.row import FIELD, Indexes
from gorgond.stores.filters import check_collection
from gorgond.stores.schema import DECLARED, PRIVATE

FIELDS_MAX = 16  # of a collection: each makes a write dearer
COLLECTIONS_MAX = 200


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
