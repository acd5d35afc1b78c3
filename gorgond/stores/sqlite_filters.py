"""Filters and sorts as SQL over documents in JSON, with MongoDB's meaning.

MongoDB compares a condition with every value that a field has: the field's own value, or each element of a list. A
field within a list of objects has a value in each of them. Comparisons stay within a kind of value, and a field that
is missing is null. In SQL: a chain of `json_each`, one for each name of the field's path, and a test on its last rows.
"""

# ruff: noqa: S608 - names in statements were checked by stores.filters, values are parameters
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gorgond.redpill import dumps
from gorgond.stores.contract import Sort
from gorgond.stores.folding import fold

SIGNS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

NEVER, ALWAYS = "0", "1"

RANK = (
    "CASE {e}.type WHEN 'null' THEN 1 WHEN 'integer' THEN 2 WHEN 'real' THEN 2 WHEN 'text' THEN 3"
    " WHEN 'object' THEN 4 WHEN 'array' THEN 5 ELSE 6 END"
)
"""The order of the kinds of values in a sort."""


class Parameters(dict[str, Any]):
    """The values of a statement, by the names under which it refers to them; and the columns that it may use."""

    def __init__(self, prefix: str = "p") -> None:
        super().__init__()
        self._prefix = prefix
        self.columns = {"id": "d.id", "ts": "d.ts"}
        self.folded: tuple[str, ...] = ()  # fields whose texts are equal whatever their case

    def add(self, value: Any) -> str:
        name = f"{self._prefix}{len(self)}"
        self[name] = value
        return ":" + name


def where(filter: Mapping[str, Any], parameters: Parameters) -> str:
    """`filter` as a condition on the table `d`, whose column `doc` holds the documents."""
    parts = []
    for field, condition in filter.items():
        if field in ("$and", "$or"):
            inner = [where(part, parameters) for part in condition]
            parts.append("(" + (" AND " if field == "$and" else " OR ").join(inner) + ")")
        else:
            operators = condition if isinstance(condition, Mapping) else {"$eq": condition}
            parts.extend(_condition(field, *one, parameters) for one in operators.items())
    return " AND ".join(parts) or ALWAYS


def _condition(field: str, operator: str, operand: Any, parameters: Parameters) -> str:
    if operator == "$ne":
        return f"NOT {_condition(field, '$eq', operand, parameters)}"
    if operator != "$in" and _has_column(field, operand):
        return f"{parameters.columns[field]} {SIGNS[operator]} {parameters.add(operand)}"
    if operator == "$in" and field == "id":
        strings = [value for value in operand if isinstance(value, str)]
        return f"d.id IN (SELECT value FROM json_each({_json(strings, parameters)}))"
    tables, conditions, leaf = _values(field, parameters)
    atom = f"{leaf}.atom"
    if field in parameters.folded and operator in ("$eq", "$in"):
        atom, operand = f"folded({atom})", [*map(fold, operand)] if operator == "$in" else fold(operand)
    if operator == "$in":
        test = _in(leaf, operand, parameters, atom)
    else:
        test = _test(leaf, operator, operand, parameters, atom)
    return f"EXISTS (SELECT 1 FROM {tables} WHERE {' AND '.join([*conditions, test])})"


def _has_column(field: str, value: Any) -> bool:
    """Whether the comparison can use a column: `id` is always a string and `ts` always a whole number."""
    return (field == "id" and isinstance(value, str)) or (field == "ts" and type(value) in (int, float))


def _values(field: str, parameters: Parameters) -> tuple[str, list[str], str]:
    """The values of a field: tables to select from, conditions on them, and the table whose rows are the values."""
    tables, conditions, leaf = [], [], ""
    node = "d.doc"
    for depth, name in enumerate(field.split(".")):
        if leaf:
            # Of a list only its objects have fields; whatever is not a list and not an object lacks them.
            conditions.append(f"({leaf}.type = 'object' OR json_type({node}) IS NOT 'array')")
            node = f"CASE {leaf}.type WHEN 'object' THEN {leaf}.value END"
        path = f'$."{name}"'
        node = f"({node} -> {parameters.add(path)})"
        leaf = f"e{depth}"
        elements = f"CASE json_type({node}) WHEN 'array' THEN {node} ELSE json_array(json({node})) END"
        tables.append(f"json_each({elements}) {leaf}")
    return ", ".join(tables), conditions, leaf


def _test(e: str, operator: str, value: Any, parameters: Parameters, atom: str) -> str:
    """One comparison with the value in row `e`; of a text with `atom`."""
    if value is None:
        return f"{e}.type = 'null'" if operator in ("$eq", "$gte", "$lte") else NEVER
    if isinstance(value, bool):
        return f"({e}.type IN ('true', 'false') AND {e}.atom {SIGNS[operator]} {int(value)})"
    if isinstance(value, str):
        return f"({e}.type = 'text' AND {atom} {SIGNS[operator]} {parameters.add(value)})"
    # Through JSON, so that both sides were made from decimals by the same arithmetic.
    number = f"json_extract({_json(value, parameters)}, '$')" if isinstance(value, float) else parameters.add(value)
    return f"({e}.type IN ('integer', 'real') AND {e}.atom {SIGNS[operator]} {number})"


def _in(e: str, values: list[Any], parameters: Parameters, atom: str) -> str:
    strings = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if type(value) in (int, float)]
    others = [value for value in values if value is None or isinstance(value, bool)]
    tests = [_test(e, "$eq", value, parameters, atom) for value in dict.fromkeys(others)]
    for types, value, some in (("'text'", atom, strings), ("'integer', 'real'", f"{e}.atom", numbers)):
        listed = f"SELECT value FROM json_each({_json(some, parameters)})"
        tests.append(f"({e}.type IN ({types}) AND {value} IN ({listed}))")
    return f"({' OR '.join(tests)})"


def _json(value: Any, parameters: Parameters) -> str:
    return parameters.add(dumps(value).decode())


def order_by(sort: Sort, parameters: Parameters) -> str:
    """`sort` as the terms of an ORDER BY. A list counts as its least element, or its greatest in a descending sort.
    Objects have no order among themselves, and in a list of objects a field that is an empty list does not count."""
    terms = []
    for field, sign in sort:
        direction = "ASC" if sign == 1 else "DESC"
        if field in parameters.columns:
            terms.append(f"{parameters.columns[field]} {direction}")
            continue
        tables, conditions, leaf = _values(field, parameters)
        rank = RANK.format(e=leaf)
        extreme = f"FROM {tables} WHERE {' AND '.join(conditions) or ALWAYS}"
        extreme += f" ORDER BY {rank} {direction}, {leaf}.atom {direction} LIMIT 1"
        terms += [f"(SELECT {rank} {extreme}) {direction}", f"(SELECT {leaf}.atom {extreme}) {direction}"]
    return ", ".join(terms)
