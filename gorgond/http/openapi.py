"""The API's description, made of the routes, so that it is true to the code."""

from __future__ import annotations

from typing import Any

from gorgond import __version__
from gorgond.http.routes import Parameter, Route, Routes

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer", "minimum": 0}
_SCHEMAS: dict[str, Any] = {
    "Item": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": 128},
            "title": _TEXT | {"maxLength": 1000},
            "url": _TEXT | {"maxLength": 8000},
            "body": _TEXT | {"maxLength": 1_000_000},
            "ts": _WHOLE | {"description": "milliseconds since 1970"},
            "location": _TEXT | {"maxLength": 1000},
            "keywords": {"type": "array", "items": _TEXT | {"minLength": 1, "maxLength": 200}, "maxItems": 100},
            "userid": _WHOLE,
        },
        "additionalProperties": True,
    },
    "Items": {
        "oneOf": [
            {"$ref": "#/components/schemas/Item"},
            {"type": "array", "items": {"$ref": "#/components/schemas/Item"}, "minItems": 1, "maxItems": 1000},
        ]
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "request"],
                "properties": {
                    "code": {"type": "integer"},
                    "message": _TEXT,
                    "request": _TEXT,
                    "field": _TEXT,
                },
            }
        },
    },
}
_ERRORS = {
    400: "bad input: says which field, and what is allowed",
    503: "no room in the queue, or the broker is away; Retry-After says when to come again",
    504: "no answer within the deadline",
}
_BODY_ERRORS = {413: "the body is too large", 415: "the body is no JSON by its Content-Type", 422: "it cannot be stored"}


def describe(routes: Routes) -> dict[str, Any]:
    """OpenAPI 3.1 for `routes`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.all:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    info = {"title": "gorgond", "version": __version__}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": _SCHEMAS}}


def _operation(route: Route) -> dict[str, Any]:
    answers = {**route.answers, **(_ERRORS if route.parts or route.query else {})}
    if route.body:
        answers |= _BODY_ERRORS
    operation: dict[str, Any] = {
        "summary": route.doc,
        "parameters": [
            *(_parameter(part, "path") for part in route.parts),
            *(_parameter(each, "query") for each in route.query),
        ],
        "responses": {str(status): _response(status, doc) for status, doc in sorted(answers.items())},
    }
    if route.body:
        schema = {"$ref": f"#/components/schemas/{route.body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _response(status: int, doc: str) -> dict[str, Any]:
    if status < 400:
        return {"description": doc}
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": doc, "content": {"application/json": {"schema": schema}}}


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    schema: dict[str, Any]
    if parameter.kind is int:
        schema = {"type": "integer", "minimum": parameter.low, "maximum": parameter.high}
    else:
        schema = {"type": "string", "minLength": 1, "maxLength": parameter.high}
    if parameter.default is not None and place == "query":
        schema["default"] = parameter.default
    return {"name": parameter.name, "in": place, "description": parameter.doc, "required": place == "path",
            "schema": schema}  # fmt: skip
