"""The API's description, made of the routes, so that it is true to the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gorgond import __version__
from gorgond.bounds import (
    BODY_MAX,
    DOCUMENT_ID_MAX,
    EMAIL_MAX,
    KEYWORD_MAX,
    KEYWORDS_MAX,
    LIM_MAX,
    LINK_MAX,
    LOCATION_MAX,
    NAME_MAX,
    PASSWORD_MAX,
    TITLE_MAX,
    URL_MAX,
    WHOLE_MAX,
)
from gorgond.http.forms import FORM
from gorgond.http.routes import Parameter, Route, Routes

ANSWERS_TO_ALL = {
    400: ("bad input: says which field, and what is allowed", "Error"),
    503: ("no room, or the broker is away; Retry-After says when to come again", "Error"),
}
ANSWER_TO_ASKING = {504: ("no answer within the deadline", "Error")}
ANSWERS_TO_BODIES = {
    408: ("the body did not arrive in time", "Error"),
    413: ("the body is too large", "Error"),
    415: ("the body is no JSON by its Content-Type, or compressed", "Error"),
    422: ("it cannot be stored", "Error"),
}

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer", "minimum": 0, "maximum": WHOLE_MAX}
_COUNT = {"type": "integer", "minimum": 0}
_ITEM = {"$ref": "#/components/schemas/Item"}
_LIST = {"type": "array", "items": _ITEM}
_ID = _TEXT | {"minLength": 1, "maxLength": DOCUMENT_ID_MAX, "pattern": "^[^\\u0000]*$"}
_TS = _WHOLE | {"description": "milliseconds since 1970, at most 60 s ahead of the server's clock; of two versions "
               "the newer one stays. Without it, a change comes after whatever is there"}  # fmt: skip
_FIELDS: dict[str, dict[str, Any]] = {
    "title": _TEXT | {"maxLength": TITLE_MAX},
    "url": _TEXT | {"maxLength": URL_MAX},
    "body": _TEXT | {"maxLength": BODY_MAX},
    "location": _TEXT | {"maxLength": LOCATION_MAX},
    "keywords": {
        "type": "array",
        "items": _TEXT | {"minLength": 1, "maxLength": KEYWORD_MAX},
        "maxItems": KEYWORDS_MAX,
    },
    "userid": _WHOLE,
    "private": {"type": "boolean", "description": "a registered user's alone to see, at /me/notes"},
}
_REMOVABLE = {name: schema | {"type": [schema["type"], "null"]} for name, schema in _FIELDS.items()}


def _object(**properties: Any) -> dict[str, Any]:
    """An object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _item(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An object that may have these, and others."""
    return {"type": "object", "properties": {"id": _ID, "ts": _TS, **fields}, "not": {"required": ["_id"]}}


def _page(**properties: Any) -> dict[str, Any]:
    """Items, and which those are."""
    found = _object(items=_LIST, **properties, lim=_COUNT, off=_COUNT)
    more = {"const": True, "description": "there was no room for all of them: the others are at `next`"}
    next = _TEXT | {"description": "the address of the next page, which may be empty; without it this is the last one"}
    return found | {"properties": {**found["properties"], "more": more, "next": next}}


def _text(most: int) -> dict[str, Any]:
    """A text, as bodies may hold it."""
    return {"type": "string", "maxLength": most, "pattern": "^[^\\u0000]*$"}


def _input(required: Sequence[str], **most: int) -> dict[str, Any]:
    """An object with texts of so many characters at most, and nothing else."""
    properties = {name: _text(length) for name, length in most.items()}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


_USER = _object(id=_TEXT, name=_TEXT, email=_TEXT, roles={"type": "array", "items": _TEXT})
_USER["properties"]["confirmed"] = {
    "const": True,
    "description": "the user has proved to read its e-mails",
}
_SESSIONS = {
    "type": "array",
    "items": _object(
        id=_TEXT,
        created=_WHOLE,
        used=_WHOLE,
        expires=_WHOLE,
        agent=_TEXT,
        address=_TEXT,
        current={"type": "boolean"},
    ),
}
_SCHEMAS: dict[str, Any] = {
    "Item": _item(_FIELDS),
    "Items": {"oneOf": [_ITEM, _LIST | {"minItems": 1, "maxItems": LIM_MAX}]},
    "Changes": _item(_REMOVABLE) | {"minProperties": 1},
    "Notes": _page(uid=_WHOLE),
    "Found": _page(),
    "Added": _object(ids={"type": "array", "items": _ID}, uid=_WHOLE, state={"enum": ["stored", "queued"]}),
    "Changed": _object(id=_ID, state={"const": "stored"}),
    "User": _USER,
    "Registration": _input(("email", "password"), email=EMAIL_MAX, password=PASSWORD_MAX, name=NAME_MAX),
    "Login": _input(("email", "password"), email=EMAIL_MAX, password=PASSWORD_MAX)
    | {"properties": {"email": _text(EMAIL_MAX), "password": _text(PASSWORD_MAX), "cookie": {"type": "boolean"}}},
    "Password": _input(("new",), old=PASSWORD_MAX, new=PASSWORD_MAX),
    "Proof": _input(("token",), token=LINK_MAX),
    "Address": _input(("email",), email=EMAIL_MAX),
    "NewAddress": _input(("email",), email=EMAIL_MAX, password=PASSWORD_MAX),
    "ProofOfAddress": _input(("token", "email"), token=LINK_MAX, email=EMAIL_MAX),
    "Reset": _input(("token", "new"), token=LINK_MAX, new=PASSWORD_MAX),
    "Renaming": _input(("name",), name=NAME_MAX),
    "Deletion": _input((), password=PASSWORD_MAX),
    "Export": _object(
        exported=_WHOLE,
        user=_USER,
        sessions=_SESSIONS,
        links={"type": "array"},
        notes=_LIST,
        unwanted={"type": "array"},
        endpoints={"type": "array"},
        notifications={"type": "array"},
        deliveries={"type": "array"},
    ),
    "Begun": {
        "type": "object",
        "required": ["user", "expires"],
        "properties": {"token": _TEXT, "user": _USER, "expires": _WHOLE, "xsrf": _TEXT},
    },
    "Sessions": _object(sessions=_SESSIONS),
    "Alive": _object(alive={"const": True}),
    "Kept": _object(id=_TEXT),
    "Ready": _object(ready={"const": True}),
    "Any": {"type": "object"},
    "Value": {},
    "Error": _object(
        error={
            "type": "object",
            "required": ["code", "message", "request"],
            "properties": {
                "code": {"type": "integer"},
                "message": _TEXT,
                "request": _TEXT,
                "field": _TEXT,
                "reason": _TEXT,
            },
        }
    ),
}


def describe(routes: Routes) -> dict[str, Any]:
    """OpenAPI 3.1 for `routes`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.all:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    about = (
        "What answers GET answers HEAD as well, and OPTIONS has 204 and Allow. Where there is a website, who "
        "accepts text/html gets errors as pages, and for 401 the way to /login."
    )
    info = {"title": "gorgond", "version": __version__, "description": about}
    components = {"schemas": _SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _operation(route: Route) -> dict[str, Any]:
    answers = {**ANSWERS_TO_ALL, **route.answers}
    if route.parts or route.query:
        answers |= ANSWER_TO_ASKING
    if route.body or route.form or route.raw:
        answers |= ANSWERS_TO_BODIES
    operation: dict[str, Any] = {
        "summary": route.doc,
        "parameters": [
            *(_parameter(part, "path") for part in route.parts),
            *(_parameter(each, "query") for each in route.query),
            *(_parameter(each, "header") for each in route.headers),
        ],
        "responses": {
            **{str(status): _response(*answers[status]) for status in sorted(answers)},
            "default": _response("any other error", "Error"),
        },
    }
    if route.body:
        operation["requestBody"] = {"required": True, "content": _json(route.body)}
    elif route.raw:
        operation["requestBody"] = {"content": {"*/*": {}}}
    elif route.form:
        operation["requestBody"] = {"required": True, "content": _form(route.form)}
    if route.user != "none":
        operation["security"] = [{"token": []}] if route.user == "required" else [{"token": []}, {}]
    return operation


def _json(schema: str | Mapping[str, Any]) -> dict[str, Any]:
    """Content of this schema, or of the one of this name."""
    named = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    return {"application/json": {"schema": named}}


def _form(fields: Sequence[Parameter] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(fields, Mapping):
        return {FORM: {"schema": fields}}
    required = [each.name for each in fields if not each.empty]
    schema = {"type": "object", "properties": {each.name: each.schema() for each in fields}, "required": required}
    return {FORM: {"schema": schema}}


def _response(words: str, content: str) -> dict[str, Any]:
    """An answer whose `content` is names of schemas, of JSON, and media types, with blanks between them; or nothing."""
    described: dict[str, Any] = {}
    for each in content.split():
        described |= {each: {"schema": _TEXT}} if "/" in each else _json(each)
    return {"description": words, "content": described} if described else {"description": words}


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    schema = parameter.schema()
    if parameter.default is not None and place == "query":
        schema["default"] = parameter.default
    return {"name": parameter.name, "in": place, "description": parameter.doc,
            "required": place == "path" or parameter.required, "schema": schema}  # fmt: skip
