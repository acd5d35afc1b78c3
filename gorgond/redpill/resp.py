"""RESP2, the format in which Redis is asked and answers: hiredis packs and reads it where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import InvalidResponse, ResponseError

Command = Sequence[str | bytes | int]

_END = b"\r\n"


class Reader(Protocol):
    """Reads answers out of bytes as they come."""

    def feed(self, data: bytes, /) -> None:
        """These have come."""

    def gets(self) -> Any:
        """The next answer: bytes, int, list, None, or a ResponseError with what Redis says; False when it has not come
        as a whole. Raises InvalidResponse for what is no RESP2."""


class PurePython:
    """A reader for where there is no hiredis."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begin = 0  # of what was not read yet
        self._arrays: list[tuple[list[Any], int]] = []  # that are not whole: the outermost first, with how long it is

    def feed(self, data: bytes) -> None:
        """These have come."""
        del self._buffer[: self._begin]
        self._begin = 0
        self._buffer += data

    def gets(self) -> Any:
        """The next answer, as Reader says."""
        while True:
            try:
                answer = self._next()
            except ValueError as error:
                raise InvalidResponse(f"no answer of Redis: {error}") from None
            if answer is False:
                return False
            while self._arrays:
                array, length = self._arrays[-1]
                if array is not answer:
                    array.append(answer)
                if len(array) < length:
                    break
                answer, _ = self._arrays.pop()
            else:
                return answer

    def _next(self) -> Any:
        """The next answer, or the next part of an array; False when it has not come. An array that is not empty is
        given out when it begins, and is the last of `_arrays` then."""
        end = self._buffer.find(_END, self._begin)
        if end < 0:
            return False
        kind, line = self._buffer[self._begin : self._begin + 1], bytes(self._buffer[self._begin + 1 : end])
        end += len(_END)
        answer: Any
        if kind == b"$":
            begin, end = end, end + int(line) + len(_END)
            if int(line) < 0:
                answer, end = None, begin
            elif len(self._buffer) < end:
                return False
            else:
                answer = bytes(self._buffer[begin : end - len(_END)])
        elif kind == b":":
            answer = int(line)
        elif kind == b"+":
            answer = line
        elif kind == b"-":
            answer = ResponseError(line.decode(errors="replace"))
        elif kind == b"*":
            answer = None if int(line) < 0 else []
            if int(line) > 0:
                self._arrays.append((answer, int(line)))
        else:
            raise ValueError(f"it begins with {bytes(kind)!r}")
        self._begin = end
        return answer


def pack_plainly(command: Command) -> bytes:
    """A command as it travels, for where no hiredis packs it."""
    parts = [b"*%d\r\n" % len(command)]
    for each in command:
        word = each if isinstance(each, bytes) else str(each).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


try:
    import hiredis
except ImportError:

    def reader() -> Reader:
        """A reader for one connection."""
        return PurePython()

    def pack(command: Command) -> bytes:
        """A command as it travels."""
        return pack_plainly(command)

else:

    def reader() -> Reader:
        """A reader for one connection."""
        made: Reader = hiredis.Reader(protocolError=InvalidResponse, replyError=ResponseError)
        return made

    if hasattr(hiredis, "pack_command"):  # Debian 12's has none

        def pack(command: Command) -> bytes:
            """A command as it travels."""
            packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type] # of any length
            return packed

    else:
        pack = pack_plainly
