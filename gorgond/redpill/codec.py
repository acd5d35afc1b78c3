"""JSON in and out as bytes: orjson where it is installed, the standard library where not."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

Default = Callable[[Any], Any]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:100]!a} is given twice")
        found[key] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > 20 or not INT_MIN <= (value := int(digits)) <= INT_MAX:
        raise ValueError("a whole number of more than 64 bits")
    return value


def _fraction(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError("a number that is too large")
    return value


def _decode(decoder: json.JSONDecoder, data: bytes | str) -> Any:
    text = data if isinstance(data, str) else data.decode()
    value = decoder.decode(text)
    if _SURROGATE.search(text):
        _encode(value).encode()  # fails when one is alone: no text may hold it
    return value


try:
    import orjson
except ImportError:  # Debian 12 has no orjson
    _plain = json.JSONDecoder(parse_constant=_constant, parse_float=_fraction)

    def dumps(value: Any, /, default: Default | None = None) -> bytes:
        """`value` as compact JSON; `default` turns what JSON does not know into what it knows.

        Raises TypeError or ValueError for what cannot be written.
        """
        if default is None:
            return _encode(value).encode()
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default).encode()

    def loads(data: bytes | str, /) -> Any:
        """The value that `data` holds. Raises ValueError."""
        return _decode(_plain, data)

    def encoded(data: bytes, /) -> Any:
        """A value for `dumps` whose JSON `data` is."""
        return loads(data)

    _in_order = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True).encode

    def _ordered(value: Any) -> bytes:
        return _in_order(value).encode()

else:
    dumps = orjson.dumps
    loads = orjson.loads
    encoded = getattr(orjson, "Fragment", loads)  # which orjson has since 3.9

    def _ordered(value: Any) -> bytes:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def canonical(value: Mapping[str, Any]) -> bytes:
    """The same bytes for the same document, whatever is installed and in whatever order its keys are; others for every
    other one. No key of it begins with `$`. Raises TypeError or ValueError for what is no JSON."""
    return _ordered({key: each if type(each) in _SAME else _exact(each) for key, each in value.items()})


def plain(data: bytes) -> bool:
    """Whether canonical JSON is that of the value itself: no float is in it."""
    return b"$" not in data or b'{"$":' not in data  # in a text, the quotation marks would have backslashes


_SAME = frozenset({str, int, bool, type(None)})
"""The types whose values have the same JSON everywhere."""


def _exact(value: Any) -> Any:
    """`value` with its floats as texts that are marked: their JSON is not the same everywhere."""
    if isinstance(value, list | tuple):
        return [each if type(each) in _SAME else _exact(each) for each in value]
    if isinstance(value, float):
        return {"$": value.hex()}
    if isinstance(value, Mapping):
        return {key: _exact(each) for key, each in value.items()}
    return value


_strict = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole, parse_float=_fraction)


def loads_strictly(data: bytes) -> Any:
    """The value that `data` from outside holds, the same whatever is installed: UTF-8, each key of an object once,
    whole numbers of at most 64 bits, the others finite, no surrogate alone. Raises ValueError for all else."""
    try:
        return _decode(_strict, data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
