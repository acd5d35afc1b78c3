"""/openapi.json is valid, and true: every route, parameter and answer of it is met as described."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import openapi_spec_validator
import pytest

from gorgond.http import server
from gorgond.stores.paging import cursor_of
from tests.integration.website import Answer, Website

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NOTE = {"title": "t", "keywords": ["k"]}
BODIES = {  # where it is no note
    "/me/notifications/preferences/{kind}/{channel}": {"on": True},
    "/me/notifications/endpoints": {"url": "https://example.org/"},
    "/me/notifications/endpoints/{id}": {"state": "off"},
    "/me/notifications/browsers": {"endpoint": "https://push.example/1"},
}


@pytest.fixture(scope="module")
def document(site: Website) -> Mapping[str, Any]:
    answer = site.ask("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: Mapping[str, Any] = answer.json
    return found


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def check(document: Mapping[str, Any], path: str, method: str, answer: Answer) -> None:
    """Fail unless the answer is as the document says."""
    responses = document["paths"][path][method.lower()]["responses"]
    handlers = path.startswith(
        ("/me/", "/users", "/notifications/")
    )  # what an application's handlers refuse is not known beforehand
    response = responses["default"] if handlers and answer.status in (404, 409) else responses[str(answer.status)]
    if "content" not in response:
        assert answer.body == b""
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in response["content"] or "*/*" in response["content"]
    if kind != "application/json":
        return
    schema = response["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json, {**schema, "components": document["components"]}, jsonschema.Draft202012Validator)


def test_the_document_is_valid(document: Mapping[str, Any]) -> None:
    openapi_spec_validator.validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_operation_answers_as_described(
    document: Mapping[str, Any], site: Website, uid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given for each operation requests, by the status they are answered with
    id = f"openapi {uid}"
    site.ask("PUT", f"/items/{id}".replace(" ", "%20"), {**NOTE, "ts": 5, "userid": uid})
    site.ask("PUT", f"/items/{uid}", NOTE)
    info, item, other = f"/info/{uid}", f"/items/openapi%20{uid}", f"/items/{uid}"
    bad = b'{"ts": -1}'
    account = {"email": f"openapi{uid}@notes.example", "password": "long enough for it"}
    owner = {"email": f"owner{uid}@notes.example", "password": "long enough for it"}
    site.ask("POST", "/auth/register", owner)
    mine, others = (
        {"Authorization": f"Bearer {site.ask('POST', '/auth/login', owner).json['token']}"} for _ in range(2)
    )
    requests: dict[tuple[str, str], list[tuple[int, str, Any, dict[str, str]]]] = {
        ("GET", "/info/{uid}"): [(200, info, None, {}), (400, "/info/x", None, {})],
        ("GET", "/info/{uid}/{lim}"): [(200, f"{info}/5", None, {}), (400, f"{info}/0", None, {})],
        ("GET", "/info/{uid}/{lim}/{off}"): [(200, f"{info}/5/0", None, {}), (400, f"{info}/5/x", None, {})],
        ("POST", "/info/{uid}"): [
            (201, info, NOTE, {}), (201, info, [NOTE, NOTE], {}), (202, info, NOTE, {"Prefer": "respond-async"}),
            (400, info, bad, {}), (415, info, NOTE, {"Content-Type": "text/plain"}), (422, info, {"$a": 1}, {}),
            (409, info, {"id": "openapi gone", "ts": 1}, {}), (413, info, b"x" * (server.BODY_MAX + 1), {}),
        ],
        ("GET", "/items"): [(200, f"/items?userid={uid}&keyword=k&q=t&since=1&lim=5&off=0", None, {}),
        (400, "/items?q=", None, {})],
        ("GET", "/items/{id}"): [(200, item, None, {}), (404, "/items/none", None, {}), (400, f"{item}?x", None, {})],
        ("PUT", "/items/{id}"): [
            (200, other, NOTE, {}), (409, item, {"ts": 1}, {}), (400, item, bad, {}), (422, item, {"a.b": 1}, {}),
        ],
        ("PATCH", "/items/{id}"): [
            (200, other, {"title": None}, {}), (404, "/items/none", NOTE, {}), (409, item, {"ts": 1}, {}),
            (400, item, {}, {}),
        ],
        ("DELETE", "/items/{id}"): [
            (204, other, None, {}), (404, "/items/never", None, {}), (409, f"{item}?ts=1", None, {}),
            (400, "/items/%FF", None, {}), (400, f"{item}?ts={2**53 - 1}", None, {}),
        ],
        ("GET", "/me/notes"): [
            (200, "/me/notes?lim=1&off=0&q=t&keyword=k", None, mine), (401, "/me/notes", None, {}),
            (400, "/me/notes?lim=0", None, mine),
        ],
        ("POST", "/me/notes"): [
            (201, "/me/notes", NOTE, mine), (400, "/me/notes", {"title": 5}, mine), (401, "/me/notes", NOTE, {}),
            (400, "/me/notes", {"keywords": [""]}, mine),
        ],
        ("GET", "/me/notes/{id}"): [(404, "/me/notes/none", None, mine), (401, "/me/notes/none", None, {})],
        ("PUT", "/me/notes/{id}"): [(404, "/me/notes/none?unchanged=5", NOTE, mine), (401, "/me/notes/none", NOTE, {})],
        ("DELETE", "/me/notes/{id}"): [(404, "/me/notes/none", None, mine), (401, "/me/notes/none", None, {})],
        ("GET", "/me/notifications"): [
            (200, "/me/notifications?lim=1&before=5", None, mine), (400, "/me/notifications?lim=0", None, mine),
            (401, "/me/notifications", None, {}),
        ],
        ("POST", "/me/notifications/read"): [
            (200, "/me/notifications/read?until=0", None, mine), (401, "/me/notifications/read", None, {}),
        ],
        ("POST", "/me/notifications/{number}/read"): [
            (404, "/me/notifications/5/read", None, mine), (401, "/me/notifications/5/read", None, {}),
        ],
        ("GET", "/me/notifications/preferences"): [
            (200, "/me/notifications/preferences", None, mine), (401, "/me/notifications/preferences", None, {}),
        ],
        ("PUT", "/me/notifications/preferences/{kind}/{channel}"): [
            (404, "/me/notifications/preferences/none/inbox", {"on": True}, mine),
            (400, "/me/notifications/preferences/none/inbox", {"on": 5}, mine),
            (401, "/me/notifications/preferences/none/inbox", {"on": True}, {}),
        ],
        ("GET", "/me/notifications/browsers"): [
            (200, "/me/notifications/browsers", None, mine), (401, "/me/notifications/browsers", None, {}),
        ],
        ("POST", "/me/notifications/browsers"): [
            (404, "/me/notifications/browsers", {"endpoint": "https://push.example/1"}, mine),
            (400, "/me/notifications/browsers", {"endpoint": 5}, mine),
            (401, "/me/notifications/browsers", {"endpoint": "https://push.example/1"}, {}),
        ],
        ("DELETE", "/me/notifications/browsers/{id}"): [
            (404, "/me/notifications/browsers/none", None, mine), (401, "/me/notifications/browsers/none", None, {}),
        ],
        # Where no such channel is configured there is none of these.
        ("GET", "/me/notifications/endpoints"): [
            (404, "/me/notifications/endpoints", None, mine), (401, "/me/notifications/endpoints", None, {}),
        ],
        ("POST", "/me/notifications/endpoints"): [
            (404, "/me/notifications/endpoints", {"url": "https://example.org/"}, mine),
            (400, "/me/notifications/endpoints", {"url": 5}, mine),
            (401, "/me/notifications/endpoints", {"url": "https://example.org/"}, {}),
        ],
        ("GET", "/me/notifications/endpoints/{id}"): [
            (404, "/me/notifications/endpoints/none", None, mine), (401, "/me/notifications/endpoints/none", None, {}),
        ],
        ("PATCH", "/me/notifications/endpoints/{id}"): [
            (404, "/me/notifications/endpoints/none", {"state": "off"}, mine),
            (400, "/me/notifications/endpoints/none", {"states": "off"}, mine),
            (401, "/me/notifications/endpoints/none", {"state": "off"}, {}),
        ],
        ("DELETE", "/me/notifications/endpoints/{id}"): [
            (404, "/me/notifications/endpoints/none", None, mine), (401, "/me/notifications/endpoints/none", None, {}),
        ],
        ("POST", "/me/notifications/endpoints/{id}/secret"): [
            (404, "/me/notifications/endpoints/none/secret", None, mine),
            (401, "/me/notifications/endpoints/none/secret", None, {}),
        ],
        ("POST", "/me/notifications/endpoints/{id}/test"): [
            (404, "/me/notifications/endpoints/none/test", None, mine),
            (401, "/me/notifications/endpoints/none/test", None, {}),
        ],
        ("POST", "/me/notifications/endpoints/{id}/replay"): [
            (404, "/me/notifications/endpoints/none/replay?since=5", None, mine),
            (400, "/me/notifications/endpoints/none/replay?since=x", None, mine),
            (401, "/me/notifications/endpoints/none/replay", None, {}),
        ],
        ("GET", "/me/notifications/live"): [
            (200, "/me/notifications/live?since=0", None, mine), (401, "/me/notifications/live", None, {}),
            (400, "/me/notifications/live", None, mine | {"Last-Event-ID": "x"}),
        ],
        ("GET", "/notifications"): [(200, "/notifications?before=5", None, mine), (401, "/notifications", None, {})],
        ("POST", "/notifications/read"): [
            (303, "/notifications/read", b"until=0", FORM | mine), (401, "/notifications/read", b"until=0", FORM),
            (400, "/notifications/read", b"until=x", FORM | mine),
        ],
        ("POST", "/notifications/{number}/read"): [
            (404, "/notifications/5/read", b"", FORM | mine), (401, "/notifications/5/read", b"", FORM),
        ],
        ("GET", "/notifications/preferences"): [
            (200, "/notifications/preferences", None, mine), (401, "/notifications/preferences", None, {}),
        ],
        ("POST", "/notifications/preferences"): [
            (404, "/notifications/preferences", b"kind=none&channel=inbox&on=yes", FORM | mine),
            (401, "/notifications/preferences", b"", FORM),
        ],
        ("POST", "/notifications/browsers/{id}"): [(404, "/notifications/browsers/none", b"", FORM | mine)],
        ("PUT", "/me/notifications/times"): [
            (200, "/me/notifications/times", {"zone": "UTC"}, mine), (401, "/me/notifications/times", {}, {}),
            (400, "/me/notifications/times", {"zone": "Mars"}, mine),
        ],
        ("POST", "/notifications/times"): [
            (303, "/notifications/times", b"zone=UTC&digest=daily&at=", FORM | mine),
            (400, "/notifications/times", b"zone=Mars", FORM | mine), (401, "/notifications/times", b"", FORM),
        ],
        ("GET", "/notifications/endpoints"): [
            (404, "/notifications/endpoints", None, mine), (401, "/notifications/endpoints", None, {}),
        ],
        ("POST", "/notifications/endpoints"): [
            (404, "/notifications/endpoints", b"url=https://example.org/&kinds=", FORM | mine),
            (401, "/notifications/endpoints", b"url=https://example.org/", FORM),
        ],
        ("GET", "/notifications/endpoints/{id}"): [
            (404, "/notifications/endpoints/none", None, mine), (401, "/notifications/endpoints/none", None, {}),
        ],
        ("POST", "/notifications/endpoints/{id}"): [
            (404, "/notifications/endpoints/none", b"url=https://example.org/", FORM | mine),
            (401, "/notifications/endpoints/none", b"url=https://example.org/", FORM),
        ],
        ("POST", "/notifications/endpoints/{id}/state"): [
            (404, "/notifications/endpoints/none/state", b"state=on", FORM | mine),
            (401, "/notifications/endpoints/none/state", b"state=on", FORM),
        ],
        ("POST", "/notifications/endpoints/{id}/secret"): [
            (404, "/notifications/endpoints/none/secret", b"", FORM | mine),
            (401, "/notifications/endpoints/none/secret", b"", FORM),
        ],
        ("POST", "/notifications/endpoints/{id}/test"): [
            (404, "/notifications/endpoints/none/test", b"", FORM | mine),
            (401, "/notifications/endpoints/none/test", b"", FORM),
        ],
        ("POST", "/notifications/endpoints/{id}/replay"): [
            (404, "/notifications/endpoints/none/replay", b"days=7", FORM | mine),
            (400, "/notifications/endpoints/none/replay", b"days=x", FORM | mine),
            (401, "/notifications/endpoints/none/replay", b"days=7", FORM),
        ],
        ("POST", "/notifications/endpoints/{id}/delete"): [
            (404, "/notifications/endpoints/none/delete", b"", FORM | mine),
            (401, "/notifications/endpoints/none/delete", b"", FORM),
        ],
        ("GET", "/notifications/unsubscribe"): [(200, "/notifications/unsubscribe?who=5", None, {})],
        ("POST", "/notifications/unsubscribe"): [(404, "/notifications/unsubscribe?who=5&token=x", None, {})],
        ("POST", "/notifications/leave"): [
            (404, "/notifications/leave", b"who=5&kind=k&channel=c&token=x", FORM),
            (400, "/notifications/leave", b"who=", FORM),
        ],
        ("GET", "/users/{uid}"): [(404, f"/users/{uid}", None, {}), (400, "/users/x", None, {})],
        ("GET", "/"): [
            (200, "/?q=t&keyword=&off=0", None, {}), (400, "/?off=x", None, {}), (400, "/?q=%3F", None, {}),
        ],
        ("GET", "/by/{uid}"): [(200, f"/by/{uid}?q=", None, {}), (400, "/by/x", None, {})],
        ("GET", "/my"): [(200, "/my", None, mine), (401, "/my", None, {})],
        ("POST", "/my"): [
            (303, "/my", b"title=t", FORM | mine), (400, "/my", b"title=t&url=x", FORM | mine),
            (401, "/my", b"title=t", FORM), (415, "/my", NOTE, mine), (400, "/my", b"title=t&title=u", FORM | mine),
        ],
        ("GET", "/my/{id}"): [(404, "/my/none", None, mine), (401, "/my/none", None, {})],
        ("POST", "/my/{id}"): [(404, "/my/none", b"title=t", FORM | mine), (401, "/my/none", b"", FORM)],
        ("GET", "/note/{id}"): [(200, f"/note/openapi%20{uid}", None, {}), (404, "/note/none", None, mine)],
        ("GET", "/my/{id}/delete"): [(404, "/my/none/delete", None, mine), (401, "/my/none/delete", None, {})],
        ("POST", "/my/{id}/delete"): [(404, "/my/none/delete", b"", FORM | mine), (401, "/my/none/delete", b"", FORM)],
        ("GET", "/login"): [(200, "/login", None, {})],
        ("POST", "/login"): [
            (401, "/login", b"email=a%40b.example&password=wrong+enough", FORM), (400, "/login", b"email=x", FORM),
            (403, "/login", b"", FORM | {"Sec-Fetch-Site": "cross-site"}),
        ],
        ("GET", "/register"): [(200, "/register", None, {})],
        ("POST", "/register"): [(400, "/register", b"email=x", FORM)],
        ("POST", "/logout"): [(401, "/logout", b"", FORM)],
        ("GET", "/account"): [(200, "/account", None, mine), (401, "/account", None, {})],
        ("POST", "/account/password"): [
            (403, "/account/password", b"old=not+it&new=long+enough+too", FORM | mine),
            (401, "/account/password", b"", FORM),
        ],
        ("POST", "/account/name"): [
            (303, "/account/name", b"name=n", FORM | mine), (401, "/account/name", b"name=n", FORM),
            (400, "/account/name", b"name=%E2%80%AE", FORM | mine),
        ],
        ("POST", "/account/delete"): [
            (403, "/account/delete", b"password=not+it", FORM | mine), (401, "/account/delete", b"", FORM),
        ],
        ("POST", "/account/confirm"): [
            (404, "/account/confirm", b"", FORM | mine), (401, "/account/confirm", b"", FORM),
        ],
        ("GET", "/confirm"): [(404, "/confirm?token=x", None, {})],
        ("POST", "/confirm"): [(404, "/confirm", b"token=x", FORM | mine), (401, "/confirm", b"token=x", FORM)],
        ("POST", "/account/address"): [
            (404, "/account/address", b"email=a%40b.example", FORM | mine),
            (401, "/account/address", b"email=a%40b.example", FORM),
        ],
        ("GET", "/address"): [(404, "/address?token=x&email=a%40b.example", None, {})],
        ("POST", "/address"): [
            (404, "/address", b"token=x&email=a%40b.example", FORM | mine),
            (401, "/address", b"token=x&email=a%40b.example", FORM),
        ],
        ("GET", "/reset"): [(404, "/reset?token=", None, {})],
        ("POST", "/reset"): [
            (404, "/reset", b"email=a%40b.example", FORM),
            (403, "/reset", b"", FORM | {"Sec-Fetch-Site": "cross-site"}),
        ],
        ("POST", "/reset/password"): [(404, "/reset/password", b"token=x&new=long+enough+for+it", FORM)],
        ("POST", "/account/sessions/{id}"): [(404, "/account/sessions/none", b"", FORM | mine)],
        ("GET", "/live"): [(200, "/live?uid=1&since=1", None, {}), (400, "/live?uid=x", None, {})],
        ("GET", "/static/{name}"): [(200, "/static/site.css?v=x", None, {}), (404, "/static/none", None, {})],
        ("POST", "/auth/register"): [
            (201, "/auth/register", {**account, "name": "n"}, {}), (409, "/auth/register", account, {}),
            (400, "/auth/register", {"email": {"$ne": None}, "password": "long enough for it"}, {}),
            (403, "/auth/register", account, {"Origin": "https://other.example"}),
        ],
        ("POST", "/auth/login"): [
            (200, "/auth/login", account, {}), (200, "/auth/login", {**account, "cookie": True}, {}),
            (401, "/auth/login", {**account, "password": "not it"}, {}), (400, "/auth/login", {}, {}),
            (403, "/auth/login", account, {"Sec-Fetch-Site": "cross-site"}),
        ],
        ("POST", "/auth/confirm"): [(404, "/auth/confirm", None, mine), (401, "/auth/confirm", None, {})],
        ("PUT", "/auth/confirm"): [
            (404, "/auth/confirm", {"token": "x"}, mine), (401, "/auth/confirm", {"token": "x"}, {}),
            (400, "/auth/confirm", {}, mine),
        ],
        ("POST", "/auth/address"): [
            (404, "/auth/address", {"email": "a@b.example"}, mine), (400, "/auth/address", {}, mine),
            (401, "/auth/address", {"email": "a@b.example"}, {}),
        ],
        ("PUT", "/auth/address"): [
            (404, "/auth/address", {"token": "x", "email": "a@b.example"}, mine), (400, "/auth/address", {}, mine),
            (401, "/auth/address", {"token": "x", "email": "a@b.example"}, {}),
        ],
        ("POST", "/auth/reset"): [
            (404, "/auth/reset", {"email": "a@b.example"}, {}), (400, "/auth/reset", {}, {}),
            (403, "/auth/reset", {"email": "a@b.example"}, {"Sec-Fetch-Site": "cross-site"}),
        ],
        ("PUT", "/auth/reset"): [
            (404, "/auth/reset", {"token": "x", "new": "long enough for it"}, {}),
            (400, "/auth/reset", {"token": "x", "new": "short"}, {}),
            (403, "/auth/reset", {"token": "x", "new": "short"}, {"Sec-Fetch-Site": "cross-site"}),
        ],
        ("GET", "/auth/me"): [(200, "/auth/me", None, mine), (401, "/auth/me", None, {})],
        ("PATCH", "/auth/me"): [
            (200, "/auth/me", {"name": "other"}, mine), (400, "/auth/me", {}, mine),
            (401, "/auth/me", {"name": "x"}, {}),
        ],
        ("POST", "/auth/delete"): [
            (403, "/auth/delete", {"password": "not it"}, mine), (400, "/auth/delete", {"x": 1}, mine),
            (401, "/auth/delete", {}, {}),
        ],
        ("GET", "/auth/export"): [(401, "/auth/export", None, {})],  # test_account_ends.py reads one
        ("GET", "/auth/sessions"): [(200, "/auth/sessions", None, mine), (401, "/auth/sessions", None, {})],
        ("DELETE", "/auth/sessions/{id}"): [
            (404, "/auth/sessions/none", None, mine), (401, "/auth/sessions/none", None, {}),
            (400, f"/auth/sessions/{'x' * 65}", None, mine),
        ],
        ("POST", "/auth/password"): [
            (403, "/auth/password", {"old": "not it", "new": "another long one"}, mine),
            (400, "/auth/password", {"old": "not it", "new": "short"}, mine), (401, "/auth/password", {}, {}),
        ],
        ("POST", "/auth/logout"): [(401, "/auth/logout", None, {}), (204, "/auth/logout", None, others)],
        ("GET", "/auth/oauth2"): [(200, "/auth/oauth2", None, {})],
        ("GET", "/auth/oauth2/{site}"): [
            (404, "/auth/oauth2/none", None, {}), (400, "/auth/oauth2/none?link=2", None, {}),
            (401, "/auth/oauth2/none?link=1", None, {}),
        ],
        ("GET", "/auth/oauth2/{site}/callback"): [
            (403, "/auth/oauth2/none/callback?code=x&state=y&unknown=z", None, {}),
            (400, "/auth/oauth2/none/callback?code=", None, {}),
        ],
        ("GET", "/auth/links"): [(200, "/auth/links", None, mine), (401, "/auth/links", None, {})],
        ("DELETE", "/auth/links/{site}"): [
            (404, "/auth/links/none", None, mine), (401, "/auth/links/none", None, {}),
        ],
        ("DELETE", "/auth/sessions"): [(204, "/auth/sessions", None, mine), (401, "/auth/sessions", None, mine)],
        ("POST", "/hooks/{name}"): [(404, "/hooks/none", b"x", {}), (400, "/hooks/%FF", b"x", {})],
        ("GET", "/healthz"): [(200, "/healthz", None, {}), (400, "/healthz?x", None, {})],
        ("GET", "/readyz"): [(200, "/readyz", None, {})],
        ("GET", "/openapi.json"): [(200, "/openapi.json", None, {})],
    }  # fmt: skip
    site.ask("PUT", "/items/openapi%20gone", NOTE)
    site.ask("DELETE", "/items/openapi%20gone")
    # then there are no other operations
    assert {(method, path) for path, method, _ in operations(document)} == requests.keys()
    # and each answers so, and as described
    for (method, path), cases in requests.items():
        for status, target, body, headers in cases:
            answer = site.ask(method, target, body, **headers)
            assert answer.status == status, (method, target, answer.body)
            check(document, path, method, answer)
    # and when there is no room
    monkeypatch.setattr(server, "WAITING_MAX", 0)
    for (method, path), cases in requests.items():
        answer = site.ask(method, cases[0][1], cases[0][2])
        assert answer.status == 503
        check(document, path, method, answer)


@pytest.mark.parametrize(("query", "field"), [("q=-", "q"), ("off=-1", "off"), ("lim=0", "lim"), ("=1", "query")])
def test_what_is_wrong_with_a_question_for_ones_own_notes_is_named(
    site: Website, uid: int, query: str, field: str
) -> None:
    account = {"email": f"asks{uid}{field}@notes.example", "password": "long enough for it"}
    site.ask("POST", "/auth/register", account)
    token = site.ask("POST", "/auth/login", account).json["token"]
    answer = site.ask("GET", f"/me/notes?{query}", Authorization=f"Bearer {token}")
    assert (answer.status, answer.error["field"]) == (400, field)


def test_every_parameter_is_what_its_schema_says(document: Mapping[str, Any], site: Website) -> None:
    tried = 0
    for path, method, operation in operations(document):
        body = BODIES.get(path, NOTE) if "requestBody" in operation else None
        for parameter in operation["parameters"]:
            # given each parameter in turn, the others being good
            for value, allowed in values(parameter):
                target, headers = path, {}
                if parameter["in"] == "path":
                    target = target.replace(f"{{{parameter['name']}}}", value)
                elif parameter["in"] == "query":
                    target += f"?{parameter['name']}={value}"
                else:
                    headers[parameter["name"]] = value
                answer = site.ask(method, re.sub(r"\{\w+\}", "1", target), body, **headers)
                # then what the schema allows is taken, and nothing else
                assert (answer.status != 400) is allowed, (method, target, answer.body)
                if not allowed:
                    assert answer.error["field"] == parameter["name"]
                tried += 1
    assert tried > 50


def values(parameter: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Values of a parameter, and whether its schema allows them."""
    schema = parameter["schema"]
    if schema["type"] == "integer":
        low, high = schema["minimum"], schema["maximum"]
        late = parameter["name"] == "ts"  # the clock allows less than the schema
        yield from (
            (str(low), True),
            (str(high), not late),
            (str(low - 1), False),
            (str(high + 1), False),
            ("x", False),
        )
    else:
        low, high = schema["minLength"], schema["maxLength"]
        if cursor := schema.get("format") == "cursor":
            yield cursor_of(1, "x"), True
        yield from (("x" * low, not cursor), ("x" * high, not cursor))
        yield "x" * (high + 1), False
    if parameter["in"] == "query":
        yield "", schema.get("minLength") == 0


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (NOTE, True), ({}, True), ([NOTE], True), ([], False), ("text", False), (None, False), ({"_id": 1}, False),
        ({"title": "x" * 1000}, True), ({"title": "x" * 1001}, False), ({"title": None}, False),
        ({"other": None}, True),
        ({"keywords": ["x" * 200] * 100}, True), ({"keywords": ["x"] * 101}, False), ({"keywords": [""]}, False),
        ({"ts": 1}, True), ({"ts": 2**53}, False), ({"ts": -1}, False), ({"ts": "1"}, False),
        ({"id": ""}, False), ({"id": "a\0"}, False), ({"url": "x" * 8001}, False), ({"location": 5}, False),
    ],
)  # fmt: skip
def test_bodies_are_taken_as_their_schemas_say(
    document: Mapping[str, Any], site: Website, uid: int, body: Any, good: bool
) -> None:
    components = {"components": document["components"]}

    def fits(schema: str) -> bool:
        validator = jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}", **components})
        return bool(validator.is_valid(body))

    assert fits("Items") is good
    assert (site.ask("POST", f"/info/{uid}", body).status == 201) is good
    # and for an item, and changes of it, all the same
    path = f"/items/openapi{uid}"
    site.ask("PUT", path, {**NOTE, "ts": 1})
    for method, schema in (("PUT", "Item"), ("PATCH", "Changes")):
        assert (site.ask(method, path, body).status == 200) is fits(schema), (method, body)
