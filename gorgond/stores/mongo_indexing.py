"""How the index for searches in MongoDB is made, and kept whole (`stores.mongo_words`).

A store that inserts or replaces a document puts it into the index first, and marks it. A document without that mark is
not in the index yet: one of before there was an index, one that was patched, or that somebody else has written. These
have an index of their own, which is empty when all is well. They are put in by and by; whoever searches looks at them,
too.

What was replaced, patched or deleted is swept out (`stores.mongo_sweep`), by one store, beside its work. Each store
tells the database that something is to be swept out: that it is `DUE`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import ReturnDocument, UpdateOne
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from gorgond.errors import StoreRefused
from gorgond.stores.mongo_commands import MARKS, PUT, Document, bulk, reachable, version
from gorgond.stores.mongo_sweep import Sweep
from gorgond.stores.mongo_words import Note, Words
from gorgond.stores.schema import TEXT
from gorgond.stores.words import text_of

log = logging.getLogger(__name__)

AT_ONCE = 256  # documents put in at a time, at most
AT_ONCE_BYTES = 4 * 1024 * 1024  # of text, from which on they are fewer
TURN_MS = 30_000  # for which one store merges, or makes the index, unless it goes on
WAIT = 1.0  # seconds between two looks whether another one has made it
SWEPT = 0.5  # seconds of each time that it is kept, for which it is swept: a twentieth of one store's time

NOT_PUT = "not in the index for searches"
"""The name of the index of the documents without the mark."""

WHOLE = "whole"  # the _id of what says that the index is
TURN = "turn"  # of what says whose turn it is
DUE = "due"  # of what counts how often a store has said that there is something to be swept out


class Indexing:
    """Makes the index of one collection, for the store `who` if it does more than look. Its methods raise StoreAway,
    and StoreRefused when the database will not have it."""

    def __init__(self, db: Database[Document], name: str, who: bytes = b"") -> None:
        # As BSON has it: a date, too, is compared with what is there.
        plain: CodecOptions[Document] = CodecOptions()
        self._documents = db.get_collection(name, codec_options=plain)
        self.words = Words(db, name)
        self._name = name
        self._fields = TEXT[name]
        self._who = who
        self._sweep: Iterator[bool] | None = None  # under way

    def is_begun(self) -> bool:
        """Whether marks say what is in it: from now on, who writes puts in what is written. They say nothing without
        the collection that they are about: it was dropped, or is not in the backup that was played back."""
        with reachable():
            return (
                self.words.collection.find_one({"_id": TURN}) is not None
                and NOT_PUT in self._documents.index_information()
            )

    def forget(self) -> None:
        """Let nothing be in it, nor be marked."""
        with reachable():
            self.words.collection.delete_many({"_id": {"$ne": TURN}})
            self._documents.update_many({PUT: {"$exists": True}}, {"$unset": {PUT: ""}})

    def whole(self) -> bool:
        """Whether each document is in it, but for those without the mark."""
        with reachable():
            return self.words.collection.find_one({"_id": WHOLE}) is not None

    def fill(self, closing: threading.Event) -> None:
        """Put in what is not there yet, one store at a time; returns when all is in it."""
        self.words.outdated.set()  # whoever was killed could not say so
        while not closing.is_set() and not self.whole():
            if not self.has_turn():
                closing.wait(WAIT)
            elif not self._more({PUT: None}):
                with reachable():
                    self.words.collection.update_one({"_id": WHOLE}, {"$set": {}}, upsert=True)

    def keep(self, closing: threading.Event) -> None:
        """Put in what was patched, merge, and sweep; one store at a time."""
        self._tell()
        if not self.has_turn():
            self._sweep = None
            return
        while not closing.is_set() and self._more({PUT: None}):
            pass
        self.words.merge()
        until = time.monotonic() + SWEPT
        sweep, self._sweep = self._sweep or self._sweeping(), None
        for goes_on in sweep:
            if closing.is_set() or not goes_on or time.monotonic() > until:
                self._sweep = sweep
                break

    def _tell(self) -> None:
        """Tell the database if this store has written what is to be swept out."""
        if self.words.outdated.is_set():
            self.words.outdated.clear()
            try:
                with reachable():
                    self.words.collection.update_one({"_id": DUE}, {"$inc": {"n": 1}}, upsert=True)
            except BaseException:
                self.words.outdated.set()
                raise

    def _sweeping(self) -> Iterator[bool]:
        """A sweep, if one is due; a step at a time, and False where it is to go on later."""
        with reachable():
            due = self.words.collection.find_one({"_id": DUE}, {"_id": 0})
        if due is None:
            return
        sweep = Sweep(self._documents, self.words.collection, self._put_in_anew)
        began = time.monotonic()
        yield from sweep.steps()
        if sweep.whole:
            with reachable():  # unless a store has said so since
                self.words.collection.delete_one({"_id": DUE, **due})
        took = time.monotonic() - began
        log.info("swept the index for searches of %s: %d parts, in %.0f s", self._name, sweep.taken_out, took)

    def _put_in_anew(self, asked: Document) -> None:
        while self._more(asked):
            pass

    def has_turn(self) -> bool:
        """Whether it is this store's turn. The database's clock says so. Two that work at the same time do harm to
        nobody: what they put in is there twice."""
        free = {"$or": [{"$eq": ["$who", self._who]}, {"$lt": ["$until", "$$NOW"]}]}
        until = {"$add": ["$$NOW", TURN_MS]}
        mine = {"who": {"$cond": [free, self._who, "$who"]}, "until": {"$cond": [free, until, "$until"]}}
        try:
            with reachable():
                turn = self.words.collection.find_one_and_update(
                    {"_id": TURN}, [{"$set": mine}], upsert=True, return_document=ReturnDocument.AFTER
                )
        except DuplicateKeyError:  # of two that are the first
            return False
        return turn is not None and turn["who"] == self._who

    def _more(self, asked: Document) -> int:
        """Put in some of those that are asked for by another mark than they have then; how many."""
        found = []
        size = 0
        try:
            with reachable(), self._documents.find(asked, [*self._fields, "ts", MARKS, PUT], limit=AT_ONCE) as some:
                for document in some:
                    text = text_of(document, self._fields)
                    size += len(text)
                    found.append((document, text))
                    if size > AT_ONCE_BYTES:
                        break
        except (OperationFailure, BSONError) as error:
            raise StoreRefused(str(error)) from error
        good = [place for place, (each, _) in enumerate(found) if type(each["_id"]) is not dict]
        notes = [Note(found[place][0]["_id"], version(found[place][0]), found[place][1]) for place in good]
        keys = dict(zip(good, self.words.put(notes), strict=True))
        # Only what is still as we have seen it: whoever changes it meanwhile has it put in again.
        bulk(
            self._documents,
            {
                place: UpdateOne(
                    {"_id": each["_id"], "ts": {"$eq": each.get("ts")}, MARKS: each.get(MARKS), PUT: each.get(PUT)},
                    {"$set": {PUT: keys.get(place, b"")}},
                )
                for place, (each, _) in enumerate(found)
            },
        )
        return len(found)
