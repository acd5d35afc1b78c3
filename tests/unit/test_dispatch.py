"""From a message to its handler and back: what each end of a handler is told as."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from gorgond import App, BadRequest, Context, NotFound, Refused, Response
from gorgond.app import dispatch as dispatch_module
from gorgond.app.dispatch import Dispatcher
from gorgond.redpill import (
    DONE,
    BrokerAway,
    CallFailed,
    DeadlineExceeded,
    Done,
    Message,
    Outcome,
    QueueFull,
    Reply,
    Retry,
    now_ms,
)
from gorgond.redpill.codec import dumps
from tests.backends import Nobody

ANNA = {"id": "7", "name": "Anna", "email": "a@b.c", "roles": ["admin"], "session": "s"}


class Backend(Nobody):
    """Remembers what it is asked, and answers with what it is given."""

    def __init__(self, answer: Any = None) -> None:
        self.asked: list[tuple[str, Message]] = []
        self._answer = answer

    async def call(self, queue: str, message: Message) -> Reply:
        self.asked.append((queue, message))
        if isinstance(self._answer, Exception):
            raise self._answer
        return Reply(message.id, dumps(self._answer))

    async def publish(self, topic: str, event: Message) -> None:
        self.asked.append((topic, event))


async def outcome(handler: Any, backend: Backend | None = None, path: str = "/x", **message: Any) -> Outcome:
    """Of a request to an application that has this one handler, on GET /x."""
    app = App("a")
    options = {"user": "required", "own": "uid"} if "{uid" in path else {}
    app.get(path, **options)(handler)  # type: ignore[arg-type]
    return await Dispatcher([app], backend or Backend()).answer(Message(f"a.{handler.__name__}", **message))


def raising(error: BaseException) -> Any:
    async def handler(_: Context) -> None:
        raise error

    return handler


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "done"),
    [
        (None, Done(b"", status=204)), ([1, {"a": None}], Done(b'[1,{"a":null}]')), ("ü", Done('"ü"'.encode())),
        (Point(3), Done(b'{"x":3}')), (datetime(2026, 1, 2, tzinfo=UTC), Done(b'"2026-01-02T00:00:00+00:00"')),
        (Response({"id": 1}, 201, {"Location": "/x"}), Done(b'{"id":1}', None, 201, {"Location": "/x"})),
        (Response("<p>", content_type="text/html"), Done(b"<p>", None, 200, {"Content-Type": "text/html"})),
        (Response(b"\x00", content_type="image/png"), Done(b"\x00", None, 200, {"Content-Type": "image/png"})),
        (Response(status=204), Done(b"", None, 204)),
    ],
)  # fmt: skip
async def test_what_a_handler_gives_back(value: Any, done: Done) -> None:
    async def handler(_: Context) -> Any:
        return value

    assert await outcome(handler) == done


@pytest.mark.parametrize(
    ("error", "code", "says", "field"),
    [
        (Refused(402, "pay first"), 402, "pay first", ""), (NotFound("no note"), 404, "no note", ""),
        (BadRequest("lim", "must be small"), 400, "lim: must be small", "lim"),
        (CallFailed(422, "too large"), 422, "too large", ""), (DeadlineExceeded("late"), 504, "late", ""),
        (QueueFull("store_put"), 503, "store_put", ""), (BrokerAway("gone"), 503, "is away", ""),
    ],
)  # fmt: skip
async def test_what_a_handler_refuses_is_told_as_it_is(error: Exception, code: int, says: str, field: str) -> None:
    done = await outcome(raising(error))
    assert isinstance(done, Done)
    assert done.error is not None
    assert (done.error.code, done.error.field) == (code, field)
    assert says in done.error.message


@pytest.mark.parametrize("error", [KeyError("secret"), TimeoutError("secret"), ValueError("secret"), RuntimeError()])
async def test_a_fault_is_500_with_the_requests_id_and_no_more(
    error: Exception, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("a.handler failed")
    done = await outcome(raising(error), id="request-1")
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.code == 500
    assert "request-1" in done.error.message
    assert "secret" not in done.error.message


@pytest.mark.parametrize("value", [{1, 2}, object(), Response(status=99), Response({}, content_type="text/html")])
async def test_what_cannot_be_written_is_a_fault(value: Any, expected_logs: Callable[[str], None]) -> None:
    expected_logs("a.handler failed")

    async def handler(_: Context) -> Any:
        return value

    done = await outcome(handler)
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.code == 500


async def test_a_handler_that_is_still_at_it_at_its_deadline_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def handler(_: Context) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    done = await outcome(handler, deadline=now_ms() + 30)
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.code == 504
    assert cancelled.is_set()


async def test_an_argument_that_nobody_here_knows_is_503() -> None:
    """A web server that has a newer version of the application sends it."""

    async def handler(_: Context, lim: int = 5) -> int:
        return lim

    assert await outcome(handler, args={"lim": 7}) == Done(b"7")
    done = await outcome(handler, args={"lim": 7, "since": 1})
    assert isinstance(done, Done)
    assert done.error is not None
    assert (done.error.code, "is it being changed?" in done.error.message) == (503, True)


async def test_an_operation_that_nobody_here_knows_is_503() -> None:
    done = await Dispatcher([], Backend()).answer(Message("new.handler"))
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.code == 503


@pytest.mark.parametrize(
    ("user", "code"), [(ANNA, None), ({"id": "8"}, 403), (None, 401), ({"id": "07"}, 403)]
)  # fmt: skip
async def test_ones_own_is_for_oneself(user: dict[str, Any] | None, code: int | None) -> None:
    async def handler(_: Context, uid: int) -> int:
        return uid

    done = await outcome(handler, path="/x/{uid:int}", args={"uid": 7}, user=user)
    assert isinstance(done, Done)
    assert (done.error.code if done.error else None) == code


@pytest.mark.parametrize(
    ("declared", "user", "code"),
    [
        ({}, None, None), ({}, ANNA, None), ({"user": "optional"}, None, None), ({"user": "optional"}, ANNA, None),
        ({"user": "required"}, None, 401), ({"user": "required"}, {}, 401), ({"user": "required"}, ANNA, None),
        ({"user": "required"}, {"token": "x", "need": "none"}, 401),
        ({"user": "required", "rights": "admin"}, None, 401), ({"user": "required", "rights": "admin"}, ANNA, None),
        ({"user": "required", "rights": "admin"}, {"id": "8"}, 403),
        ({"user": "required", "rights": "admin"}, {"id": "8", "roles": ["admins"]}, 403),
    ],
)  # fmt: skip
async def test_what_came_past_the_auth_server_is_not_let_in(
    declared: dict[str, Any], user: dict[str, Any] | None, code: int | None
) -> None:
    """As a web server sends it that still knows the endpoint as one for everybody."""
    ran = []

    async def handler(_: Context) -> None:
        ran.append(1)

    app = App("a")
    app.get("/x", **declared)(handler)
    done = await Dispatcher([app], Backend()).answer(Message("a.handler", user=user))
    assert isinstance(done, Done)
    assert (done.error.code if done.error else None) == code
    assert bool(ran) == (code is None)
    assert (dict(done.error.headers) if code == 401 and done.error else {}) == (
        {"WWW-Authenticate": "Bearer"} if code == 401 else {}
    )


async def test_what_a_handler_asks_for_has_its_deadline_and_user_and_ids_that_a_repeat_has_too() -> None:
    # given a handler that reads, writes twice, and publishes
    async def handler(ctx: Context) -> None:
        assert ctx.user is not None
        assert (ctx.user.id, ctx.user.roles) == ("7", ("admin",))
        await ctx.store.find("items", {"a": 1}, sort="-ts,title", limit=3, skip=2, fields=["a"], search="x")
        await ctx.store.insert("items", {"a": 1})
        await ctx.store.patch("items", "i", {"a": None})
        await ctx.publish("t", "e", {"n": 1})

    backend = Backend({"results": [{"id": "i", "effect": "stored"}]})
    request: dict[str, Any] = {"id": "r", "user": ANNA, "deadline": now_ms() + 5000, "sent": 123, "trace": "t"}
    assert await outcome(handler, backend, **request) == Done(b"", status=204)
    # then each message has what is needed, and the writes have ids made of the request's
    (get, read), (put, insert), (_, patch), (topic, event) = backend.asked
    assert (get, put, topic) == ("store_search", "store_put", "t")
    assert read.args == {
        "filter": {"a": 1}, "sort": [["ts", -1], ["title", 1]], "limit": 3, "skip": 2, "fields": ["a"], "search": "x",
    }  # fmt: skip
    assert (insert.op, insert.args) == ("items.insert", {"documents": [{"a": 1}]})
    assert (patch.op, patch.args) == ("items.patch", {"id": "i", "changes": {"a": None}})
    assert [each.id for each in (insert, patch, event)] == ["r.1", "r.2", "r.3"]
    for _, message in backend.asked:
        assert (message.user, message.deadline, message.trace) == ({"id": "7"}, request["deadline"], "t")
    assert insert.sent == 123


@pytest.mark.parametrize(("effect", "code"), [("missing", 404), ("stale", 409)])
async def test_what_the_store_did_not_do(effect: str, code: int) -> None:
    async def handler(ctx: Context) -> None:
        await ctx.store.delete("items", "i")

    done = await outcome(handler, Backend({"results": [{"id": "i", "effect": effect}]}))
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.code == code


@pytest.mark.parametrize(("effect", "code"), [("conflict", 409), ("stale", 409), ("exists", 0), ("deleted", 0)])
async def test_an_insert_is_stored_once_or_a_conflict(effect: str, code: int) -> None:
    async def handler(ctx: Context) -> str:
        return await ctx.store.insert("items", {"id": "i"})

    done = await outcome(handler, Backend({"results": [{"id": "i", "effect": effect}]}))
    assert isinstance(done, Done)
    assert (done.error.code if done.error else 0) == code


async def test_get_finds_one_or_is_404() -> None:
    async def handler(ctx: Context) -> Any:
        return await ctx.store.get("items", "i")

    assert await outcome(handler, Backend([{"id": "i"}])) == Done(b'{"id":"i"}')
    done = await outcome(handler, Backend([]))
    assert isinstance(done, Done)
    assert done.error is not None
    assert done.error.code == 404


async def test_an_event_whose_handler_fails_comes_again(
    expected_logs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("the handler of t/a failed")
    monkeypatch.setattr(dispatch_module, "UNASKED_SECONDS", 0.05)
    app = App("a")

    @app.on("t")
    async def heard(ctx: Context, event: Message) -> None:
        assert ctx.deadline > now_ms()
        if event.op == "hang":
            await asyncio.sleep(60)
        if event.op == "fail":
            raise KeyError("x")

    dispatcher = Dispatcher([app], Backend())
    assert await dispatcher.hear("t/a", Message("well")) == DONE
    assert await dispatcher.hear("t/a", Message("fail")) == Retry("KeyError: 'x'")
    assert await dispatcher.hear("t/a", Message("hang")) == Retry("TimeoutError: ")
    assert isinstance(await dispatcher.hear("other/a", Message("well")), Retry)
