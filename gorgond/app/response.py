"""The value that a handler gives back: a JSON value, None, or a Response with a status and headers, or a page."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gorgond.app.clients import Count, Documents
from gorgond.redpill import MORE, NEXT, Done, dumps

JSON = "application/json"
HTML = "text/html; charset=utf-8"
PAGE: Mapping[str, str] = {
    "Cache-Control": "no-store",  # it may be somebody's own
    "Content-Security-Policy": "frame-ancestors 'self'",  # no other site shows it as a part of its own
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of a page, unless the application has others."""

Render = Callable[[str, Mapping[str, Any]], bytes]
"""Makes the page of a template with these values."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a status and headers of its own. `body` is a JSON value, or text or bytes with a `content_type`
    of their own: Response("<p>hello</p>", content_type="text/html; charset=utf-8"). With a `template` it is the page
    which that template of the application makes of the body, an object: Response({"price": 5}, template="shop.html").
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    template: str = ""

    @classmethod
    def see_other(cls, where: str) -> Response:
        """The answer to a form that was done: the browser goes on to the page at `where`, and reloading that sends
        nothing again."""
        return cls(b"", 303, {"Location": where}, HTML)


def outcome_of(value: Any, render: Render) -> Done:
    """The outcome of a handler that gave back `value`; None is 204 No Content. `render` makes pages.

    Raises TypeError or ValueError for what is no JSON, and what a template raises.
    """
    if value is None:
        return Done(b"", status=204)
    if isinstance(value, Documents | Count):
        next = {NEXT: value.next} if isinstance(value, Documents) and value.next else {}
        return Done(dumps(value, plain_value), headers=(MORE if value.more else {}) | next)
    if not isinstance(value, Response):
        return Done(dumps(value, plain_value))
    if not 200 <= value.status <= 599:
        raise ValueError(f"{value.status} is no status of an answer; allowed: 200 to 599")
    if value.template:
        page = render(value.template, value.body or {})
        return Done(page, None, value.status, {**PAGE, **value.headers, "Content-Type": HTML})
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
