"""Who looks at a page, and what the other servers are asked on their behalf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gorgond.app.clients import Documents, documents_of, queue_of
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer
from gorgond.http.credentials import credentials, digest, new_token, session_cookie, token_of, xsrf_token
from gorgond.http.routes import Request
from gorgond.redpill import CallFailed, Message, Reply, loads, new_id, now_ms

AGENT_MAX = 200  # characters kept of a browser's name for itself
_FOR_THE_USER = (400, 401, 403, 409, 422, 429)  # statuses with which a form is shown again


class Backend(Protocol):
    """What the website asks of the server it runs in."""

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised."""

    def searching(self, client: str) -> AbstractContextManager[None]:
        """For as long as the client at this address searches. Raises CallFailed 429."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page, as the auth server knows them, and the proof that their forms carry."""

    user: Mapping[str, Any] | None
    xsrf: str


NOBODY = Visitor(None, "")


class Desk:
    """Asks the other servers. Calls that are made side by side have ids of their own: a reply answers all of an id."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def searching(self, request: Request) -> AbstractContextManager[None]:
        """For as long as a request that may be a search asks for notes. Raises CallFailed 429."""
        return self._backend.searching(request.client) if "q" in request.parameters else nullcontext()

    async def visitor(self, request: Request) -> Visitor:
        """Who looks; nobody when their session has ended."""
        if not token_of(request):
            return NOBODY
        try:
            return (await self.known(request))[0]
        except CallFailed as failed:
            if failed.code != 401:
                raise
            return NOBODY

    async def known(self, request: Request) -> tuple[Visitor, int]:
        """Who looks, and their number. Raises Problem 401 when nobody is logged in, CallFailed 401 when their session
        has ended."""
        user = await self.auth(request, "auth.me", {})
        return Visitor(user, xsrf_token(request)), int(user["id"])

    async def auth(self, request: Request, op: str, args: dict[str, Any]) -> Any:
        """What the auth server answers to who asks."""
        user = dict(credentials(request, "required"))
        message = Message(op, args, user=user, deadline=request.deadline)
        return _value(await self._backend.call("auth_get", message))

    async def account(
        self, request: Request, op: str, args: Mapping[str, Any], user: dict[str, str] | None = None
    ) -> Any:
        """The same for what tells the auth server from where it is asked; nobody need be logged in for it."""
        client = {"address": request.client, "agent": request.headers.get("User-Agent", "")[:AGENT_MAX]}
        message = Message(op, {**args, "client": client}, user=user, deadline=request.deadline)
        return _value(await self._backend.call("auth_get", message))

    async def begin(
        self, request: Request, op: str, args: Mapping[str, Any], user: dict[str, str] | None = None
    ) -> str:
        """Have a session begun: its cookie. Its token is made here and goes to the browser alone."""
        token = new_token()
        begun = await self.account(request, op, {**args, "token": digest(token)}, user)
        return session_cookie(token, (begun["expires"] - now_ms()) // 1000)

    async def app(self, request: Request, op: str, args: dict[str, Any]) -> Any:
        """What the application answers to who asks; the message passes the auth server on its way."""
        user = dict(credentials(request, "required"))
        message = Message(op, args, request.id, user=user, deadline=request.deadline, next="web_get")
        return _value(await self._backend.call("auth_get", message))

    async def find(self, deadline: int, collection: str, args: dict[str, Any]) -> Documents:
        """Documents, straight from a store."""
        message = Message(f"{collection}.find", args, new_id(), deadline=deadline)
        try:
            reply = await self._backend.call(queue_of(args), message)
        except CallFailed as failed:
            _, search, why = failed.message.partition("search: ")
            raise (BadRequest("q", why) if search and failed.code == 400 else failed) from None
        return await documents_of(reply)

    async def names(self, deadline: int, uids: Iterable[Any]) -> dict[Any, str]:
        """What users are called, by their numbers; those who are not registered are not among them."""
        ids = [str(uid) for uid in uids if type(uid) is int]
        if not ids:
            return {}
        args = {"filter": {"id": {"$in": ids}}, "fields": ["name"], "limit": len(ids)}
        return {int(user["id"]): user.get("name", "") for user in await self.find(deadline, "users", args)}


def _value(reply: Reply) -> Any:
    return loads(reply.body) if reply.body else None


async def again(error: BadRequest | CallFailed, form: Callable[[str, str], Awaitable[Answer]]) -> Answer:
    """The form again, with what is wrong and which field it is, if who filled it in can mend it; else the error."""
    if isinstance(error, BadRequest):
        text, status = str(error), 400
    elif error.code in _FOR_THE_USER:
        text, status = error.message, error.code
    else:
        raise error
    answer = await form(text[:1].upper() + text[1:], error.field)
    return replace(answer, status=status)
