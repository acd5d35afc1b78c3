"""How what a database of SQL keeps is read and written as it is, to be moved."""

# ruff: noqa: S608 - names in statements are `tables`', values are parameters
from __future__ import annotations

import re
from collections.abc import Sequence

from gorgond.errors import StoreRefused
from gorgond.redpill import dumps
from gorgond.stores.contract import Once
from gorgond.stores.filters import check_collection
from gorgond.stores.kept import Kept
from gorgond.stores.kept import Tombstone as Buried
from gorgond.stores.sql.dialect import Row, Session
from gorgond.stores.sql.indexing import Changed, keep
from gorgond.stores.sql.state import NOTHING, State, Stored, Tombstone
from gorgond.stores.sql.tables import row_of, state_of, tables

KEPT = "id, ts, doc, first, marks, gone, tomb"


def collections_of(session: Session) -> list[str]:
    """The names of the collections that are there. Raises StoreRefused for one whose name the table does not have."""
    names = session.table_names()
    if cut := [name for name in names if re.search(r"\.[0-9a-f]{16}$", name)]:
        raise StoreRefused(f"{cut[0]}: a collection with so long a name cannot be moved", 501)
    return [name for name in names if _is_collection(name)]


def _is_collection(name: str) -> bool:
    try:
        check_collection(name)
    except StoreRefused:
        return False
    return True


def scan(session: Session, schema: str, collection: str, after: str, most: int) -> list[Kept]:
    """The next of what is kept, after that id."""
    docs = tables(schema, collection).docs
    there = "(doc IS NOT NULL OR tomb IS NOT NULL)"
    rows = session.run(f"SELECT {KEPT} FROM {docs} WHERE id > %s AND {there} ORDER BY id LIMIT %s", [after, most])
    return [_kept(row) for row in rows]


def kept_of(session: Session, schema: str, collection: str, ids: Sequence[str]) -> list[Kept]:
    """What is kept under each of these ids."""
    condition, parameters = session.among("id", list(ids))
    rows = session.run(f"SELECT {KEPT} FROM {tables(schema, collection).docs} WHERE {condition}", parameters)
    found = {row[0]: _kept(row) for row in rows}
    return [found.get(id, Kept(id)) for id in ids]


def restore(session: Session, schema: str, collection: str, kept: Sequence[Kept]) -> None:
    """Keep these as they are, within a transaction that the caller began and will commit."""
    docs = tables(schema, collection).docs
    session.hold(collection, alone=False)
    states = {each.id: _state(each) for each in sorted(kept, key=lambda each: each.id)}
    ats = {each.id: int(each.tombstone.at * 1000) if each.tombstone else 0 for each in kept}
    rows = {id: row_of(state, collection, ats[id]) for id, state in states.items()}
    made = session.take(docs, [(id, *row) for id, row in rows.items()])
    changed = [Changed(n, NOTHING, states[id]) for id, n in made.items()]
    if there := [id for id in states if id not in made]:
        condition, parameters = session.among("id", there)
        before = session.run(f"SELECT n, id, ts, doc, first, marks, tomb FROM {docs} WHERE {condition}", parameters)
        changed += [Changed(n, state_of(*row), states[id]) for n, id, *row in before]
        session.update(docs, [(*rows[id], n) for n, id, *_ in before])
    if nothing := [each.n for each in changed if each.after == NOTHING]:
        condition, parameters = session.among("n", nothing)
        session.run(f"DELETE FROM {docs} WHERE {condition}", parameters)
    keep(session, schema, collection, changed)


def claims_after(session: Session, schema: str, key: str, most: int) -> list[Once]:
    """The next uses of requests' keys, in the order of these."""
    asked = f'SELECT name, said FROM {schema}"gorgon.requests" WHERE name > %s ORDER BY name LIMIT %s'
    return [Once(*row) for row in session.run(asked, [key, most])]


def _kept(row: Row) -> Kept:
    id, ts, doc, first, marks, gone, tomb = row
    stored, buried = state_of(ts, doc, first, marks, tomb)
    tombstone = None
    if buried != Tombstone():
        tombstone = Buried(buried.ts, buried.known, (gone or 0) / 1000, buried.first, tuple(buried.marks))
    if stored is None:
        return Kept(id, tombstone=tombstone)
    return Kept(id, dict(stored.document), stored.first, tuple(stored.marks), tombstone)


def _state(kept: Kept) -> State:
    grave, document = kept.tombstone, kept.document
    tombstone = Tombstone(grave.ts, grave.known, grave.first, list(grave.marks)) if grave else Tombstone()
    if document is None:
        return State(None, tombstone)
    return State(Stored(document["ts"], dumps(document), kept.first, list(kept.marks), document), tombstone)
