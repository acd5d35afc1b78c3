"""How a query is answered: SQL finds as much as it can say, `matching` decides the rest over the rows as they come."""

# ruff: noqa: S608 - names in statements are `tables`', values are parameters
from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from heapq import nlargest
from itertools import islice
from typing import Any

from gorgond.redpill import loads
from gorgond.stores.contract import COUNTED, Query, counted
from gorgond.stores.paging import page, part
from gorgond.stores.schema import FOLDED, TEXT
from gorgond.stores.sql.dialect import Row, Session, TooSlow
from gorgond.stores.sql.matching import in_order, matcher
from gorgond.stores.sql.selecting import Selecting, Selection
from gorgond.stores.sql.tables import tables
from gorgond.stores.words import Sought, text_of, words_in

FEW = 20  # documents that are had at once; of more, each may be as large as a document can be
RANKED = 1_000  # of those that a search finds, the newest: among these the best are sought
SORTED = 1_000  # documents that are kept while others are looked at, or twice as many as are wanted


class Reading:
    """One query, in a collection that has indexes of the fields `keyed`. It has time `until` then, by the monotonic
    clock: a TooSlow is raised for what takes longer."""

    def __init__(self, session: Session, schema: str, query: Query, keyed: Collection[str], until: float) -> None:
        self._session = session
        self._until = until
        self._query = query
        self._folded = FOLDED.get(query.collection, ())
        names = tables(schema, query.collection)
        self._sought = Sought(query.search) if query.search else None
        found = session.found(names.words, self._sought) if self._sought else None
        self._selecting = Selecting(session, names, keyed, self._folded)
        self._selection: Selection = self._selecting.selection(query, found)

    def find(self) -> bytes:
        """Its documents as one JSON array."""
        query, selection = self._query, self._selection
        if not query.limit:
            return b"[]"
        if self._sought is not None and not query.sort:
            return self._answer(iter(self._best(self._sought)))
        if selection.order is None:
            return self._answer(iter(self._sorted()))
        if not selection.exact:
            with closing(self._matching(selection.order)) as matching:
                wanted = islice(matching, query.skip, query.skip + query.limit)
                return self._answer((doc, document["ts"], document["id"]) for doc, document in wanted)
        sql = f"SELECT d.doc, d.ts, d.id {selection.source}{selection.order} LIMIT %s OFFSET %s"
        parameters = [*selection.parameters, query.limit, query.skip]
        if query.limit <= FEW:
            return self._answer(iter(self._session.run(sql, parameters)))
        with closing(self._session.stream(sql, parameters)) as rows:
            return self._answer(rows)

    def count(self) -> int:
        """How many match."""
        selection, most = self._selection, COUNTED + 1 if self._sought else None
        if selection.exact:
            some = f"SELECT 1 {selection.source}{f' LIMIT {most}' if most else ''}"
            [[number]] = self._session.run(f"SELECT count(*) FROM ({some}) s", selection.parameters)
        else:
            with closing(self._matching("")) as matching:
                number = sum(1 for _ in islice(matching, most))
        return counted(number) if self._sought else int(number)

    def _answer(self, rows: Iterator[Row]) -> bytes:
        """The answer of these documents, each with its `ts` and id."""
        if self._query.projection or self._query.short:
            return page(self._query, ((part(doc, self._query), ts, id) for doc, ts, id in rows))
        return page(self._query, ((doc, ts, id) for doc, ts, id in rows))

    def _matching(self, order: str) -> Generator[tuple[bytes, Mapping[str, Any]]]:
        """The documents that match, as they are stored and as they are."""
        matches = None if self._selection.exact else matcher(self._query.filter, self._folded)
        sql = f"SELECT d.doc {self._selection.source}{order}"
        with closing(self._session.stream(sql, self._selection.parameters)) as rows:
            for (doc,) in rows:
                if time.monotonic() > self._until:
                    raise TooSlow("of a look at each document")
                document = loads(doc)
                if matches is None or matches(document):
                    yield doc, document

    def _sorted(self) -> list[Row]:
        """By what SQL cannot sort by. No more are kept than may be wanted."""
        end, sort = self._query.skip + self._query.limit, self._query.order
        kept: dict[str, bytes] = {}
        documents: list[Mapping[str, Any]] = []
        with closing(self._matching(" ORDER BY d.id")) as matching:
            for doc, document in matching:
                kept[document["id"]] = doc
                documents.append(document)
                if len(documents) >= max(SORTED, 2 * end):
                    documents = in_order(documents, sort)[:end]
                    kept = {document["id"]: kept[document["id"]] for document in documents}
        wanted = in_order(documents, sort)[self._query.skip : end]
        return [(kept[each["id"]], each["ts"], each["id"]) for each in wanted]

    def _best(self, sought: Sought) -> list[Row]:
        """Those that have most of what is sought, and most often; the newest of them first."""
        fields = TEXT[self._query.collection]
        with closing(self._matching(f" ORDER BY d.ts DESC LIMIT {RANKED}" if self._selection.exact
                                    else " ORDER BY d.ts DESC")) as matching:  # fmt: skip
            scored = [
                (sought.score(words_in(text_of(document, fields))), document["ts"], document["id"], doc)
                for doc, document in islice(matching, RANKED)
            ]
        end = self._query.skip + self._query.limit
        best = nlargest(end, scored, key=lambda each: each[:-1])[self._query.skip :]
        return [(doc, ts, id) for _, ts, id, doc in best]
