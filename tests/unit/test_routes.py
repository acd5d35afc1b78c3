"""Routes: which handler a request line is for, and what its parameters are."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem
from gorgond.http.routes import Parameter, Request, Route, Routes


async def handler(_: Request) -> Answer:
    return Answer(200)


UID = Parameter("uid", "", int, 1, 99)
LIM = Parameter("lim", "", int, 1, 10, 5)
ID = Parameter("id", "", str, high=5)
ROUTES = Routes(
    [
        Route("GET", "/info/{uid}", handler, "one", (UID,), (LIM, ID)),
        Route("POST", "/info/{uid}", handler, "add", (UID,)),
        Route("GET", "/info/{uid}/{lim}", handler, "two", (UID, LIM)),
        Route("GET", "/items/{id}", handler, "item", (ID,)),
        Route("GET", "/", handler, "root"),
        Route("GET", "/items/new", handler, "new"),
        Route("GET", "/items/{id}/notes", handler, "notes", (ID,), (Parameter("q", "", str, high=9, required=True),)),
    ]
)


def found(target: str, method: str = "GET") -> tuple[str, dict[str, Any]]:
    route, parameters = ROUTES.find(method, target)
    return route.doc, parameters


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/info/7", ("one", {"uid": 7, "lim": 5})), ("/info/7/", ("one", {"uid": 7, "lim": 5})),
        ("/info/7?lim=10", ("one", {"uid": 7, "lim": 10})), ("/info/7?", ("one", {"uid": 7, "lim": 5})),
        ("/info/7?lim=1&id=a+b", ("one", {"uid": 7, "lim": 1, "id": "a b"})),
        ("/info/%37", ("one", {"uid": 7, "lim": 5})),
        ("/info/007?l%69m=2", ("one", {"uid": 7, "lim": 2})), ("/info/7/3", ("two", {"uid": 7, "lim": 3})),
        ("/items/%C3%BC", ("item", {"id": "ü"})), ("/items/a%2Fb", ("item", {"id": "a/b"})),
        ("/items/a+b", ("item", {"id": "a+b"})),
        ("/items/\xc3\xbc", ("item", {"id": "ü"})), ("/items/%zz", ("item", {"id": "%zz"})),
        ("/items/%EF%BF%BD", ("item", {"id": "\ufffd"})),
        ("/items/new", ("new", {})), ("/items/a/notes?q=x", ("notes", {"id": "a", "q": "x"})),
        ("/", ("root", {})), ("http://host/items/x", ("item", {"id": "x"})), ("https://host", ("root", {})),
        ("HTTP://host:1?", ("root", {})),
    ],
)  # fmt: skip
def test_found(target: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert found(target) == expected


def test_by_method() -> None:
    assert found("/info/7", "POST")[0] == "add"
    # what answers GET answers HEAD
    assert found("/info/7", "HEAD") == found("/info/7")


def test_two_of_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two routes GET /info/\{other\}"):
        Routes([*ROUTES.all, Route("GET", "/info/{other}", handler, "", (Parameter("other", "", str, high=5),))])


@pytest.mark.parametrize(
    "target", ["", "*", "/info", "/info/1/2/3", "//info/1", "/nothing", "ftp://host/info/1", "info/1", "\xc3\xbc"]
)
def test_404(target: str) -> None:
    with pytest.raises(Problem, match="there is nothing at") as raised:
        found(target)
    assert raised.value.status == 404


def test_405_names_what_is_allowed() -> None:
    with pytest.raises(Problem) as raised:
        found("/info/x?nonsense", "PUT")
    assert (raised.value.status, raised.value.headers) == (405, {"Allow": "GET, HEAD, OPTIONS, POST"})


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("/info/0", "uid"), ("/info/100", "uid"), ("/info/x", "uid"), ("/info/-1", "uid"), ("/info/1_0", "uid"),
        ("/info/%D9%A3", "uid"),
        ("/info/%20", "uid"), ("/info//", "uid"), ("/info/1/11", "lim"), ("/info/1?lim=", "lim"),
        ("/info/1?lim", "lim"), ("/info/1?lim=+5", "lim"),
        ("/info/1?lim=5&lim=5", "lim"), ("/info/1?nonsense=1", "nonsense"), ("/info/1/5?lim=1", "lim"),
        ("/info/1?id=%FF", "query"),
        ("/items/%FF", "id"), ("/items/\xff", "path"), ("/items/%00", "id"), ("/items/123456", "id"),
        ("/items/%ED%A0%80", "id"),
        ("/info/" + "9" * 5000, "uid"), ("/?x", "x"), ("/items/a/notes", "q"), ("/items/a/notes?q=", "q"),
    ],
)  # fmt: skip
def test_bad_parameters_name_their_field(target: str, field: str) -> None:
    with pytest.raises(BadRequest, match=f"^{field}: ") as raised:
        found(target)
    assert raised.value.field == field
