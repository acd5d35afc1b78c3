"""The routes of applications: what comes in is checked against the annotations of their handlers, then it goes to the
app servers, by way of the auth server where a user is needed or may be there.

    user="none"                   web_get
    user="optional", "required"   auth_get, which passes it on to web_get or answers itself
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gorgond.app.annotations import BODY, TEXT_MAX, Argument, Read
from gorgond.app.application import App, Endpoint
from gorgond.app.backend import Asker
from gorgond.errors import BadRequest
from gorgond.http.answers import JSON, Answer, sendable
from gorgond.http.asking import message_of
from gorgond.http.bodies import json_body
from gorgond.http.credentials import credentials
from gorgond.http.routes import Parameter, Question, Request, Route
from gorgond.redpill import Reply

ANSWERED = {
    200: ("what the handler gives back", "Value"),
    201: ("what the handler has made", "Value"),
    204: ("done; there is nothing to give back", ""),
    504: ("no answer within the deadline", "Error"),
}
ANSWERED_ABOUT_USERS = {401: ("nobody is logged in, or not any more", "Error"), 403: ("it is not theirs", "Error")}


def routes_of(apps: Sequence[App], asker: Asker) -> list[Route]:
    """The routes of these applications."""
    return [_route(endpoint, asker) for app in apps for endpoint in app.endpoints.values()]


def _route(endpoint: Endpoint, asker: Asker) -> Route:
    return Route(
        endpoint.method,
        endpoint.path,
        _Asking(endpoint, asker).ask,
        endpoint.doc,
        tuple(_parameter(each, in_path=True) for each in endpoint.parts),
        tuple(_parameter(each) for each in endpoint.query),
        body=endpoint.body.kind.schema if endpoint.body else "",
        answers=ANSWERED if endpoint.user == "none" else ANSWERED | ANSWERED_ABOUT_USERS,
        user=endpoint.user,
        rights=endpoint.rights,
    )


class _Asking:
    """Has one endpoint's requests answered."""

    def __init__(self, endpoint: Endpoint, asker: Asker) -> None:
        self._endpoint = endpoint
        self._asker = asker

    def ask(self, request: Request) -> Question:
        endpoint, args = self._endpoint, request.parameters
        if endpoint.body is not None and (endpoint.body.required or request.body):
            args[endpoint.body.name] = json_body(request)
            endpoint.body.kind.read(args[endpoint.body.name], BODY)
        if endpoint.user == "none":
            return Question(self._asker, "web_get", message_of(request, endpoint.op, args), _answer)
        user = credentials(request, endpoint.user, endpoint.rights)
        message = message_of(request, endpoint.op, args, user, "web_get")
        return Question(self._asker, "auth_get", message, _answer)


def _answer(reply: Reply) -> Answer:
    if not reply.headers:
        return Answer(reply.status, reply.body)
    kind = sendable({"type": reply.headers.get("Content-Type", JSON)}).get("type", JSON)
    return Answer(reply.status, reply.body, kind, sendable(reply.headers))


@dataclass(frozen=True, slots=True)
class _Declared(Parameter):
    """A parameter that an annotation declares."""

    text: Read = field(kw_only=True)
    allowed: Mapping[str, Any] = field(kw_only=True)

    def schema(self) -> dict[str, Any]:
        schema = dict(self.allowed)
        if schema.get("type") == "string":
            schema |= {"minLength": self.low, "maxLength": self.high, "pattern": "^[^\\u0000]*$"}
        return schema

    def read(self, text: str) -> Any:
        if not text and self.low:
            raise BadRequest(self.name, "must not be empty")
        return self.text(text, self.name)


def _parameter(argument: Argument, in_path: bool = False) -> Parameter:
    # The default is the handler's business: what is not given is not sent.
    return _Declared(
        argument.name, "", low=int(in_path), high=TEXT_MAX, required=argument.required and not in_path,
        text=argument.kind.text or argument.kind.read, allowed=argument.kind.schema,
    )  # fmt: skip
