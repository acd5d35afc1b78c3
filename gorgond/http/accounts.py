"""The routes of users' accounts: each a question to the auth server.

Programs get their token in the answer to a login. A page of ours asks with `"cookie": true` and gets none: its session
is in a cookie that no script can read, and the answer has the XSRF token which its requests must bring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.bounds import EMAIL_MAX, NAME_MAX, PASSWORD_MAX
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, json_answer, ok
from gorgond.http.asking import Asking, client_of
from gorgond.http.bodies import json_body
from gorgond.http.credentials import (
    check_origin,
    cleared_cookie,
    credentials,
    former,
    has_cookie,
    proof,
    xsrf_token,
)
from gorgond.http.export import Export
from gorgond.http.routes import Parameter, Request, Route
from gorgond.redpill import loads

_NONE: Mapping[str, int] = {}
_KEPT = {200: ("all that is the user's, written as it is read", "Export")}
_SESSION = Parameter("id", "the session's id", str, high=64)
UNKNOWN = {401: ("nobody is logged in, or not any more", "Error")}
OFTEN = {429: ("too many attempts; Retry-After says when to come again", "Error")}
FORGED = {403: ("not asked for by a page of this site", "Error")}
_BEGUN = {200: ("a session has begun", "Begun")}
_ENDS = {204: ("it has ended", ""), 202: ("it ends in a moment, which is kept", "")}


class Accounts:
    """The handlers; `routes` says which is for what."""

    def __init__(self, asking: Asking) -> None:
        self._ask = asking.ask
        self._asking = asking
        mine = UNKNOWN | FORGED
        self.routes = [
            Route("POST", "/auth/register", self.register, "Make an account", body="Registration",
                  answers={201: ("made", "User"), 409: ("there is one with this address", "Error")} | FORGED | OFTEN),
            Route("POST", "/auth/login", self.login, "Begin a session; with cookie, in one instead of a token",
                  body="Login", answers=_BEGUN | UNKNOWN | FORGED | OFTEN),
            Route("POST", "/auth/password", self.password, "Change the password; all other sessions end",
                  body="Password", user="required",
                  answers=_BEGUN | mine | OFTEN | {409: ("it was changed at the same time", "Error")}),
            Route("POST", "/auth/logout", self.logout, "End this session", answers={204: ("ended", "")} | mine,
                  user="required"),
            Route("GET", "/auth/me", self.me, "Who asks", answers={200: ("the user", "User")} | UNKNOWN,
                  user="required"),
            Route("PATCH", "/auth/me", self.rename, "Have another name", body="Renaming", user="required",
                  answers={200: ("the user", "User")} | mine),
            Route("POST", "/auth/delete", self.delete, "End the account and delete all that is the user's",
                  body="Deletion", user="required", answers=_ENDS | mine | OFTEN),
            Route("GET", "/auth/export", Export(asking).answer, "All that is the user's, as a file",
                  answers=_KEPT | UNKNOWN, user="required"),
            Route("GET", "/auth/sessions", self.sessions, "One's sessions, the one last used first",
                  answers={200: ("the sessions", "Sessions")} | UNKNOWN, user="required"),
            Route("DELETE", "/auth/sessions", self.revoke, "End all of one's sessions, this one too",
                  answers={204: ("ended", "")} | mine, user="required"),
            Route("DELETE", "/auth/sessions/{id}", self.revoke, "End one of one's sessions", (_SESSION,),
                  answers={204: ("ended", ""), 404: ("there is no such session", "Error")} | mine, user="required"),
        ]  # fmt: skip

    async def register(self, request: Request) -> Answer:
        check_origin(request)
        args = read_fields(request, {"email": EMAIL_MAX, "password": PASSWORD_MAX}, {"name": NAME_MAX})
        reply = await self._ask(request, "auth.register", {"name": "", **args, "client": client_of(request)})
        return Answer(201, reply.body)

    async def login(self, request: Request) -> Answer:
        check_origin(request)
        args = read_fields(request, {"email": EMAIL_MAX, "password": PASSWORD_MAX}, flags=("cookie",))
        cookie = args.pop("cookie", False)
        return await self._begin(request, "auth.login", args | (former(request) if cookie else {}), cookie)

    async def password(self, request: Request) -> Answer:
        user = credentials(request, "required")
        args = read_fields(request, {"new": PASSWORD_MAX}, {"old": PASSWORD_MAX})
        return await self._begin(request, "auth.password", {"old": "", **args}, has_cookie(request), user)

    async def logout(self, request: Request) -> Answer:
        await self._ask(request, "auth.logout", {}, credentials(request, "required"))
        return _ending(request)

    async def me(self, request: Request) -> Answer:
        reply = await self._ask(request, "auth.me", {}, credentials(request, "required"))
        xsrf = xsrf_token(request)
        return json_answer({**loads(reply.body), "xsrf": xsrf}) if xsrf else ok(reply.body)

    async def rename(self, request: Request) -> Answer:
        user = credentials(request, "required")
        return ok((await self._ask(request, "auth.rename", read_fields(request, {"name": NAME_MAX}), user)).body)

    async def delete(self, request: Request) -> Answer:
        user = credentials(request, "required")
        args = {"password": "", **read_fields(request, {}, {"password": PASSWORD_MAX}), "client": client_of(request)}
        reply = await self._ask(request, "auth.delete", args, user)
        return _ending(request, 202 if loads(reply.body) == "queued" else 204)

    async def sessions(self, request: Request) -> Answer:
        return ok((await self._ask(request, "auth.sessions", {}, credentials(request, "required"))).body)

    async def revoke(self, request: Request) -> Answer:
        await self._ask(request, "auth.revoke", request.parameters, credentials(request, "required"))
        return Answer(204) if request.parameters else _ending(request)

    async def _begin(
        self, request: Request, op: str, args: Mapping[str, Any], cookie: bool, user: dict[str, str] | None = None
    ) -> Answer:
        begun = await self._asking.begin(request, op, args, user)
        if not cookie:
            return json_answer({"token": begun.token, **begun.answer})
        return json_answer({**begun.answer, "xsrf": proof(begun.token)}, headers={"Set-Cookie": begun.cookie()})


def _ending(request: Request, status: int = 204) -> Answer:
    return Answer(status, headers={"Set-Cookie": cleared_cookie()} if has_cookie(request) else {})


def read_fields(
    request: Request, required: Mapping[str, int], optional: Mapping[str, int] = _NONE, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """The body: an object with these texts, of so many characters at most, and flags. Raises BadRequest."""
    body = json_body(request)
    if not isinstance(body, dict):
        raise BadRequest("body", "must be an object")
    texts = {**required, **optional}
    for name, value in body.items():
        if name in texts:
            if not isinstance(value, str) or len(value) > texts[name] or "\0" in value:
                raise BadRequest(name, f"must be text of at most {texts[name]} characters, without NUL")
        elif name not in flags:
            raise BadRequest(name[:100] or "body", f"not known here; allowed are {', '.join((*texts, *flags))}")
        elif not isinstance(value, bool):
            raise BadRequest(name, "must be true or false")
    for name in required:
        if name not in body:
            raise BadRequest(name, "must be given")
    return body
