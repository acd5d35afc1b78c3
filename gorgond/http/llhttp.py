"""llhttp, Node.js' parser, reads the headers of requests, by httptools. To import this raises ImportError where that is
not installed, or too old: its first versions had another parser."""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, __version__

_OLDEST = (0, 6)

_LINE = b"GET / HTTP/1.1\r\n"
_ENDING = {b"connection", b"proxy-connection"}  # may say that the request is the last: llhttp reads no other one then

if tuple(map(int, re.findall(r"\d+", __version__)[:2])) < _OLDEST:
    raise ImportError(f"httptools {__version__} is older than 0.6")


class _Reader:
    """Reads whole heads, so that one parser is enough for all connections."""

    def __init__(self) -> None:
        self._fields: dict[bytes, bytes] = {}
        self._over = False
        self._parser = HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser has found a header."""
        name, value = name.lower(), value.rstrip(b" \t")
        fields = self._fields
        fields[name] = fields[name] + b"," + value if name in fields else value

    def on_message_complete(self) -> None:
        """The parser expects no body."""
        self._over = True

    def read(self, lines: bytes) -> dict[bytes, bytes]:
        fields = self._fields = {}
        self._over = False
        try:
            self._parser.feed_data(_LINE + lines)
            clean = self._over and not _ENDING & fields.keys()
        except HttpParserUpgrade:  # to another protocol, which is the client's wish alone
            clean = False
        except HttpParserError as error:
            clean = False
            raise ValueError(str(error)) from None
        finally:
            if not clean:  # it expects more of this request, or no other one
                self._parser = HttpRequestParser(self)
        return fields


by_llhttp = _Reader().read
