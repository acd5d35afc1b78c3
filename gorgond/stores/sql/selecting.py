"""Filters and sorts as SQL: what keys and columns can say of them. The rest is for `matching`.

What is made of a filter finds all that matches. Where it may find more, it says so: then each document is looked at.
"""

# ruff: noqa: S608 - names in statements are `tables`', values are parameters
from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gorgond.redpill import INT_MAX, INT_MIN
from gorgond.stores.contract import Query
from gorgond.stores.filters import equality
from gorgond.stores.folding import fold
from gorgond.stores.sql.dialect import Clause, Session
from gorgond.stores.sql.tables import Tables, term_of

SIGNS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
ALWAYS, NEVER = "TRUE", "FALSE"


class Selection(NamedTuple):
    """FROM and WHERE, of documents `d`."""

    source: str
    parameters: list[Any]
    exact: bool  # whether it finds what the filter means, or more
    order: str | None  # ORDER BY, empty for none; None: SQL cannot say it


class _Condition(NamedTuple):
    """One that all documents meet which match; and no others, if it is exact."""

    sql: str
    parameters: Sequence[Any] = ()
    exact: bool = True


_UNKNOWN = _Condition(ALWAYS, exact=False)


def fields_of(filter: Mapping[str, Any]) -> Iterator[str]:
    """The fields that a checked filter names but for `id` and `ts`, at any depth."""
    for field, condition in filter.items():
        if field in ("$and", "$or"):
            for part in condition:
                yield from fields_of(part)
        elif field not in ("id", "ts"):
            yield field


class Selecting:
    """Makes selections in a collection that has indexes of the fields `keyed`; the texts in `folded` ones are equal
    whatever their case."""

    def __init__(self, session: Session, names: Tables, keyed: Collection[str], folded: Collection[str]) -> None:
        self._session = session
        self._names = names
        self._keyed = keyed
        self._folded = folded

    def selection(self, query: Query, found: Clause | None) -> Selection:
        """That of a query, and of those alone of whom `found` selects the `n`, if it is given. The equality of a field
        that is indexed leads, by its keys, whose order is by `ts`."""
        rest = dict(query.filter)
        leading = next((field for field in rest if field in self._keyed and equality(rest[field]) is not None), None)
        joined, ts = "", "d.ts"
        parameters: list[Any] = []
        if leading is not None:
            joined, ts = f" JOIN {self._names.keys} k ON k.n = d.n AND k.term = %s", "k.ts"
            parameters.append(self._key(leading, equality(rest.pop(leading))))
        condition = self._all(rest, ts)
        where = ["d.doc IS NOT NULL", condition.sql]
        parameters += condition.parameters
        if found is not None:
            where.append(f"d.n IN ({found[0]})")
            parameters += found[1]
        if query.viewer is not None:
            where.append("(d.only_for IS NULL OR d.only_for LIKE %s)")
            parameters.append(f"%,{query.viewer},%")
        source = f"FROM {self._names.docs} d{joined} WHERE {' AND '.join(each for each in where if each != ALWAYS)}"
        return Selection(source, parameters, condition.exact, _order(query.order, {"id": "d.id", "ts": ts}))

    def _key(self, field: str, value: Any) -> bytes:
        return term_of(field, fold(value) if field in self._folded else value)

    def _all(self, filter: Mapping[str, Any], ts: str) -> _Condition:
        parts = []
        for field, condition in filter.items():
            if field in ("$and", "$or"):
                inner = [self._all(part, ts) for part in condition]
                parts.append(_joined(" AND ", inner) if field == "$and" else _joined(" OR ", inner))
            else:
                operators = condition if isinstance(condition, Mapping) else {"$eq": condition}
                parts += [self._one(field, *one, ts) for one in operators.items()]
        return _joined(" AND ", parts)

    def _one(self, field: str, sign: str, operand: Any, ts: str) -> _Condition:
        if sign == "$ne":
            equal = self._one(field, "$eq", operand, ts)
            return _Condition(f"NOT ({equal.sql})", equal.parameters) if equal.exact else _UNKNOWN
        if field == "id":
            return self._id(sign, operand)
        if field == "ts":
            return _time(sign, operand, ts)
        if field in self._keyed and sign in ("$eq", "$in"):
            wanted = operand if sign == "$in" else [operand]
            if None not in wanted:
                return self._keyed_by(field, wanted)
        return _UNKNOWN

    def _id(self, sign: str, operand: Any) -> _Condition:
        """`id` is always a text."""
        if sign == "$in":
            texts = [value for value in operand if isinstance(value, str)]
            return _Condition(*self._session.among("d.id", texts)) if texts else _Condition(NEVER)
        return _Condition(f"d.id {SIGNS[sign]} %s", [operand]) if isinstance(operand, str) else _Condition(NEVER)

    def _keyed_by(self, field: str, values: Sequence[Any]) -> _Condition:
        if not values:
            return _Condition(NEVER)
        sql, parameters = self._session.among("x.term", [self._key(field, value) for value in values])
        return _Condition(f"EXISTS (SELECT 1 FROM {self._names.keys} x WHERE x.n = d.n AND x.ts = d.ts AND {sql})",
                          parameters)  # fmt: skip


def _joined(word: str, parts: Sequence[_Condition]) -> _Condition:
    exact = all(part.exact for part in parts)
    if word == " OR " and any(part.sql == ALWAYS for part in parts):
        return _Condition(ALWAYS, exact=exact)
    said = [part for part in parts if part.sql != ALWAYS]
    sql = word.join(f"({part.sql})" for part in said) or ALWAYS
    return _Condition(sql, [value for part in said for value in part.parameters], exact)


def _time(sign: str, operand: Any, column: str) -> _Condition:
    """`ts` is always a whole number of 64 bits."""
    if sign == "$in":
        return _joined(" OR ", [_time("$eq", value, column) for value in operand] or [_Condition(NEVER)])
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        return _Condition(NEVER)
    if sign == "$eq" and operand != int(operand):
        return _Condition(NEVER)
    bound = math.floor(operand) if sign in ("$gt", "$lte") else math.ceil(operand)
    if INT_MIN <= bound <= INT_MAX:
        return _Condition(f"{column} {SIGNS[sign]} %s", [bound])
    return _Condition(ALWAYS if (bound > 0) == (sign in ("$lt", "$lte")) and sign != "$eq" else NEVER)


def _order(sort: Sequence[tuple[str, int]], columns: Mapping[str, str]) -> str | None:
    if any(field not in columns for field, _ in sort):
        return None
    terms = [f"{columns[field]} {'ASC' if sign == 1 else 'DESC'}" for field, sign in sort]
    return f" ORDER BY {', '.join(terms)}" if terms else ""
