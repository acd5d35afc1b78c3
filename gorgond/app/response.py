"""The value that a handler gives back: a JSON value, None, or a Response with a status and headers."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gorgond.app.clients import Count, Documents
from gorgond.redpill import MORE, Done, dumps

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a status and headers of its own. `body` is a JSON value, or text or bytes with a `content_type`
    of their own: Response("<p>hello</p>", content_type="text/html; charset=utf-8")."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


def outcome_of(value: Any) -> Done:
    """The outcome of a handler that gave back `value`; None is 204 No Content.

    Raises TypeError or ValueError for what is no JSON.
    """
    if value is None:
        return Done(b"", status=204)
    if isinstance(value, Documents | Count) and value.more:
        return Done(dumps(value, plain_value), headers=MORE)
    if not isinstance(value, Response):
        return Done(dumps(value, plain_value))
    if not 200 <= value.status <= 599:
        raise ValueError(f"{value.status} is no status of an answer; allowed: 200 to 599")
    if value.content_type == JSON:
        return Done(b"" if value.status == 204 else dumps(value.body, plain_value), None, value.status, value.headers)
    if not isinstance(value.body, str | bytes):
        raise TypeError(f"a body of {value.content_type} must be text or bytes, not {type(value.body).__name__}")
    body = value.body.encode() if isinstance(value.body, str) else value.body
    return Done(body, None, value.status, {**value.headers, "Content-Type": value.content_type})


def plain_value(value: Any) -> Any:
    """The value to write for one that JSON does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"a handler cannot give back a {type(value).__name__}: it is no JSON")
