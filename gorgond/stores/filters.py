"""Filters are data, never code: what may be asked of a database and what may be put into it.

A filter is a JSON object. `{"userid": 5}` finds the documents whose field is 5, or is a list that holds 5; several
fields are joined by "and". Operators: `$eq $ne $gt $gte $lt $lte` with one value, `$in` with a list, `$and $or` with
a list of filters. Values are strings, numbers, booleans and null; null also finds documents without the field.
Comparisons stay within a kind: numbers with numbers, strings with strings. Texts in some fields (`schema.FOLDED`: the
keywords of items) are equal whatever their case: for `$eq`, `$ne` and `$in`. `a.b` is field b of the object in field a.

Every driver checks every request with these functions and gives what passes the same meaning. They raise
StoreRefused, with a message that names the field and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from unicodedata import normalize

from gorgond.bounds import DEPTH_MAX, DOCUMENT_ID_MAX, LIM_MAX, OFF_MAX
from gorgond.errors import StoreRefused
from gorgond.stores.contract import Query, Write
from gorgond.stores.ownership import PRIVATE, check_owner
from gorgond.stores.schema import OWN_FIELDS, OWNED, RESERVED, TEXT

COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
OPERATORS = (*COMPARISONS, "$in", "$and", "$or")

FILTER_DEPTH = 8
FILTER_TERMS = 100
PATH_DEPTH = 8
IN_MAX = 1000
SORT_MAX = 8
PROJECTION_MAX = 100
SEARCH_MAX = 1000
SEARCH_WORDS = 16
DOCUMENT_BYTES = 16 * 1024 * 1024
"""A driver refuses what is larger when it is written down; MongoDB's limit, kept everywhere."""
NAME_SHORT = 64  # characters of a key up to which it is remembered that it is good
WORDS_MAX = 100_000
"""Different words of a document in the index for searches: with 150,000 MongoDB needs a cache of more than 256 MB."""

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_COLLECTION = re.compile(r"(?!sqlite_)[a-z][a-z0-9_]{0,63}")
_NAME = re.compile(r'[^$."\\\x00-\x1f][^."\\\x00-\x1f]*')
_WORD = re.compile(r"\w+")


def check_query(query: Query) -> None:
    """All of a query: collection, filter, sort, limit, skip, projection and search."""
    check_collection(query.collection)
    check(query.filter)
    check_sort(query.sort)
    check_limit(query.limit, query.skip)
    check_projection(query.projection)
    if query.search:
        check_search(query.collection, query.search)
    if type(query.short) is not int or query.short < 0:
        raise StoreRefused("short: must be a whole number of characters, 0 for texts as they are")


def check_write(write: Write) -> None:
    """All of a write: kind, collection, id, ts and document; once, whoever asks again."""
    if write.checked:
        return
    if write.kind not in ("insert", "replace", "patch", "delete"):
        raise StoreRefused(f"kind: {write.kind!r} is unknown; allowed are insert, replace, patch and delete")
    check_collection(write.collection)
    check_id(write.id)
    if type(write.ts) is not int or not 0 <= write.ts <= INT_MAX:
        raise StoreRefused("ts: must be a whole number of milliseconds since 1970")
    check_document(write.document)
    _check_owned(write)
    check_owner(write.document, write.asker)
    for field in TEXT.get(write.collection, ()):
        value = write.document.get(field, "")
        if type(value) is not str or len(value) > WORDS_MAX:
            _check_words([write.document.get(each) for each in TEXT[write.collection]])
            break
    write.checked = True


def _check_owned(write: Write) -> None:
    """Owners are numbers; what is private is so or not."""
    if write.collection not in OWNED:
        return
    field = OWNED[write.collection]
    if not isinstance(write.document.get(PRIVATE), bool | None):
        raise StoreRefused(f"{PRIVATE}: must be true or false", field=PRIVATE)
    owners = write.document.get(field)
    if isinstance(owners, str) or (isinstance(owners, list | tuple) and any(isinstance(one, str) for one in owners)):
        raise StoreRefused(f"{field}: must be the number of a user, not a text", field=field)


def check_collection(name: Any) -> None:
    """A collection's name: lower-case letters, digits and _, at most 64."""
    if not isinstance(name, str) or not _COLLECTION.fullmatch(name) or name in RESERVED:
        raise StoreRefused(
            f"collection: {str(name)[:100]!r} is not allowed; names are like 'items': a-z first, then a-z 0-9 _; "
            f"taken are {' '.join(RESERVED)}"
        )


def check_id(value: Any) -> None:
    """A document's id."""
    if not isinstance(value, str) or not 0 < len(value) <= DOCUMENT_ID_MAX:
        raise StoreRefused(f"id: must be a string of 1 to {DOCUMENT_ID_MAX} characters")
    _check_string(value, "id")


def check(filter: Any) -> None:
    """A filter."""
    terms = _check_filter(filter, 1)
    if terms > FILTER_TERMS:
        raise StoreRefused(f"filter: {terms} conditions, allowed are {FILTER_TERMS}")


def _check_filter(filter: Any, depth: int) -> int:
    """Check one level and return how many conditions it holds."""
    if not isinstance(filter, Mapping):
        raise StoreRefused("filter: must be an object of fields and conditions")
    if depth > FILTER_DEPTH:
        raise StoreRefused(f"filter: nested deeper than {FILTER_DEPTH}")
    terms = 0
    for field, condition in filter.items():
        if field in ("$and", "$or"):
            if not isinstance(condition, list | tuple) or not 0 < len(condition) <= FILTER_TERMS:
                raise StoreRefused(f"{field}: must be a list of 1 to {FILTER_TERMS} filters")
            terms += sum(_check_filter(part, depth + 1) for part in condition)
            continue
        check_field(field)
        if isinstance(condition, Mapping):
            _check_condition(field, condition)
            terms += len(condition)
        else:
            _check_value(condition, field)
            terms += 1
    return terms


def _check_condition(field: str, condition: Mapping[Any, Any]) -> None:
    if not condition:
        raise StoreRefused(f"{field}: an empty condition; allowed are {' '.join((*COMPARISONS, '$in'))}")
    for operator, operand in condition.items():
        if operator == "$in":
            if not isinstance(operand, list | tuple) or len(operand) > IN_MAX:
                raise StoreRefused(f"{field}: $in takes a list of at most {IN_MAX} values")
            for value in operand:
                _check_value(value, field)
        elif operator in COMPARISONS:
            _check_value(operand, field)
        else:
            raise StoreRefused(f"{field}: {operator!r} is not allowed; allowed are {' '.join(OPERATORS)}")


def check_field(field: Any) -> None:
    """A field as filters and sorts name it: `name`, or `name.name` for a field of an object within.

    Names that are numbers are refused, because databases do not agree whether `a.0` is a field or a place in a list;
    `_id` is refused, because here it is called `id`.
    """
    if not isinstance(field, str) or len(field) > 1000:
        raise StoreRefused(f"field: {str(field)[:100]!r} is not a name")
    names = field.split(".")
    if len(names) > PATH_DEPTH:
        raise StoreRefused(f"{field}: more than {PATH_DEPTH} names deep")
    if names[0][:1] == "_":
        _check_own(names[0])
    for name in names:
        if not _NAME.fullmatch(name) or name.isdigit():
            raise StoreRefused(
                f"{field or repr(field)}: not a field; names are not empty, do not start with $, are no numbers "
                f'and hold no " \\ or control characters. Operators allowed: {" ".join(OPERATORS)}'
            )
        _check_string(name, field)


def _check_value(value: Any, field: str) -> None:
    """One value of a filter."""
    if isinstance(value, str):
        _check_string(value, field)
    elif isinstance(value, float):
        _check_float(value, field)
    elif isinstance(value, int) and not isinstance(value, bool):
        _check_int(value, field)
    elif value is not None and not isinstance(value, bool):
        raise StoreRefused(f"{field}: values are strings, numbers, booleans or null, not {type(value).__name__}")


def _check_string(value: str, field: str) -> None:
    if "\0" in value:
        raise StoreRefused(f"{field}: strings hold no NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise StoreRefused(f"{field!a}: not valid Unicode, a lone surrogate") from error


def _check_float(value: float, field: str) -> None:
    if not math.isfinite(value):
        raise StoreRefused(f"{field}: numbers are finite, not {value}")


def _check_int(value: int, field: str) -> None:
    if not INT_MIN <= value <= INT_MAX:
        raise StoreRefused(f"{field}: whole numbers have at most 64 bits")


def check_sort(sort: Sequence[tuple[str, int]]) -> None:
    """A sort: (field, 1 or -1), each field once."""
    if len(sort) > SORT_MAX:
        raise StoreRefused(f"sort: at most {SORT_MAX} fields")
    for field, direction in sort:
        check_field(field)
        if type(direction) is not int or direction not in (1, -1):
            raise StoreRefused(f"sort: {field}: the direction is 1 or -1")
    if len({field for field, _ in sort}) < len(sort):
        raise StoreRefused("sort: a field is named twice")


def check_limit(limit: Any, skip: Any) -> None:
    """How many documents at most, and how many to leave out before them."""
    if type(limit) is not int or not 0 <= limit <= LIM_MAX:
        raise StoreRefused(f"limit: must be a whole number from 0 to {LIM_MAX}")
    if type(skip) is not int or not 0 <= skip <= OFF_MAX:
        raise StoreRefused(f"skip: must be a whole number from 0 to {OFF_MAX}")


def check_projection(projection: Sequence[str]) -> None:
    """The fields wanted: names of the top level."""
    if len(projection) > PROJECTION_MAX:
        raise StoreRefused(f"projection: at most {PROJECTION_MAX} fields")
    for field in projection:
        check_field(field)
        if "." in field:
            raise StoreRefused(f"projection: {field}: only whole fields of the top level are allowed")


def check_search(collection: str, search: Any) -> None:
    """A search: at least one word, in a collection that has text."""
    if collection not in TEXT:
        raise StoreRefused(f"search: {collection} cannot be searched; allowed are {' '.join(TEXT)}", field="search")
    if not isinstance(search, str) or len(search) > SEARCH_MAX or not words(search):
        raise StoreRefused(f"search: must be words, at most {SEARCH_MAX} characters", field="search")
    if len(words(search)) > SEARCH_WORDS:
        raise StoreRefused(f"search: must be at most {SEARCH_WORDS} words", field="search")
    _check_string(search, "search")


def equality(condition: Any) -> Any:
    """The value that a field has to equal, if that is all that `condition` says; None if it is not, or is null."""
    if not isinstance(condition, Mapping):
        return condition
    return condition["$eq"] if list(condition) == ["$eq"] else None


def words(search: str) -> list[str]:
    """The words of a search; a document is found when it has one of them. An accent may come as a character of its own,
    as some keyboards write it: it parts no word."""
    return _WORD.findall(normalize("NFC", search).replace("_", " "))


def check_document(document: Any) -> None:
    """A document, or the fields of a patch."""
    if not isinstance(document, Mapping):
        raise StoreRefused("document: must be an object")
    key: Any = ""
    try:
        for key, value in document.items():
            (_check_name if type(key) is not str or len(key) > NAME_SHORT else _check_short_name)(key)
            if type(value) is not str or "\0" in value or not value.isascii():  # hot path: most are plain texts
                _check_tree(value, key, 2)
    except StoreRefused as refused:
        refused.field = str(key)[:100] or "document"
        raise


def _check_words(values: Sequence[Any]) -> None:
    """The values that are in the index for searches, texts and lists of texts."""
    texts = [text for value in values for text in (value if isinstance(value, list | tuple) else (value,))]
    different = len({word for text in texts if isinstance(text, str) for word in _WORD.findall(text)})
    if different > WORDS_MAX:
        raise StoreRefused(f"document: {different} different words to be searched for, allowed are {WORDS_MAX}")


def _check_name(key: Any) -> None:
    """A key of the top level."""
    _check_key(key, key or "document")
    if key[0] == "_":
        _check_own(key)


_check_short_name = lru_cache(1000)(_check_name)  # hot path: most documents have the same keys


def _check_own(name: str) -> None:
    """A name of the top level that begins with `_`."""
    if name == "_id":
        raise StoreRefused("_id: the key of a document is called id")
    if name.startswith(OWN_FIELDS):
        raise StoreRefused(f"{name[:100]}: names that begin with {OWN_FIELDS} are the store's own")


def _check_key(key: Any, name: Any) -> None:
    """A key, of the object that is found under the key `name` if it is not its own."""
    if type(key) is not str or not key or key[0] == "$" or "." in key:
        raise StoreRefused(f"{str(name)[:100]}: {str(key)[:100]!r} is not a key; keys do not start with $, hold no dot")
    _check_string(key, name)


def _check_tree(value: Any, name: str, depth: int) -> None:
    """`value`, which is found under the key `name`, and all it holds. The commonest kinds come first: hot path."""
    kind = type(value)
    if kind is str:
        _check_string(value, name)
    elif kind is int:
        _check_int(value, name)
    elif kind is float:
        _check_float(value, name)
    elif kind is bool or value is None:
        pass
    elif depth > DEPTH_MAX:
        raise StoreRefused(f"{name}: nested deeper than {DEPTH_MAX}")
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_tree(inner, name, depth + 1)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check_key(key, name)
            _check_tree(inner, key, depth + 1)
    else:
        raise StoreRefused(f"{name}: {kind.__name__} is not JSON")
