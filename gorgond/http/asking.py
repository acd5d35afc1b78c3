"""The questions that a request has for the other servers: each bears the request's deadline and trace, and an id of its
own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gorgond.app.backend import WebBackend
from gorgond.app.clients import Documents, documents_of, queue_of
from gorgond.bounds import AGENT_MAX
from gorgond.errors import BadRequest
from gorgond.http.credentials import credentials, digest, new_token, session_cookie
from gorgond.http.routes import Request
from gorgond.redpill import CallFailed, Message, Reply, loads, now_ms

SURE = 60.0  # seconds for which what a store can do is remembered
TRACE_MAX = 100  # characters kept of a traceparent; one has 55

User = Mapping[str, str]


class Begun(NamedTuple):
    """A session that has begun: its `token`, which is told to nobody but the client, and what the auth server says."""

    token: str
    answer: dict[str, Any]

    def cookie(self) -> str:
        """The Set-Cookie header that keeps it in a browser."""
        return session_cookie(self.token, (self.answer["expires"] - now_ms()) // 1000)


class Asking:
    """Asks the other servers. Raises what a call raises."""

    def __init__(self, backend: WebBackend) -> None:
        self._backend = backend
        self._searched = True
        self._sure_until = 0.0  # on the monotonic clock

    async def ask(self, request: Request, op: str, args: Mapping[str, Any], user: User | None = None) -> Reply:
        """Have the auth server do something, by the user of these credentials if there are any."""
        return await self._backend.call("auth_get", message_of(request, op, args, user))

    async def mine(self, request: Request, op: str, args: Mapping[str, Any]) -> Any:
        """The auth server's answer to the user who is logged in. Raises Problem 401, too."""
        return _value(await self.ask(request, op, args, credentials(request, "required")))

    async def begin(self, request: Request, op: str, args: Mapping[str, Any], user: User | None = None) -> Begun:
        """Have a session begun, whose token is made here."""
        token = new_token()
        told = {**args, "token": digest(token), "client": client_of(request)}
        return Begun(token, _value(await self.ask(request, op, told, user)))

    async def app(self, request: Request, op: str, args: Mapping[str, Any]) -> Any:
        """An application's answer to the user who is logged in; the message passes the auth server on its way."""
        message = message_of(request, op, args, credentials(request, "required"), "web_get")
        return _value(await self._backend.call("auth_get", message))

    async def anybody(self, request: Request, op: str, args: Mapping[str, Any]) -> Any:
        """An application's answer to whoever asks."""
        return _value(await self._backend.call("web_get", message_of(request, op, args)))

    async def fetch(
        self, request: Request, collection: str, args: Mapping[str, Any], user: User | None = None
    ) -> Reply:
        """A store's answer, which comes straight from there, with what is private to a `user` if one is given. Raises
        BadRequest for words that cannot be searched for, and CallFailed 429 for a client that has too many searches
        under way."""
        message = message_of(request, f"{collection}.find", args, user)
        if not args.get("search"):
            return await self._backend.call(queue_of(args), message)
        try:
            with self._backend.searching(request.client):
                return await self._backend.call(queue_of(args), message)
        except CallFailed as failed:
            if failed.field != "search" or failed.code != 400:
                raise
            raise BadRequest("q", failed.message.removeprefix("search: ")) from None

    async def find(
        self, request: Request, collection: str, args: Mapping[str, Any], user: User | None = None
    ) -> Documents:
        """The same, as documents."""
        return await documents_of(await self.fetch(request, collection, args, user))

    async def searches(self, request: Request) -> bool:
        """Whether words can be searched for here. A store is asked once in SURE seconds; meanwhile it was so."""
        now = time.monotonic()
        if now > self._sure_until:
            self._sure_until = now + SURE
            reply = await self._backend.call("store_get", message_of(request, "store.health", {}))
            self._searched = _value(reply).get("search", True)
        return self._searched

    async def names(self, request: Request, uids: Iterable[Any]) -> dict[Any, str]:
        """The names of users, by their numbers; those who are not registered are not among them."""
        ids = [str(uid) for uid in uids if type(uid) is int]
        if not ids:
            return {}
        args = {"filter": {"id": {"$in": ids}}, "fields": ["name"], "limit": len(ids)}
        return {int(user["id"]): user.get("name", "") for user in await self.find(request, "users", args)}


def message_of(request: Request, op: str, args: Mapping[str, Any], user: User | None = None, next: str = "") -> Message:
    """A message on behalf of a request. Each has an id of its own, since a reply answers all of an id."""
    trace = request.headers.get("traceparent", "")[:TRACE_MAX]
    told = dict(user) if user is not None else None
    return Message(op, dict(args), request.next_id(), "", next, told, request.deadline, now_ms(), trace)


def client_of(request: Request) -> dict[str, str]:
    """The client, as a session remembers where it was begun."""
    return {"address": request.client, "agent": request.headers.get("User-Agent", "")[:AGENT_MAX]}


def _value(reply: Reply) -> Any:
    return loads(reply.body) if reply.body else None
