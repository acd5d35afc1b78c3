"""What is answered: status, headers and body, and how errors look."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from gorgond.redpill.codec import dumps

JSON = "application/json"

_OURS = ("connection", "content-length", "content-type", "transfer-encoding", "x-request-id")
_HEADER = re.compile(r"[!#$%&'*+.^`|~\w-]+:[\x20-\x7e\x80-\xff\t]*", re.ASCII)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `headers` are those beyond Content-Type and Content-Length."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """The client's side of an answer that has no end."""

    @property
    def unsent(self) -> int:
        """Bytes that the client did not take yet."""

    def closed(self) -> bool:
        """Whether the client has gone."""

    def write(self, data: bytes) -> object:
        """Send it, as soon as the client takes it."""

    def close(self) -> None:
        """End the answer, and the connection."""


@dataclass(frozen=True, slots=True)
class Streamed(Answer):
    """A response whose body is written bit by bit, by who gets the sink; `body` is its beginning."""

    begin: Callable[[Sink], None] = lambda sink: sink.close()


def ok(body: bytes) -> Answer:
    """200 with JSON that is encoded already."""
    return Answer(200, body)


def made(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """`value` as JSON."""
    return Answer(status, dumps(value), headers=headers or {})


def sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the headers, which another process made, that may go into an answer: no text that would end its line,
    and none of those that this server sets itself."""
    return {
        name: text
        for name, text in headers.items()
        if name.lower() not in _OURS and _HEADER.fullmatch(f"{name}:{text}")
    }


class Problem(Exception):
    """An answer that is an error: raised by handlers, sent as {"error": {"code", "message", "request"}}."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = headers or {}

    def answer(self, request: str) -> Answer:
        """The response to the request of that id."""
        error: dict[str, Any] = {"code": self.status, "message": self.message, "request": request}
        if self.field:
            error["field"] = self.field
        return made({"error": error}, self.status, self.headers)


def wire(answer: Answer, request: str, connection: str = "", bodiless: bool = False) -> bytes:
    """The response in HTTP/1.1. `connection` is the header of that name, if it is needed; `bodiless`: the client asked
    for the headers alone."""
    head = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Other')}\r\nX-Request-Id: {request}\r\n"
    if isinstance(answer, Streamed):
        head += f"Content-Type: {answer.content_type}\r\n"
    elif answer.status != 204:
        head += f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
    for name, value in answer.headers.items():
        head += f"{name}: {value}\r\n"
    if connection:
        head += f"Connection: {connection}\r\n"
    return head.encode("latin-1") + b"\r\n" + (b"" if bodiless else answer.body)
