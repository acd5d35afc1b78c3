"""The fields of a form as values, by the annotations of the object that a handler takes.

    title: str                 as it was typed, perhaps empty
    price: float = 0.0         what was left empty counts as not given
    wanted: bool               a checkbox: browsers send "on", or nothing at all
    colours: list[str]         as many fields of that name as there are

A handler that takes a `dict[str, str]` gets every field as it was typed, and judges them itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gorgond.app.annotations import Kind
from gorgond.errors import BadRequest

_ON = ("on", "true")
_OFF = ("off", "false")


def object_of(kind: Kind, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The JSON object of the fields of a form, as `kind` reads it. Raises BadRequest."""
    value: dict[str, Any] = {name: False for name, field in kind.fields.items() if _is_checkbox(field)}
    given = set[str]()
    for name, text in pairs:
        field = kind.fields.get(name)
        if field is not None and field.each is not None:
            value.setdefault(name, []).append(_value(field.each, text, name))
            continue
        if name in given:
            raise BadRequest(name[:100], "given twice")
        given.add(name)
        if field is None:
            value[name] = text  # who reads the object says whether it may be there
        elif text or _takes_nothing(field, name):
            value[name] = _value(field, text, name)
    return value


def _value(kind: Kind, text: str, name: str) -> Any:
    if _is_checkbox(kind):
        if text.lower() not in (*_ON, *_OFF):
            raise BadRequest(name, f"must be one of {', '.join((*_ON, *_OFF))}")
        return text.lower() in _ON
    if kind.text is None:
        raise BadRequest(name, "cannot come from a form")
    return kind.text(text, name)


def _is_checkbox(kind: Kind) -> bool:
    return kind.schema == {"type": "boolean"}


def _takes_nothing(kind: Kind, name: str) -> bool:
    """Whether an empty text is a value of this kind."""
    try:
        _value(kind, "", name)
    except BadRequest:
        return False
    return True
