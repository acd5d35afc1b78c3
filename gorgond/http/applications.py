"""The routes of applications: what comes in is checked against the annotations of their handlers, then it goes to the
app servers, by way of the auth server where a user is needed or may be there.

    user="none"                   web_get
    user="optional", "required"   auth_get, which passes it on to web_get or answers itself

Their static files are given out here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gorgond.app.annotations import BODY, Argument, Read
from gorgond.app.application import App, Endpoint
from gorgond.app.backend import Asker
from gorgond.app.folder import StaticFile
from gorgond.app.forms import object_of
from gorgond.errors import BadRequest
from gorgond.http.answers import JSON, Answer, Problem, sendable
from gorgond.http.asking import message_of
from gorgond.http.bodies import form_fields, json_body
from gorgond.http.cors import is_shared
from gorgond.http.credentials import check_origin, credentials, is_from_our_page
from gorgond.http.routes import Parameter, Question, Request, Route
from gorgond.redpill import Reply

TEXT_MAX = 8000  # characters of a text in a path or a query

ANSWERED = {
    200: ("what the handler gives back", "Value"),
    201: ("what the handler has made", "Value"),
    204: ("done; there is nothing to give back", ""),
    504: ("no answer within the deadline", "Error"),
}
ANSWERED_TO_FORMS = {
    303: ("done; Location shows what it did", ""),
    403: ("a page of another site has sent it", "Error"),
}
ANSWERED_ABOUT_USERS = {401: ("nobody is logged in, or not any more", "Error"), 403: ("it is not theirs", "Error")}


def routes_of(apps: Sequence[App], asker: Asker) -> list[Route]:
    """The routes of these applications, and those to their static files."""
    return [
        *(_route(endpoint, asker) for app in apps for endpoint in app.endpoints.values()),
        *(_static(*directory) for app in apps for directory in app.folder.directories.items()),
    ]


def _static(address: str, files: Mapping[str, StaticFile]) -> Route:
    """The route to the static files of one directory: to those that were there, whatever name is asked for."""

    async def file(request: Request) -> Answer:
        name, version = request.parameters["name"], request.parameters.get("v", "")
        if name not in files:
            raise Problem(404, f"there is no file {name}")
        return _file_answer(files[name], version, request.headers.get("If-None-Match", ""))

    return Route(
        "GET", f"{address}/{{name}}", file, "A static file of an application",
        (Parameter("name", "the file's name", str, high=255),),
        (Parameter("v", "its version: browsers keep it for good", str, high=40),),
        answers={200: ("the file", "*/*"), 304: ("it is what the client has", ""), 404: ("there is none", "Error")},
        lenient=True,
    )  # fmt: skip


def _file_answer(file: StaticFile, version: str, known: str) -> Answer:
    """The file, or word that it is the one that the client has: `known` are the tags of those. What is asked for by its
    version never changes; all else a browser asks for again."""
    tag = f'"{file.version}"'
    kept = "public, max-age=31536000, immutable" if version == file.version else "no-cache"
    headers = {"ETag": tag, "Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
    if any(each.strip().removeprefix("W/") in (tag, "*") for each in known.split(",")):
        return Answer(304, headers=headers)
    return Answer(200, file.content, file.content_type, headers)


def _route(endpoint: Endpoint, asker: Asker) -> Route:
    body: Mapping[str, Any] = endpoint.body.kind.schema if endpoint.body else {}
    answers = ANSWERED | ANSWERED_TO_FORMS if endpoint.form else ANSWERED
    return Route(
        endpoint.method,
        endpoint.path,
        _Asking(endpoint, asker).ask,
        endpoint.doc,
        tuple(_parameter(each, in_path=True) for each in endpoint.parts),
        tuple(_parameter(each) for each in endpoint.query),
        body={} if endpoint.form else body,
        form=body if endpoint.form else {},
        answers=answers if endpoint.user == "none" else answers | ANSWERED_ABOUT_USERS,
        user=endpoint.user,
        rights=endpoint.rights,
        origins=endpoint.origins,
    )


class _Asking:
    """Has one endpoint's requests answered."""

    def __init__(self, endpoint: Endpoint, asker: Asker) -> None:
        self._endpoint = endpoint
        self._asker = asker

    def ask(self, request: Request) -> Question:
        endpoint, args = self._endpoint, request.parameters
        if endpoint.form:
            if not is_shared(endpoint.origins, request.headers.get("Origin", "")):
                check_origin(request)
            fields = form_fields(request) if request.body else []
            if endpoint.body is not None:
                args[endpoint.body.name] = object_of(endpoint.body.kind, fields)
                endpoint.body.kind.read(args[endpoint.body.name], BODY)
        elif endpoint.body is not None and (endpoint.body.required or request.body):
            args[endpoint.body.name] = json_body(request)
            endpoint.body.kind.read(args[endpoint.body.name], BODY)
        if endpoint.user == "none":
            return Question(self._asker, "web_get", message_of(request, endpoint.op, args), _answer)
        user = credentials(request, endpoint.user, endpoint.rights, is_from_our_page(request))
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
        if not self.low <= len(text) <= self.high:
            raise BadRequest(
                self.name, f"must be {self.low} to {self.high} characters" if text else "must not be empty"
            )
        return self.text(text, self.name)


def _parameter(argument: Argument, in_path: bool = False) -> Parameter:
    # The default is the handler's business: what is not given is not sent.
    return _Declared(
        argument.name, "", low=int(in_path), high=TEXT_MAX, required=argument.required and not in_path,
        text=argument.kind.text or argument.kind.read, allowed=argument.kind.schema,
    )  # fmt: skip
