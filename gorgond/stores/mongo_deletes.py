"""How MongoDB deletes: a tombstone first, then the document; `stores.mongo_writes` says how others meet it.

The tombstone has the marks of what was deleted and that of the delete, which whoever makes the document again takes out
of it. So a delete that comes again is known: its mark is in the tombstone, and in the document if there is one. In the
tombstone alone it is that of a delete that got no further, or that a newer version was in the way of: it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo import DeleteOne, UpdateOne
from pymongo.database import Database

from gorgond.errors import StoreAway, StoreRefused
from gorgond.redpill import now_ms
from gorgond.stores.contract import Write, Written
from gorgond.stores.mongo_commands import FIRST, MARKS, Document, Operation, Outcome, bulk, look, refusal, version
from gorgond.stores.ownership import allowed
from gorgond.stores.repeats import MARKS_MAX, mark, newest
from gorgond.stores.schema import TOMBSTONES

RACES = 20
"""So many times in a row nobody changes a document between our look at it and its delete."""


def delete_all(db: Database[Document], name: str, writes: Sequence[Write]) -> list[Outcome]:
    """Deletes of different ids in one collection.

    The document that is there decides the outcome; a writer that makes it anew in between comes after us.
    """
    outcomes: list[Outcome] = [Written("missing", write.ts) for write in writes]
    todo = list(range(len(writes)))
    for _ in range(RACES):
        todo = _delete(db, name, writes, todo, outcomes)
        if not todo:
            return outcomes
    raise StoreAway(f"{name}: too many writers of one document at a time")


def _delete(
    db: Database[Document], name: str, writes: Sequence[Write], places: list[int], outcomes: list[Outcome]
) -> list[int]:
    """Do those at `places`; gives back those whose document was changed meanwhile, although we come last."""
    found = look(db[name], [writes[place].id for place in places])
    graves = look(db[TOMBSTONES], [f"{name}:{writes[place].id}" for place in places])
    tombstones: dict[int, Operation] = {}
    deletes: dict[int, Operation] = {}
    there = 0
    for place in places:
        write, key = writes[place], f"{name}:{writes[place].id}"
        stored, grave, own = found.get(write.id), graves.get(key, {}), mark(write)
        before = grave.get("known", False)
        if refused := refusal(stored, write):
            outcomes[place] = refused
            continue
        if own in grave.get(MARKS, ()) and (stored is None or own in stored.get(MARKS, ())):
            outcomes[place] = Written("deleted" if before else "missing", version(grave))
            continue
        if write.dated and stored is not None and version(stored) > write.ts:
            outcomes[place] = Written("stale", version(stored))
            continue
        try:
            ts = newest(write, version(grave) - 1 if stored is None else version(stored))
        except StoreRefused as refused:
            outcomes[place] = refused
            continue
        outcomes[place] = Written("deleted" if before or stored is not None else "missing", ts)
        there += stored is not None
        tombstones[place] = UpdateOne({"_id": key}, _burial(ts, own, stored, grave), upsert=True)
        deletes[place] = DeleteOne({"_id": write.id, "ts": {"$not": {"$gt": ts}}, **allowed(write.asker)})
    if bulk(db[TOMBSTONES], tombstones).failures:
        raise StoreAway(f"{name}: deletes got in each other's way")
    if bulk(db[name], deletes).deleted == there:
        return []
    last = [place for place in deletes if not writes[place].dated]
    found = look(db[name], [writes[place].id for place in last])
    return [place for place in last if version(found.get(writes[place].id, {})) > _ts(outcomes[place])]


def _burial(ts: int, own: int | None, stored: Document | None, grave: Document) -> Document:
    """The fields for a tombstone: what is known of the document, and the mark of the delete."""
    marks = [each for each in (stored or {}).get(MARKS, ()) if each not in grave.get(MARKS, ())]
    if own is not None:
        marks.append(own)
    now: Document = {"at": datetime.fromtimestamp(now_ms() / 1000, UTC)}
    if stored is not None:
        now["known"] = True
        if FIRST in stored:
            now[FIRST] = stored[FIRST]
    return {"$max": {"ts": ts}, "$set": now, "$push": {MARKS: {"$each": marks, "$slice": -MARKS_MAX}}}


def _ts(outcome: Outcome) -> int:
    return outcome.ts if isinstance(outcome, Written) else 0
