"""The head of a request: its first line, and its headers.

llhttp reads the headers where it is installed, Tornado where not. The first line is read here for both: llhttp knows
only methods that are registered, and targets in ASCII, where others are to be told 405 and 404.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tornado.httputil import HTTPHeaders, HTTPInputError

from gorgond.http.answers import Problem

FIELDS = rb"(?:[!#$%&'*+.^`|~\w-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*"  # RFC 9112, 5
_HEADERS = re.compile(FIELDS + rb"\r\n")
_LINE = re.compile(rb"([!#$%&'*+.^`|~\w-]+) ([^\x00-\x20\x7f]+) HTTP/(1\.[01])\r\n")

Fields = dict[bytes, bytes]  # by names in lower case; the values of one name together, with commas between


class Headers(Mapping[str, str]):
    """The headers of a request, by names in whatever case; text is made of one when it is asked for. `raw` are the
    bytes, by names in lower case, `lines` are those in which they came."""

    __slots__ = ("lines", "raw")

    def __init__(self, raw: Fields, lines: bytes = b"") -> None:
        self.raw = raw
        self.lines = lines

    def __getitem__(self, name: str) -> str:
        return self.raw[name.lower().encode()].decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower().encode() in self.raw

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default`; a Mapping's own would raise and catch for what is not there."""
        found = self.raw.get(name.lower().encode())
        return default if found is None else found.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return map(bytes.decode, self.raw)

    def __len__(self) -> int:
        return len(self.raw)


class Head(NamedTuple):
    """What a request begins with. `version` is 1.1 or 1.0."""

    method: str
    target: str
    version: bytes
    headers: Headers


def read_head(data: bytes, last: Headers | None = None) -> Head:
    """The head in `data`, which ends with an empty line. A client mostly repeats its `last` headers: they are not read
    again then. Raises Problem 400."""
    line = _LINE.match(data)
    if line is None:
        raise Problem(400, "this is not HTTP/1.1")
    method, target, version = line.groups()
    lines = data[line.end() :]
    if last is None or lines != last.lines:
        try:
            last = Headers(read_fields(lines), lines)
        except ValueError:
            raise Problem(400, "the headers are not HTTP/1.1's") from None
    return Head(method.decode(), target.decode("latin-1"), version, last)


def by_tornado(lines: bytes) -> Fields:
    """The headers in these lines, of which the last one is empty. Raises ValueError."""
    if not _HEADERS.fullmatch(lines):  # Tornados let pass other things, each its own
        raise ValueError("no headers of HTTP/1.1")
    try:
        headers = HTTPHeaders.parse(lines.decode("latin-1"))
    except HTTPInputError as error:
        raise ValueError(str(error)) from None
    return {name.lower().encode(): value.encode("latin-1") for name, value in headers.items()}


read_fields: Callable[[bytes], Fields]
try:
    from gorgond.http.llhttp import by_llhttp as read_fields
except ImportError:
    read_fields = by_tornado
