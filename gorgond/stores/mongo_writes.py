"""How MongoDB is written: in bulk, and still with the exact effect of every single write.

A bulk write tells only which of its operations failed. So each operation is made such that it fails exactly when it
has no effect:

    insert   fails on the id that is there already
    replace  an upsert for "this id, not newer than me, not changed by me before": where that is not so, the upsert
             tries to insert a second document of that id and fails
    patch    the same, and should it come to an insert, that one would have a forbidden id and fails
    delete   is announced by a tombstone first (`stores.mongo_deletes`)

Only the failed ones are looked at again, one find for all: what was in their way decides what became of them. One that
comes after whatever is there takes the next `ts` and goes again, and so does one that has nothing in its way by now.
A write answers by the state that it saw at that moment: an insert that finds other content is a conflict, whoever
deletes that next.

A delete first leaves its tombstone, then deletes. Every other write is done first and then looks for tombstones. In
whatever order two of them meet, at least one sees the other: a document that a late writer brings back is deleted by
the delete, or by that writer itself, who finds the tombstone.

A writer that makes a document anew that was deleted takes the marks out of its tombstone. Until then, for a
millisecond, a change of the old document that comes again is taken for one of the new: that is all that is not exact
here.

Writes to one id keep their order in rounds: every id's first write, then every id's second, and so on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.database import Database

from gorgond.errors import StoreAway, StoreRefused
from gorgond.stores.contract import Write, Written, refused_by
from gorgond.stores.filters import check_write
from gorgond.stores.folding import copies
from gorgond.stores.mongo_commands import (
    FIRST,
    MARKS,
    PUT,
    Document,
    Operation,
    Outcome,
    bulk,
    contents,
    copy_of,
    encoded,
    look,
    refusal,
    version,
)
from gorgond.stores.mongo_deletes import delete_all
from gorgond.stores.mongo_words import Note, Words
from gorgond.stores.ownership import allowed
from gorgond.stores.repeats import MARKS_MAX, fingerprint, mark, newest, same_content
from gorgond.stores.schema import FOLDED, TEXT, TOMBSTONES
from gorgond.stores.words import text_of

DUPLICATE_KEY, IMMUTABLE_FIELD = 11000, 66

RACES = 20
"""So many times in a row no write loses against others."""

SURE = 60.0
"""Seconds within which a batch is written after it was put into the index for searches; else nobody is sure that it
still has it. Far below `mongo_sweep.GRACE`."""

NOTHING = Written("missing", 0)
"""The outcome of a write of which nothing is known yet."""

NO_DOCUMENT = {"_id": 0}
"""Not an id that any document has: an upsert that finds none to update fails here, before it inserts."""


def write_batch(db: Database[Document], writes: Sequence[Write], indexes: Mapping[str, Words]) -> list[Outcome]:
    """Do the writes and say what became of each; `indexes` are those for searches that are to be kept, by the names of
    collections."""
    outcomes: list[Outcome] = [NOTHING] * len(writes)
    rounds: list[dict[tuple[str, bool], list[int]]] = []
    seen: Counter[tuple[str, str]] = Counter()
    for place, write in enumerate(writes):
        try:
            check_write(write)
        except StoreRefused as error:
            outcomes[place] = error
            continue
        turn = seen[write.collection, write.id]
        seen[write.collection, write.id] += 1
        if turn == len(rounds):
            rounds.append({})
        rounds[turn].setdefault((write.collection, write.kind == "delete"), []).append(place)
    began = time.monotonic()
    keys: dict[int, bytes] = {}
    for name, index in indexes.items():
        put = [place for groups in rounds for place in groups.get((name, False), ()) if _puts(writes[place])]
        some = [writes[place] for place in put]
        notes = [Note(each.id, each.ts, text_of(each.document, TEXT[name])) for each in some]
        keys |= zip(put, index.put(notes), strict=True)
    for groups in rounds:
        for (collection, deletes), places in groups.items():
            some = [writes[place] for place in places]
            done = (
                delete_all(db, collection, some)
                if deletes
                else _Changes(db, collection, some, [keys.get(place) for place in places]).run()
            )
            for place, outcome in zip(places, done, strict=True):
                outcomes[place] = outcome
    for name, index in indexes.items():
        if any(write.collection == name and not _is_new(write, outcomes[place]) for place, write in enumerate(writes)):
            index.outdated.set()
    if time.monotonic() - began > SURE:
        _doubt(db, writes, keys)
    return outcomes


def _is_new(write: Write, outcome: Outcome) -> bool:
    """Whether it stored a document where there was none: all that is in an index of it is as it should be."""
    return write.kind == "insert" and isinstance(outcome, Written) and outcome.effect == "stored"


def _doubt(db: Database[Document], writes: Sequence[Write], keys: Mapping[int, bytes]) -> None:
    """Have those of the documents put into the index anew that are marked with these keys: it took so long to write
    them that they may have been swept out, as what was never written."""
    doubted = {
        place: UpdateOne({"_id": writes[place].id, PUT: key}, {"$unset": {PUT: ""}}) for place, key in keys.items()
    }
    for name in {writes[place].collection for place in doubted}:
        bulk(db[name], {place: each for place, each in doubted.items() if writes[place].collection == name})


class _Changes:
    """Inserts, replaces and patches of different ids in one collection."""

    def __init__(
        self, db: Database[Document], name: str, writes: Sequence[Write], keys: Sequence[bytes | None]
    ) -> None:
        self._keys = keys  # of their blocks in the index for searches
        self._collection = db[name]
        self._tombstones = db[TOMBSTONES]
        self._name = name
        self._writes = writes
        self._outcomes: list[Outcome] = [NOTHING] * len(writes)
        self._found: dict[int, Document | None] = {}  # what was in the way

    def run(self) -> list[Outcome]:
        """Do them."""
        todo = {place: write.ts for place, write in enumerate(self._writes)}
        for _ in range(RACES):
            todo = self._attempt(todo) or self._see_tombstones()
            if not todo:
                return self._outcomes
        raise StoreAway(f"{self._name}: too many writers of one document at a time")

    def _attempt(self, todo: dict[int, int]) -> dict[int, int]:
        """Do those at these places with this `ts`; gives back those that have to go again, and with which."""
        operations: dict[int, Operation] = {}
        for place, ts in todo.items():
            try:
                operations[place] = self._operation(place, ts)
            except StoreRefused as refused:
                self._outcomes[place] = refused
            else:
                self._outcomes[place] = Written("stored", ts)
        blocked = []
        for place, error in bulk(self._collection, operations).failures.items():
            if _in_the_way(error):
                blocked.append(place)
            else:
                self._outcomes[place] = refused_by("MongoDB", error["code"], error["errmsg"])
        return self._meet(blocked) if blocked else {}

    def _operation(self, place: int, ts: int) -> Operation:
        """The write as it is sent. One with another `ts` than its own is in the index with the wrong one."""
        write = self._writes[place]
        return _operation(write, ts, self._keys[place] if ts == write.ts else None)

    def _meet(self, blocked: list[int]) -> dict[int, int]:
        """See what was in the way of these; gives back those that have to go again."""
        found = look(self._collection, [self._writes[place].id for place in blocked])
        inserts = [self._writes[place].id for place in blocked if self._writes[place].kind == "insert"]
        old = contents(self._collection, [id for id in inserts if id in found and FIRST not in found[id]])
        again = {}
        repeats: dict[int, Operation] = {}
        for place in blocked:
            write = self._writes[place]
            self._found[place] = stored = found.get(write.id)
            try:
                met = _outcome_against(write, stored, old.get(write.id))
                if met is None:
                    again[place] = newest(write, -1 if stored is None else version(stored))
                    continue
            except StoreRefused as refused:
                met = refused
            self._outcomes[place] = met
            own = mark(write)
            if stored and own is not None and isinstance(met, Written) and met.again and own not in _marks(stored):
                repeats[place] = UpdateOne({"_id": write.id}, _marking(own))
        bulk(self._collection, repeats)
        return again

    def _see_tombstones(self) -> dict[int, int]:
        """Undo the writes that are older than a delete of their id, or were done before it; let those that come after
        it take over what the tombstone has. Gives back those that have to go again, with which `ts`."""
        places = {f"{self._name}:{write.id}": place for place, write in enumerate(self._writes)}
        burials: dict[int, Operation] = {}
        revivals: dict[int, Operation] = {}
        for key, tombstone in look(self._tombstones, list(places)).items():
            place = places[key]
            write, done, marks = self._writes[place], self._outcomes[place], tombstone.get(MARKS, [])
            if isinstance(done, StoreRefused):
                continue
            own, ts = mark(write), version(tombstone)
            if own in marks:
                if done.effect == "missing" or (write.kind != "patch" and not self._is_heir(place, marks)):
                    self._outcomes[place] = Written("deleted", ts)
                    heirs = [last for last in marks[-1:] if last != own]
                    burials[place] = DeleteOne({"_id": write.id, MARKS: {"$eq": own, "$nin": heirs}})
            elif write.dated and ts > write.ts:
                again = write.kind == "insert" and fingerprint(write) == tombstone.get(FIRST)
                self._outcomes[place] = Written("deleted" if again else "stale", ts)
                burials[place] = DeleteOne({"_id": write.id, "ts": {"$not": {"$gte": ts}}})
            elif done == Written("stored", done.ts) and write.kind != "patch" and (marks or ts >= done.ts):
                try:
                    after = done.ts if ts < done.ts else newest(write, ts)
                except StoreRefused as refused:
                    self._outcomes[place] = refused
                    burials[place] = DeleteOne({"_id": write.id, "ts": {"$not": {"$gte": ts}}})
                else:
                    self._outcomes[place] = Written("stored", after)
                    revivals[place] = _revival(write, own, after, marks)
        if bulk(self._collection, burials).failures:
            raise StoreAway(f"{self._name}: documents deleted before could not be removed again")
        lost = bulk(self._collection, revivals).failures
        return {place: done.ts for place in lost if isinstance(done := self._outcomes[place], Written)}

    def _is_heir(self, place: int, marks: list[int]) -> bool:
        """Whether what was in the way was made after the delete whose tombstone has these marks."""
        return marks[-1] in (self._found.get(place) or {}).get(MARKS, ())


def _puts(write: Write) -> bool:
    """Whether a write has all words of its document."""
    return write.kind in ("insert", "replace")


def _operation(write: Write, ts: int, key: bytes | None) -> Operation:
    own = mark(write)
    fields = {"_id": write.id, **write.document, "ts": ts}
    fields.pop("id", None)
    for field in FOLDED.get(write.collection, ()):
        if field in fields:
            texts = copies(write.document, field)
            if texts or write.kind == "patch":
                fields[copy_of(field)] = texts or None
    if key is not None:
        fields[PUT] = key
    if write.kind == "insert":
        fields[FIRST] = fingerprint(write)
        if own is not None:
            fields[MARKS] = [own]
        return InsertOne(encoded(fields))
    older = _older(write, own, ts)
    if write.kind == "replace":
        return UpdateOne(older, [encoded(_replacement(write, own, fields))], upsert=True)
    del fields["_id"]
    change: Document = {"$set": {key: value for key, value in fields.items() if value is not None}}
    change["$unset"] = {PUT: "", **{key: "" for key, value in fields.items() if value is None}}
    if own is not None:
        change |= _marking(own)
    change["$setOnInsert"] = NO_DOCUMENT
    return UpdateOne(older, encoded(change), upsert=True)


def _marks(stored: Document) -> list[int]:
    """Those that are kept with what is stored."""
    marks: list[int] = stored.get(MARKS, [])
    return marks


def _marking(own: int) -> Document:
    """Keep the mark of a write with a document."""
    return {"$push": {MARKS: {"$each": [own], "$slice": -MARKS_MAX}}}


def _older(write: Write, own: int | None, ts: int) -> Document:
    """The filter for what the write may touch: the document of its id, unless it is newer, changed by it before, or
    another registered user's. One that comes last is newer than all that is there."""
    before: Any = {"$not": {"$gt" if write.dated else "$gte": ts}} if write.unchanged is None else write.unchanged
    older: Document = {"_id": write.id, "ts": before, **allowed(write.asker)}
    if own is not None:
        older[MARKS] = {"$ne": own}
    return older


def _replacement(write: Write, own: int | None, fields: Document) -> Document:
    """The stage of an update that stores `fields` and keeps what is kept with a document."""
    marks: list[Any] = [{"$ifNull": [f"${MARKS}", []]}, [] if own is None else [own]]
    kept = {
        FIRST: {"$ifNull": [f"${FIRST}", fingerprint(write)]},
        MARKS: {"$slice": [{"$concatArrays": marks}, -MARKS_MAX]},
    }
    return {"$replaceWith": {"$mergeObjects": [{"$literal": fields}, kept]}}


def _revival(write: Write, own: int | None, ts: int, marks: list[int]) -> Operation:
    """Have the document that a write made come after the delete of an earlier one; fails if it is gone."""
    ours: Document = {"_id": write.id}
    if own is not None:
        ours[MARKS] = {"$elemMatch": {"$eq": own}}
    change = {
        "$max": {"ts": ts},
        "$addToSet": {MARKS: {"$each": marks}},
        "$setOnInsert": NO_DOCUMENT,
        "$unset": {PUT: ""},
    }
    return UpdateOne(ours, change, upsert=True)


def _in_the_way(error: Document) -> bool:
    """Whether an operation failed since what is there was in its way."""
    if error["code"] == IMMUTABLE_FIELD:
        return True
    return bool(error["code"] == DUPLICATE_KEY and error.get("keyPattern", {"_id": 1}) == {"_id": 1})


def _outcome_against(write: Write, stored: Document | None, content: Document | None) -> Outcome | None:
    """The outcome of a write that met what is stored, whose `content` counts where no first one is kept. None: it goes
    again."""
    if stored is None:
        return Written("missing", write.ts) if write.kind == "patch" else None
    if refused := refusal(stored, write):
        return refused
    own, ts = mark(write), version(stored)
    if write.kind == "insert":
        if stored[FIRST] == fingerprint(write) if FIRST in stored else same_content(write, content or {}):
            return Written("exists", ts, again=True)
        return Written("deleted" if own in _marks(stored) else "conflict", ts)
    if own in _marks(stored):
        return Written("stored", ts, again=True)
    return Written("stale", ts) if (write.dated and ts > write.ts) or write.unchanged not in (None, ts) else None
