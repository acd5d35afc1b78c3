"""Whose an item is. Ids of registered users are numbers from REGISTERED on: an item with such a `userid` is that
user's, all others are anybody's.

A write that has to keep to that says who asks (`Write.asker`). It is refused where it would make, or touch, what is
another registered user's: 401 when nobody is logged in, 403 else. The driver looks at what is stored in the same
statement as it writes, so that nothing comes between. Where what is stored is private to another, it is answered as it
would be if there were none, or, by what makes a document, as for any id that is taken: a refusal would tell that it is
there.

An item of a registered user whose field `private` is true is found by that user alone. A read says for whom it is
(`Query.viewer`), and the driver leaves out what is private to others, in the same statement as it finds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.bounds import REGISTERED
from gorgond.errors import StoreRefused
from gorgond.stores.contract import Effect, Kind, Write, Written

NOBODY = -1  # asks, when nobody is logged in
PRIVATE = "private"  # the field that says that an item is its owner's alone to see


def check_owner(document: Mapping[str, Any], asker: int | None) -> None:
    """Refuse a document that is none of `asker`'s business; None is a writer that decides that by itself.

    Raises StoreRefused 401 and 403.
    """
    if asker is None:
        return
    owners = document.get("userid")
    numbers = [owner for owner in (owners if isinstance(owners, list) else [owners]) if isinstance(owner, int | float)]
    if asker in numbers or not any(owner >= REGISTERED for owner in numbers):
        return
    if asker == NOBODY:
        raise StoreRefused("userid: this is a registered user's, who alone may write it: log in", 401, "userid")
    raise StoreRefused("userid: this is another user's, who alone may write it", 403, "userid")


_UNSEEN: Mapping[Kind, Effect] = {"insert": "conflict", "replace": "stale", "patch": "missing", "delete": "missing"}


def barred(stored: Mapping[str, Any], write: Write) -> Written | None:
    """The outcome of a write that meets what is private to another than its asker, if that is what it meets.

    Raises StoreRefused for what is another's and not private.
    """
    try:
        check_owner(stored, write.asker)
    except StoreRefused:
        if stored.get(PRIVATE) is True:
            return Written(_UNSEEN[write.kind], write.ts)
        raise
    return None


def hidden(viewer: int) -> dict[str, Any]:
    """The items that are private to others than `viewer`, as a filter."""
    return {PRIVATE: True, "userid": {"$gte": REGISTERED, "$ne": viewer}}


def allowed(asker: int | None) -> dict[str, Any]:
    """What `check_owner` lets pass, as a filter of MongoDB's."""
    return {} if asker is None else {"$nor": [{"userid": {"$gte": REGISTERED, "$ne": asker}}]}
