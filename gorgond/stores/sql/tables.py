"""The tables of a collection, and what of a document stands in them.

`items`: n, id, ts, doc, first, marks, only_for, gone, tomb. A row for each id that was ever written: the document, and
what `stores.repeats` keeps with it; `only_for` says who alone may see it, nothing: everybody. Of a document that is
gone `doc` is nothing, and the tombstone is `tomb`, which was made at `gone` (milliseconds since 1970) and is swept a
day later. So the row of an id is what all its writers lock.
`items.keys`: term, ts, n. For every indexed field of a document a row; for a list, one for each element.
`items.words`: the words of a document, for searches, as its dialect finds them.
`gorgon.indexes`: collection, what, upto, last, builder, until. What indexes there are: of a field, or, as SEARCH, of
words. While one is being made, by `builder`, whom the others leave alone with it until then: documents upto < n <= last
are not in it yet.
`gorgon.requests`: name, said, at. The keys of requests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from gorgond.bounds import REGISTERED
from gorgond.redpill import dumps, loads
from gorgond.stores.folding import fold
from gorgond.stores.ownership import PRIVATE
from gorgond.stores.schema import OWNED
from gorgond.stores.sql.state import State, Stored, Tombstone

COLUMNS = ("ts", "doc", "first", "marks", "only_for", "gone", "tomb")
"""Of a document's table, between `id` and `n`."""

SEARCH = "*"  # among the indexes: no field is called so

NAME_MAX = 48  # characters of a collection up to which its tables are called as it is: a dialect takes 63
VALUE_MAX = 200  # bytes of a value up to which its term has it as it is: a dialect takes no index rows of any length


class Tables(NamedTuple):
    """The names of a collection's tables, as statements have them."""

    docs: str
    keys: str
    words: str


def bare(collection: str, part: str = "") -> str:
    """The name of a collection's table, without quotes. With a `part` it holds a dot, as no collection's name does; so
    does one that had to be cut, which its fingerprint tells from others."""
    if len(collection) > NAME_MAX:
        collection = f"{collection[: NAME_MAX - 17]}.{sha256(collection.encode()).hexdigest()[:16]}"
    return f"{collection}.{part}" if part else collection


def tables(schema: str, collection: str) -> Tables:
    """The tables of a collection whose name was checked (`stores.filters`)."""
    return Tables(*(f'{schema}"{bare(collection, part)}"' for part in ("", "keys", "words")))


# ---- a document's row


def row_of(state: State, collection: str, now: int) -> tuple[Any, ...]:
    """The COLUMNS of the row that holds this; `now`, in milliseconds, dates a tombstone."""
    stored, tombstone = state
    tomb = None if tombstone == Tombstone() else _tomb(tombstone)
    gone = None if tomb is None else now
    if stored is None:
        return 0, None, None, None, None, gone, tomb
    marks = dumps(stored.marks).decode() if stored.marks else None
    return stored.ts, stored.json, stored.first, marks, only_for(collection, stored.document), gone, tomb


def state_of(ts: int, doc: bytes | None, first: bytes | None, marks: str | None, tomb: str | None) -> State:
    """What a row holds."""
    stored = None if doc is None else Stored(ts, doc, first, loads(marks) if marks else [])
    if tomb is None:
        return State(stored)
    said = loads(tomb)
    was = bytes.fromhex(said["first"]) if said["first"] else None
    return State(stored, Tombstone(said["ts"], said["known"], was, said["marks"]))


def _tomb(tombstone: Tombstone) -> str:
    said = {**tombstone._asdict(), "first": tombstone.first.hex() if tombstone.first else None}
    return dumps(said).decode()


def only_for(collection: str, document: Mapping[str, Any]) -> str | None:
    """The numbers of the users to whom a document is private, each between commas; None for what all may see
    (`ownership.hidden`)."""
    if collection not in OWNED or document.get(PRIVATE) is not True:
        return None
    owners = document.get(OWNED[collection])
    numbers = {
        owner
        for owner in (owners if isinstance(owners, list | tuple) else (owners,))
        if isinstance(owner, int | float) and not isinstance(owner, bool)
    }
    if not any(owner >= REGISTERED for owner in numbers):
        return None
    return f",{','.join(_number(owner) for owner in numbers)},"


# ---- its keys


def terms_of(document: Mapping[str, Any], fields: Collection[str], folded: Collection[str]) -> Iterator[bytes]:
    """The terms of a document in the indexes of these fields, each once. The texts in `folded` ones are found whatever
    their case."""
    for field in fields:
        found = document.get(field)
        values = found if isinstance(found, list | tuple) else (found,)
        scalars = (fold(one) if field in folded else one for one in values if isinstance(one, str | int | float))
        yield from dict.fromkeys(term_of(field, one) for one in scalars)


def term_of(field: str, value: Any) -> bytes:
    """The term of a scalar in the index of a field: two have the same only if filters take them for equal, as 1 and
    1.0."""
    if isinstance(value, str):
        said = value.encode()
        if len(said) > VALUE_MAX:
            said = said[: VALUE_MAX - 32] + sha256(said).digest()
        return b"%s=t%s" % (field.encode(), said)
    if isinstance(value, bool):
        return b"%s=b%d" % (field.encode(), value)
    return f"{field}=n{_number(value)}".encode()


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def terms_between(field: str) -> tuple[bytes, bytes]:
    """Where the terms of a field's index begin, and before what they end."""
    return f"{field}=".encode(), f"{field}>".encode()
