"""The visitor who looks at a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, sendable
from gorgond.http.asking import Asking
from gorgond.http.credentials import token_of, xsrf_token
from gorgond.http.routes import Request
from gorgond.http.website.fields import named
from gorgond.redpill import CallFailed

_FOR_THE_USER = (400, 401, 403, 404, 409, 422, 429, 503, 504)  # statuses with which a form is shown again


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who looks at a page, as the auth server knows them, and the proof that their forms carry."""

    user: Mapping[str, Any] | None
    xsrf: str

    @property
    def reads(self) -> dict[str, str] | None:
        """What a question to the store says, for it to find what is private to this visitor too."""
        return None if self.user is None else {"id": self.user["id"], "reads": "own"}


NOBODY = Visitor(None, "")


async def visitor_of(asking: Asking, request: Request) -> Visitor:
    """The visitor; nobody when their session has ended."""
    if not token_of(request):
        return NOBODY
    try:
        return (await find_visitor(asking, request))[0]
    except CallFailed as failed:
        if failed.code != 401:
            raise
        return NOBODY


async def find_visitor(asking: Asking, request: Request) -> tuple[Visitor, int]:
    """The visitor, and their number. Raises Problem 401 when nobody is logged in, CallFailed 401 when their session has
    ended."""
    user = await asking.mine(request, "auth.me", {})
    return Visitor(user, xsrf_token(request)), int(user["id"])


async def show_again(error: BadRequest | CallFailed, form: Callable[[str, str], Awaitable[Answer]]) -> Answer:
    """The form again, with what is wrong and which field it is, if who filled it in can mend it; else the error."""
    if isinstance(error, BadRequest):
        text, status = str(error), 400
    elif error.code in _FOR_THE_USER:
        text, status = error.message, error.code
    else:
        raise error
    answer = await form(named(text, error.field), error.field)
    headers = {**answer.headers, **(sendable(error.headers) if isinstance(error, CallFailed) else {})}
    return replace(answer, status=status, headers=headers)
