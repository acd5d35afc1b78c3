"""Routes of applications: what is checked before a message is sent, where it goes, what becomes of the reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from openapi_spec_validator import validate

from gorgond import App, Context
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem
from gorgond.http.applications import routes_of
from gorgond.http.openapi import describe
from gorgond.http.routes import Question, Request, Routes
from gorgond.redpill import Call, GorgonError, Message, Reply, Told
from gorgond.redpill.codec import dumps

app = App("shop")


@dataclass
class Thing:
    title: str
    price: float = 0.0


@app.get("/shop/{id}")
async def thing(ctx: Context, id: str, size: Literal["s", "l"] = "s", most: int | None = None) -> None:
    """One thing."""


@app.get("/found")
async def found(ctx: Context, q: str) -> None: ...


@app.post("/shop", user="required", rights="seller")
async def add(ctx: Context, thing: Thing) -> None: ...


@app.post("/wish", user="optional")
async def wish(ctx: Context, note: dict[str, Any] | None = None) -> None: ...


class Backend:
    """Takes what is asked, and gives one answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Message]] = []
        self.reply = Reply("", b"[]")

    def ask(self, queue: str, message: Message, told: Told) -> Call:
        self.asked.append((queue, message))
        told(self.reply)
        return Call(queue, message, told, {})


@pytest.fixture
def backend() -> Backend:
    return Backend()


async def ask(
    backend: Backend, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    route, parameters = Routes(routes_of([app], backend)).find(method, target)
    sent = {"Content-Type": "application/json", **(headers or {})}
    data = b"" if body is None else dumps(body)
    question = route.handler(Request("r", method, target, sent, data, 5000, parameters=parameters))
    assert isinstance(question, Question)
    replies: list[Reply | GorgonError] = []
    question.asker.ask(question.queue, question.message, replies.append)
    [reply] = replies
    assert isinstance(reply, Reply)
    return question.answer(reply)


async def test_what_needs_no_user_goes_to_the_app_servers(backend: Backend) -> None:
    answer = await ask(backend, "GET", "/shop/7?size=l")
    assert answer == Answer(200, b"[]")
    [(queue, message)] = backend.asked
    assert (queue, message.op, message.args) == ("web_get", "shop.thing", {"id": "7", "size": "l"})
    assert (message.id, message.deadline, message.next, message.user) == ("r", 5000, "", None)


async def test_what_needs_a_user_goes_by_way_of_the_auth_servers(backend: Backend) -> None:
    await ask(backend, "POST", "/shop", {"title": "a"}, {"Authorization": "Bearer secret"})
    [(queue, message)] = backend.asked
    assert (queue, message.next, message.args) == ("auth_get", "web_get", {"thing": {"title": "a"}})
    assert message.user is not None
    assert (message.user["need"], message.user["rights"]) == ("required", "seller")
    assert "secret" not in str(message.user)


async def test_without_a_token_the_auth_servers_are_not_troubled(backend: Backend) -> None:
    with pytest.raises(Problem) as problem:
        await ask(backend, "POST", "/shop", {"title": "a"})
    assert problem.value.status == 401
    assert backend.asked == []


async def test_a_body_that_may_be_left_out(backend: Backend) -> None:
    await ask(backend, "POST", "/wish")
    await ask(backend, "POST", "/wish", {"a": 1})
    assert [message.args for _, message in backend.asked] == [{}, {"note": {"a": 1}}]


@pytest.mark.parametrize(
    ("method", "target", "body", "field"),
    [
        ("GET", "/shop/%00", None, "id"), ("GET", "/shop/7?size=m", None, "size"),
        ("GET", "/shop/7?most=x", None, "most"), ("GET", f"/found?q={'x' * 8001}", None, "q"),
        ("GET", "/shop/7?colour=red", None, "colour"), ("GET", "/found", None, "q"),
        ("POST", "/shop", {}, "title"), ("POST", "/shop", {"title": 5}, "title"), ("POST", "/shop", [], "body"),
        ("POST", "/shop", {"title": "a", "price": "free"}, "price"), ("POST", "/wish", [], "body"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_before_a_message_is_sent(
    backend: Backend, method: str, target: str, body: Any, field: str
) -> None:
    with pytest.raises(BadRequest) as bad:
        await ask(backend, method, target, body, {"Authorization": "Bearer secret"})
    assert bad.value.field == field
    assert backend.asked == []


async def test_the_reply_becomes_the_answer_but_for_headers_that_would_break_it(backend: Backend) -> None:
    headers = {"Content-Type": "text/html", "Location": "/a", "X": "a\r\nSet-Cookie: b", "Content-Length": "9"}
    backend.reply = Reply("", b"<p>", status=201, headers=headers)
    assert await ask(backend, "GET", "/shop/7") == Answer(201, b"<p>", "text/html", {"Location": "/a"})
    backend.reply = Reply("", b"", headers={"Content-Type": "text/html\r\nX: y"})
    assert (await ask(backend, "GET", "/shop/7")).content_type == "application/json"


def test_the_description_is_openapi_and_knows_who_may_ask(backend: Backend) -> None:
    description = describe(Routes(routes_of([app], backend)))
    validate(description)
    paths = description["paths"]
    assert paths["/shop/{id}"]["get"]["summary"] == "One thing."
    by_name = {each["name"]: each for each in paths["/shop/{id}"]["get"]["parameters"]}
    assert by_name["id"]["required"]
    assert (by_name["size"]["schema"], by_name["size"]["required"]) == ({"enum": ["s", "l"]}, False)
    assert [each["required"] for each in paths["/found"]["get"]["parameters"]] == [True]
    body = paths["/shop"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["title"]
    assert "security" not in paths["/shop/{id}"]["get"]
    assert {} not in paths["/shop"]["post"]["security"]
    assert {} in paths["/wish"]["post"]["security"]
    assert {"401", "403"} <= set(paths["/shop"]["post"]["responses"])
