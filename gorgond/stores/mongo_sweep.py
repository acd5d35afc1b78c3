"""How what is too much leaves the index for searches in MongoDB: a sweep.

A document that is replaced, patched or deleted stays in the block that had it, and its words in the segments, for
nobody who writes knows where they are. A sweep goes through all blocks, and through all segments after that. The blocks
say what is right: a place whose document does not have the block's key as its mark is `gone`, a block of which all is
gone is deleted. Of the segments whatever is not in a block any more is left out.

What is put in and not written yet looks as if it was gone. So a sweep looks twice, GRACE seconds apart, and takes out
what was gone both times. A writer that was longer at it than `mongo_writes.SURE` has its documents put in anew.

A document that is marked as stores of before there were sweeps do it, or as one of several such, was put in with
the words of that time, as they took them apart: it is put in anew.

It may end at any point, and the next one begins from the start. Two at the same time do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, UpdateOne
from pymongo.collection import Collection

from gorgond.stores.mongo_commands import PUT, Document, Operation, bulk, reachable
from gorgond.stores.mongo_words import BLOCK, entries_of

GRACE = 600.0  # seconds between the two looks
BLOCKS, SEGMENTS = 32, 2  # looked at in one step
SUSPECTS = 10_000  # blocks with something in them that is gone, at most; the next sweep has the others
FIRST_SEGMENT = bytes(12)
ALL = bytes(range(BLOCK))

PutIn = Callable[[Document], None]
"""Puts the documents that this asks for into the index anew."""


class Sweep:
    """One sweep of the index `words` of `documents`. Its steps raise StoreAway, and what `put_in` does."""

    def __init__(self, documents: Collection[Document], words: Collection[Document], put_in: PutIn) -> None:
        self._documents = documents
        self._words = words
        self._put_in = put_in
        self._gone: dict[bytes, bytes] = {}  # of blocks that were looked up
        self.taken_out = 0
        """Blocks and segments that were changed or deleted."""
        self.whole = True
        """Whether it has seen to all: nothing is left for another one, but for what was changed since it began."""

    def steps(self) -> Iterator[bool]:
        """Do it, a step at a time; False where it is to go on later."""
        suspects: dict[bytes, bytes] = {}
        for blocks in self._runs(b"", BLOCKS):
            suspects |= self._look(blocks)
            if len(suspects) >= SUSPECTS:
                self.whole = False
                break
            yield True
        again = time.monotonic() + GRACE
        while suspects and time.monotonic() < again:
            yield False
        keys = list(suspects)
        for begin in range(0, len(keys), BLOCKS):
            self._clear({key: suspects[key] for key in keys[begin : begin + BLOCKS]})
            yield True
        for segments in self._runs(ObjectId(FIRST_SEGMENT), SEGMENTS):
            self._leave_out(segments)
            yield True

    def _runs(self, first: bytes | ObjectId, most: int) -> Iterator[list[Document]]:
        """All that is there with an _id of this kind, so many at a time."""
        while True:
            with reachable():
                found = list(self._words.find({"_id": {"$gt": first}}, sort=[("_id", 1)], limit=most))
            if not found:
                return
            first = found[-1]["_id"]
            yield found

    def _look(self, blocks: list[Document]) -> dict[bytes, bytes]:
        """The places in these blocks that are gone, and were not known to be."""
        marks = self._marks(blocks)
        if before := [id for id, mark in marks.items() if mark is True]:
            self._put_in({"_id": {"$in": before}, PUT: True})
        new = {block["_id"]: _gone_from(block, marks) - set(block.get("gone", b"")) for block in blocks}
        return {key: bytes(places) for key, places in new.items() if places}

    def _clear(self, suspects: Mapping[bytes, bytes]) -> None:
        """Note what is gone from these blocks, as it was when they were looked at first."""
        with reachable():
            blocks = list(self._words.find({"_id": {"$in": list(suspects)}}))
        marks = self._marks(blocks)
        operations: dict[int, Operation] = {}
        for number, block in enumerate(blocks):
            key, ids = block["_id"], block["ids"]
            gone = _gone_from(block, marks).intersection(suspects[key]).union(block.get("gone", b""))
            if len(gone) == len(ids):
                operations[number] = DeleteOne({"_id": key})
                continue
            operations[number] = UpdateOne({"_id": key}, {"$set": {"gone": bytes(sorted(gone))}})
            if len(gone) > len(ids) * 3 // 4:  # the others move, and the block will go
                left = [id for place, id in enumerate(ids) if place not in gone]
                self._put_in({"_id": {"$in": left}, PUT: key})
                self.whole = False
        self._send(operations)

    def _leave_out(self, segments: list[Document]) -> None:
        """Leave out of these segments what is in no block."""
        self._look_up(
            {key for each in segments for entries in each["words"].values() for key, _ in entries_of(entries)}
        )
        operations: dict[int, Operation] = {}
        for number, segment in enumerate(segments):
            words = {word: left for word, entries in segment["words"].items() if (left := self._left(entries))}
            if not words:
                operations[number] = DeleteOne({"_id": segment["_id"]})
            elif words != segment["words"]:
                operations[number] = UpdateOne({"_id": segment["_id"]}, {"$set": {"words": words}})
        self._send(operations)

    def _look_up(self, keys: Iterable[bytes]) -> None:
        unknown = [key for key in keys if key not in self._gone]
        with reachable():
            for block in self._words.find({"_id": {"$in": unknown}}, {"gone": 1}):
                self._gone[block["_id"]] = block.get("gone", b"")
        for key in unknown:
            self._gone.setdefault(key, ALL)

    def _left(self, entries: bytes) -> bytes:
        left = []
        for key, places in entries_of(entries):
            if gone := self._gone[key]:
                places = places.translate(None, gone)  # noqa: PLW2901
            if places:
                left.append(b"%b%c%b" % (key, len(places) - 1, places))
        return b"".join(left)

    def _marks(self, blocks: list[Document]) -> dict[Any, Any]:
        """The marks of the documents in these blocks that are there."""
        ids = [id for block in blocks for id in block["ids"]]
        with reachable():
            return {each["_id"]: each.get(PUT) for each in self._documents.find({"_id": {"$in": ids}}, {PUT: 1})}

    def _send(self, operations: Mapping[int, Operation]) -> None:
        bulk(self._words, operations)
        self.taken_out += len(operations)


def _gone_from(block: Document, marks: Mapping[Any, Any]) -> set[int]:
    key = block["_id"]
    return {place for place, id in enumerate(block["ids"]) if marks.get(id) != key}
