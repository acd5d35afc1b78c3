"""A form as browsers send it, application/x-www-form-urlencoded: a megabyte in some milliseconds.

The standard library takes a text apart at each of its escapes, which is a third of a second for a megabyte of them, and
all others wait. An escape of quoted-printable is the same but for its first character, and undone by a function in C.
"""

from __future__ import annotations

import binascii
import re

FORM = "application/x-www-form-urlencoded"
FIELDS_MAX = 100  # of a form
BARE_MAX = 1000  # percent signs of a field that begin no escape: a browser leaves none, and each costs its time

_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def is_form(content_type: str) -> bool:
    """Whether that is what a body holds."""
    return content_type.partition(";")[0].strip().lower() == FORM


def fields_of(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form, in their order. Raises ValueError for too many, for too many percent signs that begin no
    escape, and for what is not UTF-8."""
    if body.count(b"&") >= FIELDS_MAX:
        raise ValueError(f"more than {FIELDS_MAX} fields")
    parts = [part.partition(b"=") for part in body.replace(b"+", b" ").split(b"&") if part]
    return [(_text(name), _text(value)) for name, _, value in parts]


def _text(data: bytes) -> str:
    if b"%" in data:
        data, bare = _NO_ESCAPE.subn(b"%25", data, BARE_MAX + 1)
        if bare > BARE_MAX:
            raise ValueError(f"more than {BARE_MAX} percent signs that begin no escape")
        data = data.replace(b"=", b"%3D")
        data = binascii.a2b_qp(data.replace(b"%", b"="))
    return data.decode()
