"""The meaning of annotations: the check of values from outside, their JSON schema, and what a handler gets of them.

    int float str bool          in a path or a query as text, in a body as JSON
    Literal["a", "b"]           one of these
    X | None, Optional[X], Union
    list list[X] dict dict[str, X] Any
    a dataclass, a TypedDict    an object with these fields and no others; a dataclass arrives as one, and may say more
                                of what it allows in its __post_init__, by a ValueError

Nothing is converted but a whole number to a float where one is asked for: "5" is no number in JSON, and a truth value
is none either.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, is_typeddict

from gorgond.errors import BadRequest, ConfigError
from gorgond.redpill import INT_MAX, INT_MIN

_WHOLE = re.compile("-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")

Read = Callable[[Any, str], Any]
"""Gives the value that the handler gets of a JSON value. The text is the name of the field. Raises BadRequest."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One annotation. `text` makes the JSON value of a text in a path, a query or a form; what has none is for bodies
    alone. `fields` are those of an object, `each` is what a list is of."""

    schema: dict[str, Any]
    read: Read
    text: Read | None = None
    fields: Mapping[str, Kind] = field(default_factory=dict)
    each: Kind | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of a handler."""

    name: str
    kind: Kind
    required: bool
    default: Any = None


def kind_of(annotation: Any) -> Kind:
    """The kind of values that this annotation allows. Raises ConfigError for one that says nothing about JSON."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _one_of(inner)
    if origin in (Union, types.UnionType):
        return _any_of([kind_of(each) for each in inner])
    if origin is list:
        return _list(kind_of(inner[0]))
    if origin is dict and inner[0] is str:
        return _mapping(kind_of(inner[1]))
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _dataclass(annotation)
    if is_typeddict(annotation):
        return _typed_dict(annotation)
    raise ConfigError(
        f"{annotation!r} cannot be read from JSON; allowed are int, float, str, bool, Literal, Optional, list, "
        "dict[str, …], Any, dataclasses and TypedDicts"
    )


# ---- single values


def _of_type(kind: type, words: str, schema: dict[str, Any], text: Read | None = None) -> Kind:
    def read(value: Any, field: str) -> Any:
        if type(value) is not kind:
            raise BadRequest(field, f"must be {words}")
        return value

    return Kind(schema, read, text)


def _read_float(value: Any, field: str) -> float:
    if type(value) not in (int, float):
        raise BadRequest(field, "must be a number")
    return float(value)


def _text(text: str, field: str) -> str:
    if "\0" in text:
        raise BadRequest(field, "must be text without NUL")
    return text


def _whole(text: str, field: str) -> int:
    if not _WHOLE.fullmatch(text) or not INT_MIN <= int(text) <= INT_MAX:
        raise BadRequest(field, "must be a whole number of at most 64 bits")
    return int(text)


def _number(text: str, field: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise BadRequest(field, "must be a number")
    return float(text)


def _truth(text: str, field: str) -> bool:
    if text not in ("true", "false"):
        raise BadRequest(field, "must be true or false")
    return text == "true"


_INT = _of_type(int, "a whole number", {"type": "integer", "minimum": INT_MIN, "maximum": INT_MAX}, _whole)
_PLAIN: dict[Any, Kind] = {
    int: _INT,
    float: Kind({"type": "number"}, _read_float, _number),
    str: _of_type(str, "text", {"type": "string"}, _text),
    bool: _of_type(bool, "true or false", {"type": "boolean"}, _truth),
    None: _of_type(type(None), "null", {"type": "null"}),
    type(None): _of_type(type(None), "null", {"type": "null"}),
    list: _of_type(list, "a list", {"type": "array"}),
    dict: _of_type(dict, "an object", {"type": "object"}),
    Any: Kind({}, lambda value, field: value),
}


def _one_of(values: Sequence[Any]) -> Kind:
    words = ", ".join(str(value) for value in values)

    def read(value: Any, field: str) -> Any:
        if not any(type(value) is type(each) and value == each for each in values):
            raise BadRequest(field, f"must be one of {words}")
        return value

    return Kind({"enum": list(values)}, read, read if all(isinstance(each, str) for each in values) else None)


def _any_of(kinds: Sequence[Kind]) -> Kind:
    def first(reads: Sequence[Read]) -> Read:
        def read(value: Any, field: str) -> Any:
            said: list[str] = []
            for each in reads:
                try:
                    return each(value, field)
                except BadRequest as bad:
                    if bad.field != field:  # it is of this kind, and a field of it is wrong
                        raise
                    said.append(bad.allowed)
            raise BadRequest(field, ", or ".join([said[0], *(each.removeprefix("must be ") for each in said[1:])]))

        return read

    texts = [kind.text for kind in kinds if kind.text is not None]
    schema = {"anyOf": [kind.schema for kind in kinds]}
    return Kind(schema, first([kind.read for kind in kinds]), first(texts) if texts else None)


# ---- values that hold others


def _list(inner: Kind) -> Kind:
    def read(value: Any, field: str) -> list[Any]:
        if type(value) is not list:
            raise BadRequest(field, "must be a list")
        return [inner.read(each, f"{field}.{index}") for index, each in enumerate(value)]

    return Kind({"type": "array", "items": inner.schema}, read, each=inner)


def _mapping(inner: Kind) -> Kind:
    def read(value: Any, field: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise BadRequest(field, "must be an object")
        return {name: inner.read(each, f"{field}.{name}") for name, each in value.items()}

    return Kind({"type": "object", "additionalProperties": inner.schema}, read)


def _dataclass(made: type) -> Kind:
    hints = typing.get_type_hints(made)
    fields = [field for field in dataclasses.fields(made) if field.init]
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return _object({field.name: kind_of(hints[field.name]) for field in fields}, required, made)


def _typed_dict(made: Any) -> Kind:
    marked = typing.get_type_hints(made, include_extras=True)
    origins = {name: get_origin(hint) for name, hint in marked.items()}
    # A class whose annotations are texts, as with `from __future__ import annotations`, does not know its marks itself.
    required = {
        name
        for name, origin in origins.items()
        if origin is Required or (name in made.__required_keys__ and origin is not NotRequired)
    }
    hints = typing.get_type_hints(made)
    return _object({name: kind_of(hint) for name, hint in hints.items()}, required, dict)


def _object(kinds: dict[str, Kind], required: set[str], make: Callable[..., Any]) -> Kind:
    known = ", ".join(kinds) or "none"

    def read(value: Any, field: str) -> Any:
        if type(value) is not dict:
            raise BadRequest(field, "must be an object")
        # A field of the body itself is known to its sender by its own name.
        inside = "" if field == BODY else f"{field}."
        for name in value:
            if name not in kinds:
                raise BadRequest(f"{inside}{name[:100]}" or field, f"not known here; allowed are {known}")
        for name in kinds:
            if name in required and name not in value:
                raise BadRequest(f"{inside}{name}", "must be given")
        fields = {name: kinds[name].read(each, f"{inside}{name}") for name, each in value.items()}
        try:
            return make(**fields)
        except ValueError as error:
            raise BadRequest(field, str(error)) from None

    schema = {
        "type": "object",
        "properties": {name: kind.schema for name, kind in kinds.items()},
        "required": [name for name in kinds if name in required],
        "additionalProperties": False,
    }
    return Kind(schema, read, fields=kinds)


BODY = "body"
"""The name of the body as a whole in errors, as everywhere in the API."""
