"""How a batch is written: the rows of its ids are locked, `state.after` says what becomes of each, and what changed is
written back, all within one transaction.

Most ids are new. So their rows are made before anybody looks whether they are, and looked at only where one was there:
that is one statement which locks new and old ones alike, in the order of their ids, so that writers of the same ids
wait for each other and never in a ring.
"""

# ruff: noqa: S608 - names in statements are `tables`', values are parameters
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gorgond.errors import StoreRefused
from gorgond.redpill import now_ms
from gorgond.stores.contract import Once, Write, Written
from gorgond.stores.filters import check_write
from gorgond.stores.schema import TOMBSTONE_SECONDS
from gorgond.stores.sql.dialect import Session
from gorgond.stores.sql.indexing import Changed, keep
from gorgond.stores.sql.state import NOTHING, State, after
from gorgond.stores.sql.tables import row_of, state_of, tables

Outcome = Written | StoreRefused


class _Numbered(NamedTuple):
    """A write, and its place in the batch."""

    place: int
    write: Write


def write_all(session: Session, schema: str, writes: Sequence[Write]) -> list[Outcome]:
    """Do the writes within a transaction that the caller began and will commit."""
    outcomes: dict[int, Outcome] = {}
    collections: dict[str, dict[str, list[_Numbered]]] = {}
    for place, write in enumerate(writes):
        try:
            check_write(write)
        except StoreRefused as refused:
            outcomes[place] = refused
        else:
            collections.setdefault(write.collection, {}).setdefault(write.id, []).append(_Numbered(place, write))
    for collection in sorted(collections):
        _write(session, schema, collection, collections[collection], outcomes)
    return [outcomes[place] for place in range(len(writes))]


def _write(
    session: Session, schema: str, collection: str, by_id: dict[str, list[_Numbered]], outcomes: dict[int, Outcome]
) -> None:
    """Those of one collection."""
    docs, now = tables(schema, collection).docs, now_ms()
    session.hold(collection, alone=False)
    states = {id: _after(NOTHING, by_id[id], outcomes) for id in sorted(by_id)}
    made = session.take(docs, [(id, *row_of(state, collection, now)) for id, state in states.items()])
    changed = [Changed(made[id], NOTHING, states[id]) for id in made]
    there = [id for id in states if id not in made]
    if there:
        condition, parameters = session.among("id", there)
        rows = session.run(f"SELECT n, id, ts, doc, first, marks, tomb FROM {docs} WHERE {condition}", parameters)
        other = []
        for n, id, *row in rows:
            before = state_of(*row)
            state = _after(before, by_id[id], outcomes)
            if state is not before:
                other.append(Changed(n, before, state))
        session.update(docs, [(*row_of(each.after, collection, now), each.n) for each in other])
        changed += other
    _drop(session, docs, [made[id] for id in made if states[id] == NOTHING])
    keep(session, schema, collection, changed)


def _after(state: State, writes: Sequence[_Numbered], outcomes: dict[int, Outcome]) -> State:
    """What the writes of one id leave."""
    for place, write in writes:
        try:
            state, outcomes[place] = after(state, write)
        except StoreRefused as refused:
            outcomes[place] = refused
    return state


def _drop(session: Session, docs: str, numbers: Sequence[int]) -> None:
    """Do away with rows of which nothing became: they were made to be locked."""
    if numbers:
        condition, parameters = session.among("n", numbers)
        session.run(f"DELETE FROM {docs} WHERE {condition}", parameters)


def claim_all(session: Session, schema: str, requests: Sequence[Once]) -> list[bool]:
    """Note for what the keys of these are used, in such a transaction, too; whether each is the one of its key."""
    table, now = f'{schema}"gorgon.requests"', now_ms()
    session.run(f"DELETE FROM {table} WHERE at < %s", [now - TOMBSTONE_SECONDS * 1000])
    first = {each.key: each.said for each in reversed(requests)}
    session.put_requests([(key, first[key], now) for key in sorted(first)])
    condition, parameters = session.among("name", list(first))
    said: dict[str, str] = dict(session.run(f"SELECT name, said FROM {table} WHERE {condition}", parameters))
    return [said[each.key] == each.said for each in requests]


def sweep(session: Session, schema: str, collection: str) -> None:
    """Do away with the tombstones that were kept long enough."""
    docs, until = tables(schema, collection).docs, now_ms() - TOMBSTONE_SECONDS * 1000
    session.run(f"DELETE FROM {docs} WHERE gone < %s AND doc IS NULL", [until])
    session.run(f"UPDATE {docs} SET gone = NULL, tomb = NULL WHERE gone < %s", [until])
