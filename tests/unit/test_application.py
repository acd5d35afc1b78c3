"""App: what handlers may be declared, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond import App, Context, Message
from gorgond.errors import BadRequest, ConfigError


def test_a_handler_becomes_an_endpoint() -> None:
    app = App("notes")

    @app.post("/notes/{uid:int}/{kind}", user="required", own="uid")
    async def add(ctx: Context, uid: int, kind: str, note: dict[str, Any], loud: bool = False) -> None:
        """Add a note."""

    # then its declaration says where each argument comes from
    endpoint = app.endpoints["notes.add"]
    assert (endpoint.method, endpoint.path, endpoint.doc) == ("POST", "/notes/{uid}/{kind}", "Add a note.")
    assert [each.name for each in endpoint.parts] == ["uid", "kind"]
    assert [(each.name, each.required, each.default) for each in endpoint.query] == [("loud", False, False)]
    assert endpoint.body is not None
    assert endpoint.body.name == "note"
    # and the arguments in a message are checked once more, what is left out has the handler's default
    assert endpoint.values({"uid": 5, "kind": "a", "note": {}}) == {"uid": 5, "kind": "a", "note": {}}
    with pytest.raises(BadRequest, match=r"^uid: "):
        endpoint.values({"uid": "5", "kind": "a", "note": {}})


def test_a_type_may_stand_in_the_path_alone() -> None:
    app = App("a")

    @app.get("/x/{n:int}")
    async def get(_, n):  # type: ignore[no-untyped-def]
        return n

    assert app.endpoints["a.get"].values({"n": 3}) == {"n": 3}


async def fine(ctx: Context) -> None: ...
async def with_id(ctx: Context, id: str) -> None: ...
async def with_number(ctx: Context, id: int) -> None: ...
async def with_default(ctx: Context, id: str = "") -> None: ...
async def with_body(ctx: Context, body: dict[str, Any]) -> None: ...
async def with_two(ctx: Context, one: dict[str, Any], two: list[int]) -> None: ...
async def with_set(ctx: Context, ids: set[int]) -> None: ...
async def with_more(ctx: Context, **more: str) -> None: ...
async def without() -> None: ...
async def untyped(ctx, x): ...  # type: ignore[no-untyped-def]
def plain(ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("path", "handler", "options", "says"),
    [
        ("x", fine, {}, "a path is"), ("/x/{id", with_id, {}, "a path is"), ("/{id}", with_id, {}, "a path is"),
        ("/x/", fine, {}, "a path is"), ("/x/{id:set}", with_id, {}, "cannot be of type set"),
        ("/x/{id:int}", with_id, {}, "another type in the path"), ("/x/{id}", fine, {}, "no parameter id"),
        ("/x/{id}", with_default, {}, "has no default"), ("/x", with_set, {}, "cannot be read from JSON"),
        ("/x", with_more, {}, "plain parameters only"), ("/x", without, {}, "takes the context"),
        ("/x", plain, {}, "must be an async def"), ("/x", untyped, {}, "x needs an annotation"),
        ("/x", fine, {"user": "maybe"}, "allowed: none, optional, required"),
        ("/x", fine, {"rights": "admin"}, 'need user="required"'),
        ("/x/{id}", with_id, {"own": "id"}, 'need user="required"'),
        ("/x", fine, {"own": "id", "user": "required"}, "own must be a parameter in the path"),
        ("/x", with_body, {}, "body cannot come from the query, and GET has no body"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_when_it_is_declared(
    path: str, handler: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        App("a").get(path, **options)(handler)
    assert says in str(wrong.value)


def test_one_body_is_enough() -> None:
    with pytest.raises(ConfigError, match="one, two cannot come from the query, and one of them can be the body"):
        App("a").post("/x")(with_two)


def test_names_are_somebodys_alone() -> None:
    app = App("a")
    app.get("/x")(fine)
    with pytest.raises(ConfigError, match=r"two handlers a\.fine"):
        app.post("/x")(fine)
    app.every(1)(fine)
    with pytest.raises(ConfigError, match=r"two handlers a\.fine"):
        app.every(2)(fine)


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a" * 33, "ä"])
def test_an_application_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError, match="an application cannot be called"):
        App(name)


def test_events_and_schedules() -> None:
    app = App("a")

    @app.on("store_notify")
    async def changed(ctx: Context, event: Message) -> None: ...

    @app.every(60)
    async def sweep(ctx: Context) -> None: ...

    assert app.topics == {"store_notify": changed}
    assert [(each.name, each.seconds) for each in app.schedules.values()] == [("a.sweep", 60)]
    with pytest.raises(ConfigError, match="two handlers of topic"):
        app.on("store_notify")(changed)
    with pytest.raises(ConfigError, match="takes the context and the event"):
        app.on("other")(sweep)
    with pytest.raises(ConfigError, match="is no queue name"):
        app.on("no topic")(changed)
    with pytest.raises(ConfigError, match="too often"):
        app.every(0.5)(sweep)
