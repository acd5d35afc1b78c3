"""Where a database stands that is being moved: noted in it, in a collection of its own, so that no store works on one
that is half there, or goes on with one that was left."""

from __future__ import annotations

from typing import NamedTuple

from gorgond.errors import StoreRefused
from gorgond.redpill import loads, now_ms
from gorgond.stores.contract import Query, Store, Write
from gorgond.stores.findings import Finding
from gorgond.stores.schema import MOVING

_ID = "state"


class Moving(NamedTuple):
    """`filled` from another database, or `left` for another one; that one's address."""

    state: str
    other: str


def moving_of(store: Store) -> Moving | None:
    """What is noted there. Raises StoreAway."""
    [found] = store.find([Query(MOVING, {"id": _ID}, limit=1)])
    if isinstance(found, StoreRefused):
        raise found
    documents = loads(found)
    return Moving(documents[0]["state"], documents[0]["other"]) if documents else None


def note(store: Store, moving: Moving | None) -> None:
    """Note that, or that it stands for itself."""
    kind, fields = ("delete", {}) if moving is None else ("replace", moving._asdict())
    [done] = store.change([Write(kind, MOVING, _ID, now_ms(), fields, dated=False)])  # type: ignore[arg-type]
    if isinstance(done, StoreRefused):
        raise done


def finding(store: Store) -> list[Finding]:
    """The same, as what lets no store start there."""
    moving = moving_of(store)
    if moving is None:
        return []
    if moving.state == "left":
        return [Finding("content", f"moved to {moving.other}", "say that in [store] url", breaks=True)]
    advice = f"the command that began it finishes it: gorgond copy --finish; or go on with [store] url = {moving.other}"
    return [Finding("content", f"being copied from {moving.other}", advice, breaks=True)]
