"""Answers: status, headers and body, and how errors look."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from typing import Any, Protocol

from gorgond.redpill import dumps

JSON = "application/json"
HTML = "text/html; charset=utf-8"

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{heading}</title>
<h1>{heading}</h1>
<p>{said}</p>
<p><small>Request {request}</small></p>
</html>
"""
_NONE: Mapping[str, str] = {}
_OURS = ("connection", "content-length", "content-type", "transfer-encoding", "x-request-id")
_HEADER = re.compile(r"[!#$%&'*+.^`|~\w-]+:[\x20-\x7e\x80-\xff\t]*", re.ASCII)
BODILESS = (204, 304)  # answers that end with their headers: a client takes what follows for the next answer
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Answer:
    """A response, to be treated as a value. `headers` are those beyond Content-Type and Content-Length."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def phrase(status: int) -> str:
    """The name of a status; not every number that is allowed has one."""
    return _PHRASES.get(status, "Other")


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


@dataclass(slots=True)
class Streamed(Answer):
    """A response whose body is written bit by bit, by who gets the sink; `body` is its beginning. One that `ends` is
    for a client too who has closed its own side, as one may who has asked for all it wants; of one without an end that
    means that the client has gone."""

    begin: Callable[[Sink], None] = lambda sink: sink.close()
    ends: bool = False


_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_SECURE = {"Strict-Transport-Security": "max-age=31536000"}  # seconds
_PROTECTION = {(False, False): _NONE, (True, False): _PRIVATE, (False, True): _SECURE, (True, True): _PRIVATE | _SECURE}


def protection(private: bool, secure: bool) -> Mapping[str, str]:
    """The headers that an answer has beside its own: `private` ones are kept by nobody, `secure` ones came over TLS,
    without which browsers are not to ask again."""
    return _PROTECTION[private, secure]


def ok(body: bytes) -> Answer:
    """200 with JSON that is encoded already."""
    return Answer(200, body, JSON, _NONE)


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
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


def wants_page(headers: Mapping[str, str]) -> bool:
    """Whether a client wants errors as pages, as browsers do when they go somewhere; programs want JSON."""
    return "text/html" in headers.get("Accept", "")


class Problem(Exception):
    """An answer that is an error: raised by handlers, sent as {"error": {"code", "message", "request"}}, with the field
    of the input that is wrong and a reason for programs where there are such."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        field: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = headers or {}
        self.reason = reason

    def page(self, request: str) -> Answer:
        """The same as a plain page, for people."""
        heading, said = escape(f"{self.status} {phrase(self.status)}"), escape(self.message)
        text = _PAGE.format(heading=heading, said=said, request=escape(request))
        safe = {"Content-Security-Policy": "default-src 'none'", **_PRIVATE}
        return Answer(self.status, text.encode(), HTML, {**safe, **self.headers})

    def answer(self, request: str) -> Answer:
        """The response to the request of that id."""
        error: dict[str, Any] = {"code": self.status, "message": self.message, "request": request}
        error |= {name: text for name, text in (("field", self.field), ("reason", self.reason)) if text}
        return json_answer({"error": error}, self.status, self.headers)


def wire(
    answer: Answer,
    request: str,
    connection: str = "",
    bodiless: bool = False,
    protected: Mapping[str, str] = _NONE,
) -> bytes:
    """The response in HTTP/1.1. `connection` is the header of that name, if it is needed; `bodiless`: the headers
    alone; `protected` are the headers that make it safe."""
    head = f"HTTP/1.1 {answer.status} {phrase(answer.status)}\r\nX-Request-Id: {request}\r\n"
    if isinstance(answer, Streamed):
        head += f"Content-Type: {answer.content_type}\r\n"
    elif answer.status not in BODILESS:
        head += f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
    headers = {**protected, **answer.headers} if protected else answer.headers
    for name, value in headers.items():
        head += f"{name}: {value}\r\n"
    if connection:
        head += f"Connection: {connection}\r\n"
    return head.encode("latin-1") + b"\r\n" + (b"" if bodiless else answer.body)
