"""Where a request's body ends: after so many bytes, or with its last chunk (RFC 9112, 6 and 7)."""

from __future__ import annotations

import re
from typing import Protocol

from gorgond.http.answers import Problem
from gorgond.http.heads import FIELDS, Head

TRAILER_MAX = 16 * 1024  # bytes after the last chunk
CHUNK_MAX = 256  # bytes in the line with a chunk's size
CHUNKS_AT_ONCE = 5000  # looked at in one turn of the event loop: some 10 ms

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(FIELDS)
_DIGITS = 18  # of a length that are looked at: with so many it is too long anyway
_END = 2  # bytes that end a line


class Body(Protocol):
    """A body that is being received."""

    length: int  # bytes, as far as they are known beforehand
    over: bool  # all of it was taken

    def take(self, unread: bytearray) -> bytes | None:
        """Take from `unread` what there is of it, and what stands around it. None: nothing can be taken before more
        has come. Raises Problem 400."""


def body_of(head: Head) -> Body | None:
    """The body that comes after a head; None without one. Raises Problem 400 when it is not clear where it ends."""
    raw = head.headers.raw
    encoding, length = raw.get(b"transfer-encoding"), raw.get(b"content-length")
    if encoding is not None:
        if length is not None or head.version == b"1.0" or encoding.lower() != b"chunked":
            raise Problem(400, "Transfer-Encoding: must be chunked, without a Content-Length, and in HTTP/1.1")
        return Chunked()
    if length is None:
        return None
    if not length.isdigit():
        raise Problem(400, "Content-Length: must be one whole number")
    digits = length.lstrip(b"0")
    return Sized(int(digits[:_DIGITS])) if digits else None


class Sized:
    """A body of so many bytes."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._left = length
        self.over = False

    def take(self, unread: bytearray) -> bytes | None:
        """What there is of it."""
        if not unread:
            return None
        data = bytes(memoryview(unread)[: self._left])
        del unread[: self._left]
        self._left -= len(data)
        self.over = not self._left
        return data


class Chunked:
    """A body in chunks, which may have extensions and a trailer; nobody looks at these."""

    length = 0  # nobody knows

    def __init__(self) -> None:
        self._left = 0  # bytes to come of a chunk that has begun, and of its line's end
        self.over = False

    def take(self, unread: bytearray) -> bytes | None:
        """What there is of the next chunks."""
        parts = []
        at = 0
        for _ in range(CHUNKS_AT_ONCE):
            if not self._left:
                begun = self._begin(unread, at)
                at = begun or at
                if self.over or not begun:
                    break
            data = unread[at : at + self._left - _END]
            parts.append(data)
            at += len(data)
            self._left -= len(data)
            if self._left > _END or len(unread) - at < _END:
                break
            if not unread.startswith(b"\r\n", at):
                raise Problem(400, "a chunk is longer than it says")
            at += _END
            self._left = 0
        del unread[:at]
        return b"".join(parts) if at else None

    def _begin(self, unread: bytearray, at: int) -> int:
        """Where the data of the chunk begins whose line is there, or where the body ends; 0 as long as not all of it
        has come."""
        line = _CHUNK.match(unread, at, at + CHUNK_MAX)
        if line is None:
            if len(unread) - at >= CHUNK_MAX or unread.find(b"\r\n", at) >= 0:
                raise Problem(400, "a chunk does not begin with its size")
            return 0
        begin = line.end()
        size = int(line[1], 16)
        if size:
            self._left = size + _END
            return begin
        last = unread.find(b"\r\n\r\n", begin - _END, begin + TRAILER_MAX)
        if last < 0:
            if len(unread) - begin >= TRAILER_MAX:
                raise Problem(400, f"the trailer has more than {TRAILER_MAX} bytes")
            return 0
        if not _TRAILER.fullmatch(unread, begin, last + _END):
            raise Problem(400, "the trailer is not HTTP/1.1's")
        self.over = True
        return last + 2 * _END
