"""The indexes of a collection: what writers put in, how one is made beside them, and done away with.

Who writes reads which there are when its rows are locked; who makes one holds the collection alone as it begins, and
locks the rows of each step as it fills it. So a document is put in by its writer or by who makes the index, never by
neither, and as it is then.
"""

# ruff: noqa: S608 - names in statements are `tables`', values are parameters
from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from gorgond.stores.schema import FOLDED, TEXT
from gorgond.stores.sql.dialect import Row, Session
from gorgond.stores.sql.state import State
from gorgond.stores.sql.tables import SEARCH, state_of, tables, terms_between, terms_of
from gorgond.stores.words import LONGEST, text_of, words_in


class Changed(NamedTuple):
    """A document's row, and what was and is in it."""

    n: int
    before: State
    after: State


class Gap(NamedTuple):
    """What an index lacks while it is being made."""

    upto: int
    last: int
    builder: str
    until: int  # milliseconds since 1970


def keep(session: Session, schema: str, collection: str, changed: Sequence[Changed]) -> None:
    """Keep the indexes in step with what a transaction changed, whose rows it has locked."""
    if not changed:
        return
    rows = session.run(f'SELECT what, upto, last FROM {schema}"gorgon.indexes" WHERE collection = %s', [collection])
    if not rows:
        return
    gaps = {what: range(upto + 1, last + 1) for what, upto, last in rows}
    names = tables(schema, collection)
    out, put = set[Row](), set[Row]()
    for n, before, after in changed:
        fields = [what for what, gap in gaps.items() if what != SEARCH and n not in gap]
        out.update(_keys(collection, fields, before, n))
        put.update(_keys(collection, fields, after, n))
    if out - put:
        session.take_keys(names.keys, sorted(out - put))
    if put - out:
        session.put_keys(names.keys, sorted(put - out))
    if SEARCH in gaps:
        _keep_words(session, names.words, collection, [each for each in changed if each.n not in gaps[SEARCH]])


def _keep_words(session: Session, table: str, collection: str, changed: Sequence[Changed]) -> None:
    words = [(n, _words(collection, before), _words(collection, after)) for n, before, after in changed]
    other = [(n, was, now) for n, was, now in words if was != now]
    if gone := [n for n, was, _ in other if was]:
        condition, parameters = session.among("n", gone)
        session.run(f"DELETE FROM {table} WHERE {condition}", parameters)
    session.put_words(table, [(n, sorted(now)) for n, _, now in other if now])


def _keys(collection: str, fields: Collection[str], state: State, n: int) -> Iterator[Row]:
    if state.stored is not None and fields:
        for term in terms_of(state.stored.document, fields, FOLDED.get(collection, ())):
            yield term, state.stored.ts, n


def _words(collection: str, state: State) -> set[str]:
    if state.stored is None:
        return set()
    return {word[:LONGEST] for word in words_in(text_of(state.stored.document, TEXT[collection]))}


# ---- whole indexes


def begin(session: Session, schema: str, collection: str, what: str) -> None:
    """Make an index of a field, or as SEARCH of words, empty, unless it is there; from now on writers keep it."""
    indexes = f'{schema}"gorgon.indexes"'
    session.hold(collection, alone=True)
    if session.run(f"SELECT 1 FROM {indexes} WHERE collection = %s AND what = %s", [collection, what]):
        return
    docs = tables(schema, collection).docs
    session.run(
        f"INSERT INTO {indexes} (collection, what, upto, last, builder, until)"
        f" SELECT %s, %s, 0, coalesce(max(n), 0), '', 0 FROM {docs}",
        [collection, what],
    )


def gap(session: Session, schema: str, collection: str, what: str) -> Gap | None:
    """What it lacks; None when it is whole, or was done away with."""
    rows = session.run(
        f'SELECT upto, last, builder, until FROM {schema}"gorgon.indexes"'
        " WHERE collection = %s AND what = %s AND upto < last",
        [collection, what],
    )
    return Gap(*rows[0]) if rows else None


def fill(session: Session, schema: str, collection: str, what: str, most: int, builder: str, until: int) -> None:
    """Put the next documents into it, `most` at most."""
    session.run(
        f'SELECT 1 FROM {schema}"gorgon.indexes" WHERE collection = %s AND what = %s FOR UPDATE', [collection, what]
    )
    found = gap(session, schema, collection, what)
    if found is None:
        return
    names = tables(schema, collection)
    rows = session.run(
        f"SELECT n, ts, doc, first, marks, tomb FROM {names.docs} WHERE n > %s AND n <= %s ORDER BY n LIMIT %s",
        [found.upto, found.last, most],
    )
    end = rows[-1][0] if len(rows) == most else found.last
    # By their ids they are locked, as writers do, and then read as they are.
    condition, parameters = session.among("n", [row[0] for row in rows] or [0])
    rows = session.run(
        f"SELECT n, ts, doc, first, marks, tomb FROM {names.docs} WHERE {condition} ORDER BY id FOR UPDATE", parameters
    )
    documents = [(n, state_of(*row)) for n, *row in rows]
    if what == SEARCH:
        words = [(n, sorted(_words(collection, state))) for n, state in documents]
        session.put_words(names.words, [each for each in words if each[1]])
    else:
        keys = sorted({key for n, state in documents for key in _keys(collection, [what], state, n)})
        session.put_keys(names.keys, keys)
    session.run(
        f'UPDATE {schema}"gorgon.indexes" SET upto = %s, builder = %s, until = %s WHERE collection = %s AND what = %s',
        [end, builder, until, collection, what],
    )


def drop(session: Session, schema: str, collection: str, what: str) -> bool:
    """Do away with it; whether it was there."""
    indexes, names = f'{schema}"gorgon.indexes"', tables(schema, collection)
    if not session.run(f"SELECT 1 FROM {indexes} WHERE collection = %s AND what = %s", [collection, what]):
        return False
    session.hold(collection, alone=True)
    session.run(f"DELETE FROM {indexes} WHERE collection = %s AND what = %s", [collection, what])
    if what == SEARCH:
        session.clear(names.words)
    else:
        session.run(f"DELETE FROM {names.keys} WHERE term >= %s AND term < %s", terms_between(what))
    return True


def known(session: Session, schema: str, collection: str) -> frozenset[str]:
    """What indexes there are, or are being made."""
    rows = session.run(f'SELECT what FROM {schema}"gorgon.indexes" WHERE collection = %s', [collection])
    return frozenset(what for (what,) in rows)


def whole(session: Session, schema: str, collection: str) -> frozenset[str]:
    """Those of them by which documents are found."""
    rows = session.run(
        f'SELECT what FROM {schema}"gorgon.indexes" WHERE collection = %s AND upto >= last', [collection]
    )
    return frozenset(what for (what,) in rows)
