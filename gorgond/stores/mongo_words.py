"""Which words are in which documents: the index for searches, in MongoDB.

MongoDB's own index for words has a key for every word of every document. This one is written once a batch, with all
words of it: a word that many documents of the batch have is one entry. `NAME.words` holds, for the collection NAME:

    block     {"_id": key, "ids", "gone"}: the ids of up to 256 documents. The key begins with the newest `ts` among
              them, so that the order of keys is that of time; random bytes follow. A document is marked with the key
              of the block that has it as it is; the places of those that have another mark by now are `gone`.
    segment   {"_id", "tier", "bucket", "words": {word: entries}}. For each block with the word an entry: the block's
              key, the number of its documents that have the word, less one, and their places in the block, a byte each.

A batch is a segment of tier 0. When there are FAN segments of one bucket of a tier, they are merged, and what they hold
goes to FAN buckets of the next tier: so a word is in a few segments, however many documents there are, and each segment
is about as large as a batch. All words that begin alike are in one bucket.

The index says where a word may be: also of a document that was written with it, and is gone or another one by now. So a
search looks at the documents. What is there too much is swept out by and by (`stores.mongo_sweep`).
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from pymongo import InsertOne, WriteConcern
from pymongo.database import Database

from gorgond.errors import StoreAway
from gorgond.stores.mongo_commands import Document, bulk, reachable
from gorgond.stores.words import LONGEST, Sought, head_of, words_in

BLOCK = 256  # documents of a block: a place is a byte
FAN = 8
TIERS = 5  # a segment of the last one has the words of one bucket of FAN ** 4 batches
KEY = 12  # bytes of a block's key
SEGMENT_BYTES = 1 << 20  # from which on a segment is cut in two, and what there is of a word
ENTRY = 32  # bytes that a word takes beside its letters and entries, about


class Note(NamedTuple):
    """A document to be put into the index."""

    id: object
    ts: int
    text: str


class Words:
    """The index of the collection `name`. Its methods raise StoreAway."""

    def __init__(self, db: Database[Document], name: str) -> None:
        # A primary that comes next has it, too. Nobody waits for the journal: what is written next comes later
        # there, and is waited for.
        concern = WriteConcern("majority", wtimeout=db.write_concern.document.get("wtimeout"))
        self.collection = db[f"{name}.words"].with_options(write_concern=concern)
        self.outdated = threading.Event()  # set by whoever writes what leaves something in it that is too much

    def put(self, notes: Sequence[Note]) -> list[bytes]:
        """Put documents in, before they are written: then none of them is missing, whatever happens. The key of each
        one's block, its mark."""
        keys: list[bytes] = []
        blocks: list[Document] = []
        words: dict[str, bytes] = {}
        for some in _parted(notes):
            key = max(0, *(note.ts for note in some)).to_bytes(8) + os.urandom(KEY - 8)
            blocks.append({"_id": key, "ids": [note.id for note in some]})
            keys += [key] * len(some)
            places: defaultdict[str, bytearray] = defaultdict(bytearray)
            for place, note in enumerate(some):
                for word in set(words_in(note.text)):
                    places[word].append(place)
            for word, found in places.items():
                kept = word[:LONGEST]
                words[kept] = b"%b%b%c%b" % (words.get(kept, b""), key, len(found) - 1, bytes(found))
        if blocks:
            self._insert([*blocks, *_segments(words, 0)])  # in this order: no segment is seen before its blocks
        return keys

    def _insert(self, documents: Sequence[Document]) -> None:
        if failures := bulk(self.collection, dict(enumerate(map(InsertOne, documents)))).failures:
            raise StoreAway(f"MongoDB cannot keep the index for searches: {failures}"[:1000])

    def blocks(self, sought: Sought, milliseconds: int) -> dict[bytes, bytes]:
        """The blocks that may have one of the words, and the places of it there, a byte each."""
        found: dict[bytes, bytes] = {}
        for tier in range(TIERS):  # in this order: what is merged meanwhile is in the next
            where = {"tier": tier, "bucket": {"$in": sorted({_bucket(head, tier) for head in sought.heads})}}
            with reachable():
                for segment in self.collection.find(where, {"words": 1}, max_time_ms=milliseconds):
                    for word, entries in segment["words"].items():
                        if sought.finds(word):
                            _read(entries, found)
        return found

    def ids(self, blocks: Mapping[bytes, bytes], milliseconds: int) -> Iterator[object]:
        """The ids of the documents at these places."""
        with reachable():
            for block in self.collection.find({"_id": {"$in": list(blocks)}}, max_time_ms=milliseconds):
                ids, gone = block["ids"], block.get("gone", b"")
                for place in blocks[block["_id"]]:
                    if place not in gone:
                        yield ids[place]

    def merge(self) -> None:
        """Merge what can be. A segment is where it was until it is in the next tier, too."""
        for tier in range(TIERS - 1):
            count = {"$group": {"_id": "$bucket", "segments": {"$sum": 1}}}
            with reachable():
                full = self.collection.aggregate(
                    [{"$match": {"tier": tier}}, count, {"$match": {"segments": {"$gte": FAN}}}]
                )
                buckets = [each["_id"] for each in full]
            for bucket in buckets:
                while self._merge(tier, bucket):
                    pass

    def _merge(self, tier: int, bucket: int) -> bool:
        with reachable():
            found = self.collection.find({"tier": tier, "bucket": bucket}, sort=[("_id", 1)], limit=FAN)
            segments = list(found)
        if len(segments) < FAN:
            return False
        words: defaultdict[str, list[bytes]] = defaultdict(list)
        for segment in segments:
            for word, entries in segment["words"].items():
                words[word].append(entries)
        self._insert(list(_segments({word: b"".join(parts) for word, parts in words.items()}, tier + 1)))
        with reachable():
            self.collection.delete_many({"_id": {"$in": [segment["_id"] for segment in segments]}})
        return True


def _parted(notes: Sequence[Note]) -> Iterator[list[Note]]:
    """The notes of each block, none of which has a document twice: its key is the mark of one of them."""
    some: dict[object, Note] = {}
    for note in notes:
        if len(some) == BLOCK or note.id in some:
            yield [*some.values()]
            some = {}
        some[note.id] = note
    if some:
        yield [*some.values()]


def _bucket(head: str, tier: int) -> int:
    buckets: int = FAN**tier
    return crc32(head.encode()) % buckets


def _segments(words: Mapping[str, bytes], tier: int) -> Iterator[Document]:
    buckets: defaultdict[int, dict[str, bytes]] = defaultdict(dict)
    for word, entries in words.items():
        buckets[_bucket(head_of(word), tier)][word] = entries
    for bucket, all in buckets.items():
        some: dict[str, bytes] = {}
        size = 0
        for word, entries in all.items():
            for part in (entries,) if len(entries) <= SEGMENT_BYTES else _parts_of(entries):
                if size > SEGMENT_BYTES:
                    yield {"tier": tier, "bucket": bucket, "words": some}
                    some, size = {}, 0
                some[word] = part
                size += len(word) + len(part) + ENTRY
        yield {"tier": tier, "bucket": bucket, "words": some}


def _parts_of(entries: bytes) -> Iterator[bytes]:
    """The entries in parts of SEGMENT_BYTES and a little more, but the last: no document has more than 16 MB."""
    begin = at = 0
    while at < len(entries):
        at += KEY + 2 + entries[at + KEY]
        if at - begin > SEGMENT_BYTES or at == len(entries):
            yield entries[begin:at]
            begin = at


def entries_of(entries: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Of a word in a segment the blocks that have it, by their keys, and its places there."""
    at = 0
    while at < len(entries):
        key, begin = entries[at : at + KEY], at + KEY + 1
        at = begin + entries[begin - 1] + 1
        yield key, entries[begin:at]


def _read(entries: bytes, found: dict[bytes, bytes]) -> None:
    for key, places in entries_of(entries):
        before = found.get(key)
        found[key] = places if before is None or before == places else bytes({*before, *places})
