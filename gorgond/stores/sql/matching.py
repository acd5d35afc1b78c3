"""Filters and sorts in Python, with MongoDB's meaning: what SQL does not say of a filter is decided here, exactly.

MongoDB compares a condition with every value that a field has: the field's own value, or each element of a list. A
field within a list of objects has a value in each of them. Comparisons stay within a kind of value, and a field that
is missing is null.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from gorgond.stores.folding import fold

Document = Mapping[str, Any]
Matcher = Callable[[Document], bool]

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq, "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le,
}  # fmt: skip
_NULL, _NUMBER, _TEXT, _OBJECT, _LIST, _BOOLEAN = range(1, 7)


def matcher(filter: Mapping[str, Any], folded: Collection[str] = ()) -> Matcher:
    """A function that says whether a document matches a checked filter. The texts in `folded` fields are equal whatever
    their case."""
    parts: list[Matcher] = []
    for field, condition in filter.items():
        if field in ("$and", "$or"):
            inner = [matcher(part, folded) for part in condition]
            parts.append(_every(inner) if field == "$and" else _some(inner))
        else:
            operators = condition if isinstance(condition, Mapping) else {"$eq": condition}
            parts += [_condition(field, *one, field in folded) for one in operators.items()]
    return parts[0] if len(parts) == 1 else _every(parts)


def _every(parts: Sequence[Matcher]) -> Matcher:
    return lambda document: all(part(document) for part in parts)


def _some(parts: Sequence[Matcher]) -> Matcher:
    return lambda document: any(part(document) for part in parts)


def _condition(field: str, sign: str, operand: Any, folds: bool) -> Matcher:
    if sign == "$ne":
        equal = _condition(field, "$eq", operand, folds)
        return lambda document: not equal(document)
    names = field.split(".")
    folds = folds and sign in ("$eq", "$in")
    if sign == "$in":
        test = _among([fold(each) if folds else each for each in operand])
    else:
        test = _test(sign, fold(operand) if folds else operand)

    def matches(document: Document) -> bool:
        return any(test(fold(value) if folds else value) for value in values(document, names))

    return matches


def values(document: Document, names: Sequence[str]) -> Iterable[Any]:
    """The values of the field at this path: none, if it is an empty list."""
    value = document.get(names[0])
    rest = names[1:]
    if not rest:
        return value if isinstance(value, list | tuple) else (value,)
    if isinstance(value, Mapping):
        return values(value, rest)
    if isinstance(value, list | tuple):
        return [inner for each in value if isinstance(each, Mapping) for inner in values(each, rest)]
    return (None,)


def _test(sign: str, operand: Any) -> Callable[[Any], bool]:
    """One comparison with one value."""
    if operand is None:
        allowed = sign in ("$eq", "$gte", "$lte")
        return lambda value: allowed and value is None
    compare, kind = _COMPARE[sign], _kind(operand)
    return lambda value: _kind(value) == kind and compare(value, operand)


def _among(operands: Sequence[Any]) -> Callable[[Any], bool]:
    """Whether a value is one of these. True is not 1, which it has the hash of."""
    wanted = {(_kind(operand), operand) for operand in operands}
    kinds = {kind for kind, _ in wanted}
    return lambda value: (kind := _kind(value)) in kinds and (kind, value) in wanted


def _kind(value: Any) -> int:
    """The kind of a value, in the order that kinds have in a sort."""
    if isinstance(value, str):
        return _TEXT
    if isinstance(value, bool):
        return _BOOLEAN
    if isinstance(value, int | float):
        return _NUMBER
    if value is None:
        return _NULL
    return _OBJECT if isinstance(value, Mapping) else _LIST


def in_order(documents: Iterable[Document], sort: Sequence[tuple[str, int]]) -> list[Document]:
    """The documents sorted; those that are equal stay in the order they came in. A list counts as its least element,
    or its greatest in a descending sort; objects have no order among themselves."""
    ordered = list(documents)
    for field, sign in reversed(sort):
        names, extreme = field.split("."), min if sign == 1 else max

        def key(document: Document, names: Sequence[str] = names, extreme: Any = extreme) -> tuple[int, Any]:
            place: tuple[int, Any] = extreme(map(_place, values(document, names)), default=(0, 0))
            return place

        ordered.sort(key=key, reverse=sign == -1)
    return ordered


def _place(value: Any) -> tuple[int, Any]:
    kind = _kind(value)
    return kind, value if kind in (_NUMBER, _TEXT, _BOOLEAN) else 0
