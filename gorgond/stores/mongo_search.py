"""How MongoDB answers a search: the index says where a word may be, then the documents are looked at.

The commonest, "the newest ten with this word", looks at the newest blocks first, and at no more than it must. Whoever
asks for what few documents have beside the words, as the notes of a user, has those looked at without the index.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import NamedTuple

from pymongo.database import Database

from gorgond.errors import StoreRefused
from gorgond.stores.contract import COUNTED, Query, counted, not_searchable
from gorgond.stores.filters import equality
from gorgond.stores.mongo_commands import PUT, Document, reachable, version
from gorgond.stores.mongo_indexing import Indexing
from gorgond.stores.mongo_words import Words
from gorgond.stores.schema import DECLARED, TEXT
from gorgond.stores.words import Sought, text_of, words_in

FEW = 1_000  # documents that are looked at without the index
AT_ONCE = 5_000  # ids in a question
SORTED_MAX = 100_000  # documents that may have the words, to be sorted by anything but time
RANKED = 1_000  # of those that have them, the newest, about: among these the best are sought
LATE_MAX = 10_000  # documents that are not in the index yet: with more of them it is made again
FIRST_LOOK, GROWTH = 100, 4  # ids looked at first, and how many times as many next


class _Part(NamedTuple):
    """Some of the documents that may have the words."""

    ids: Sequence[object]
    below: int | None  # the `ts` up to which others may have, too; None: no others


class Search:
    """One query with a search; `condition` is all else that it asks for, as MongoDB has it. It takes `milliseconds` at
    most; what takes longer raises an OperationFailure. Nothing is asked before an answer is looked at."""

    def __init__(self, db: Database[Document], query: Query, condition: Document, milliseconds: int) -> None:
        self._documents = db[query.collection]
        self._words = Words(db, query.collection)
        self._indexing = Indexing(db, query.collection)
        self._query = query
        self._fields = TEXT[query.collection]
        self._condition = condition
        self._sought = Sought(query.search)
        self._until = time.monotonic() + milliseconds / 1000

    def _ms_left(self) -> int:
        """Milliseconds left; at least one, with which MongoDB says that it took too long."""
        return max(1, int((self._until - time.monotonic()) * 1000))

    def find(self, sort: Mapping[str, int], projection: Document | None) -> Iterator[Document]:
        """The documents found. Raises StoreRefused when the index is not there."""
        begin, end = self._query.skip, self._query.skip + self._query.limit
        if not sort:
            return self._best(projection)
        return islice(self._in_order(sort, projection), begin, end)

    def count(self) -> int:
        """How many they are, as far as they are counted."""
        found = (1 for ids in self._all(AT_ONCE) for _ in self._look({"_id": {"$in": ids}}, {}, self._text()))
        return counted(sum(islice(found, COUNTED + 1)))

    def _text(self) -> Document:
        return dict.fromkeys(self._fields, 1)

    def _few(self) -> list[object] | None:
        """The ids of what is asked for beside the words, if they are few and easily found."""
        for field in DECLARED[self._query.collection].newest:
            if equality(self._query.filter.get(field)) is not None:
                asked = {field: self._query.filter[field]}
                found = self._ids(asked, FEW + 1)
                if len(found) <= FEW:
                    return found
        return None

    def _ids(self, asked: Document, limit: int) -> list[object]:
        with reachable():
            found = self._documents.find(asked, {"_id": 1}, limit=limit, max_time_ms=self._ms_left())
            return [document["_id"] for document in found if type(document["_id"]) is not dict]

    def _parts(self, first: int) -> Iterator[_Part]:
        """All that may have the words: the newest first, at least `first` of them, then more and more."""
        if not self._indexing.whole():
            raise not_searchable()
        if (few := self._few()) is not None:
            yield _Part(few, None)
            return
        ids = self._late()
        blocks = self._words.blocks(self._sought, self._ms_left())
        keys = sorted(blocks, reverse=True)
        at = 0
        while True:
            size, begin = len(ids), at
            while at < len(keys) and size < first:
                size += len(blocks[keys[at]])
                at += 1
            ids += self._words.ids({key: blocks[key] for key in keys[begin:at]}, self._ms_left())
            if at == len(keys):
                yield _Part(ids, None)
                return
            yield _Part(ids, int.from_bytes(keys[at][:8]))
            ids, first = [], first * GROWTH

    def _late(self) -> list[object]:
        """The ids of what is not in the index yet, and has the words; the newest first."""
        late = []
        for number, document in enumerate(self._read({PUT: None}, {}, {**self._text(), "ts": 1})):
            if number == LATE_MAX:
                raise not_searchable()
            if type(document["_id"]) is not dict and self._has_words(document):
                late.append((version(document), str(document["_id"]), document["_id"]))
        return [id for *_, id in sorted(late, key=lambda each: each[:-1], reverse=True)]

    def _all(self, first: int) -> Iterator[list[object]]:
        """The ids of all that may have the words, each once: some of the newest, at least `first`, then more."""
        seen = set[object]()
        for part in self._parts(first):
            new = [id for id in dict.fromkeys(part.ids) if id not in seen]
            seen.update(new)
            for begin in range(0, len(new), AT_ONCE):
                yield new[begin : begin + AT_ONCE]

    def _in_order(self, sort: Mapping[str, int], projection: Document | None) -> Iterator[Document]:
        by_time = next(iter(sort.items())) == ("ts", -1)
        ids = set[object]()
        seen = set[object]()
        above: int | None = None
        for part in self._parts(self._query.skip + FIRST_LOOK if by_time else SORTED_MAX + 1):
            ids.update(part.ids)
            if not by_time and len(ids) > SORTED_MAX:
                raise StoreRefused(
                    f"search: more than {SORTED_MAX} may have these words; sort by ts, or ask for other words",
                    field="search",
                )
            # A document as new as those still to come waits for them.
            within: Document = {} if part.below is None else {"$gt": part.below}
            if above is not None:
                within["$not"] = {"$gt": above}
            asked = {"_id": {"$in": list(ids)}, **({"ts": within} if within else {})}
            for document in self._look(asked, sort, projection):
                if document["_id"] not in seen:  # it was changed meanwhile
                    seen.add(document["_id"])
                    yield document
            above = part.below

    def _best(self, projection: Document | None) -> Iterator[Document]:
        scores = []
        for ids in self._all(RANKED):
            for document in self._look({"_id": {"$in": ids}}, {}, {**self._text(), "ts": 1}):
                score = self._sought.score(words_in(text_of(document, self._fields)))
                scores.append((score, version(document), str(document["_id"]), document["_id"]))
            if len(scores) >= RANKED:
                break
        end = self._query.skip + self._query.limit
        best = [each[-1] for each in nlargest(end, scores, key=lambda each: each[:-1])[self._query.skip :]]
        found = {each["_id"]: each for each in self._look({"_id": {"$in": best}}, {}, projection)}
        return (found[id] for id in best if id in found)

    def _look(self, asked: Document, sort: Mapping[str, int], projection: Document | None) -> Iterator[Document]:
        """Of the documents asked for those that have the words, and all else."""
        fields = projection and {**projection, **self._text()}
        more = [field for field in fields or () if field not in (projection or {})]
        for document in self._read(asked, sort, fields):
            if self._has_words(document):
                for field in more:
                    document.pop(field, None)
                yield document

    def _has_words(self, document: Document) -> bool:
        return any(map(self._sought.finds, words_in(text_of(document, self._fields))))

    def _read(self, asked: Document, sort: Mapping[str, int], fields: Document | None) -> Iterator[Document]:
        """Of the documents asked for those that have all but the words."""
        with reachable():
            found = self._documents.find(
                {"$and": [asked, self._condition]} if self._condition else asked,
                fields,
                sort=list(sort.items()) or None,
                max_time_ms=self._ms_left(),
            )
            with found:
                yield from found
