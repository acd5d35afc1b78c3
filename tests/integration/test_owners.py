"""The open API and registered users: what is theirs they alone write, whichever way it is tried."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RedisServer
from tests.databases import WHOLE
from tests.integration.website import Answer, Website
from tests.waiting import eventually

PASSWORD = "a violin in the attic"
SEED = 5  # a user who is only a number
_numbers = itertools.count()


@dataclass(frozen=True)
class Person:
    """A registered user, logged in: who, and the headers that prove it."""

    uid: int
    proof: dict[str, str]


@pytest.fixture(scope="module", params=WHOLE)
def fabric(
    request: pytest.FixtureRequest, module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("owners")
    url = f"sqlite:///{directory}/test.db"
    if request.param == "mongodb":
        url = f"{request.getfixturevalue('mongod_url')}owners"
    with Website(
        module_redis.url, directory, store__url=url, auth__address_attempts="100000", web__deadline="60s"
    ) as site:
        yield site


@pytest.fixture
def ada(fabric: Website) -> Person:
    return person(fabric)


@pytest.fixture
def bob(fabric: Website) -> Person:
    return person(fabric)


def person(site: Website) -> Person:
    credentials = {"email": f"user{next(_numbers)}@notes.example", "password": PASSWORD}
    assert site.ask("POST", "/auth/register", credentials).status == 201
    begun = site.ask("POST", "/auth/login", credentials).json
    return Person(int(begun["user"]["id"]), {"Authorization": f"Bearer {begun['token']}"})


def notes(site: Website, uid: int) -> Any:
    return site.ask("GET", f"/info/{uid}?lim=1000").json["items"]


def test_a_user_writes_her_own_notes(fabric: Website, ada: Person) -> None:
    made = fabric.ask("POST", f"/info/{ada.uid}", [{"title": "a"}, {"title": "b"}], **ada.proof)
    assert made.status == 201
    first, second = made.json["ids"]
    assert fabric.ask("PUT", f"/items/{first}", {"title": "c", "userid": ada.uid}, **ada.proof).status == 200
    assert fabric.ask("PATCH", f"/items/{first}", {"title": "d"}, **ada.proof).status == 200
    assert fabric.ask("DELETE", f"/items/{second}", **ada.proof).status == 204
    assert [(note["id"], note["title"]) for note in notes(fabric, ada.uid)] == [(first, "d")]
    # also those that are only queued
    later = fabric.ask("POST", f"/info/{ada.uid}", {"title": "e"}, Prefer="respond-async", **ada.proof)
    assert later.status == 202
    eventually(lambda: len(notes(fabric, ada.uid)) == 2)


@pytest.mark.parametrize(
    "headers", [{}, {"Idempotency_Key": "a key"}, {"Prefer": "respond-async"}], ids=["plain", "key", "queued"]
)
@pytest.mark.parametrize("many", [False, True], ids=["one", "batch"])
def test_nobody_posts_as_her(fabric: Website, ada: Person, bob: Person, headers: dict[str, str], many: bool) -> None:
    body: Any = [{"title": "forged"}, {"title": "forged too"}] if many else {"title": "forged"}
    unknown = fabric.ask("POST", f"/info/{ada.uid}", body, **headers)
    assert (unknown.status, unknown.error["field"]) == (401, "userid")
    assert unknown.headers["www-authenticate"] == "Bearer"
    assert fabric.ask("POST", f"/info/{ada.uid}", body, **headers, **bob.proof).status == 403
    # what comes after it in the queue is stored, and nothing of that
    assert fabric.ask("POST", f"/info/{ada.uid}", {"title": "hers"}, **ada.proof).status == 201
    assert [note["title"] for note in notes(fabric, ada.uid)] == ["hers"]


def test_nobody_changes_what_is_hers(fabric: Website, ada: Person, bob: Person) -> None:
    [id] = fabric.ask("POST", f"/info/{ada.uid}", {"title": "hers"}, **ada.proof).json["ids"]
    before = notes(fabric, ada.uid)

    def tried(**proof: str) -> list[Answer]:
        mine = {"id": id, "title": "meddled"}
        return [
            fabric.ask("PATCH", f"/items/{id}", {"title": "meddled"}, **proof),
            fabric.ask("PATCH", f"/items/{id}", {"userid": SEED}, **proof),
            fabric.ask("PATCH", f"/items/{id}", {"userid": None}, **proof),
            fabric.ask("PUT", f"/items/{id}", mine, **proof),
            fabric.ask("PUT", f"/items/{id}", {**mine, "userid": SEED}, **proof),
            fabric.ask("PUT", f"/items/{id}", {**mine, "userid": ada.uid}, **proof),
            fabric.ask("DELETE", f"/items/{id}", **proof),
        ]

    assert [answer.status for answer in tried()] == [401] * 7
    assert [answer.status for answer in tried(**bob.proof)] == [403] * 7
    # nor does her id become another's by way of another path
    for proof in ({}, bob.proof):
        fabric.ask("POST", f"/info/{SEED}", {"id": id, "title": "meddled"}, **proof)
        fabric.ask("POST", f"/info/{SEED}", [{"title": "x"}, {"id": id, "title": "meddled"}], **proof)
        assert fabric.ask("POST", f"/info/{SEED}", {"id": id, "userid": ada.uid}, **proof).status == 400
    assert notes(fabric, ada.uid) == before


def test_nobody_makes_a_note_hers(fabric: Website, ada: Person, bob: Person) -> None:
    [id] = fabric.ask("POST", f"/info/{SEED}", {"title": "anybody's"}).json["ids"]
    for proof, status in (({}, 401), (bob.proof, 403)):
        assert fabric.ask("PATCH", f"/items/{id}", {"userid": ada.uid}, **proof).status == status
        assert fabric.ask("PUT", f"/items/{id}", {"userid": ada.uid}, **proof).status == status
        assert fabric.ask("PUT", "/items/new", {"userid": ada.uid}, **proof).status == status
    assert notes(fabric, ada.uid) == []
    # she may
    assert fabric.ask("PATCH", f"/items/{id}", {"userid": ada.uid}, **ada.proof).status == 200
    assert fabric.ask("PATCH", f"/items/{id}", {"title": "x"}).status == 401


def test_the_website_writes_what_is_ones_own_alone(fabric: Website, ada: Person, bob: Person) -> None:
    [id] = fabric.ask("POST", f"/info/{ada.uid}", {"title": "hers"}, **ada.proof).json["ids"]
    before = notes(fabric, ada.uid)
    assert fabric.ask("PUT", f"/me/notes/{id}", {"title": "meddled"}, **bob.proof).status == 404
    assert fabric.ask("DELETE", f"/me/notes/{id}", **bob.proof).status == 404
    for more in ({"userid": ada.uid}, {"id": id}, {"ts": 1}):
        assert fabric.ask("POST", "/me/notes", {"title": "forged", **more}, **bob.proof).status == 400
    assert notes(fabric, ada.uid) == before
    assert notes(fabric, bob.uid) == []


def test_a_session_that_ended_is_told_also_where_none_is_needed(fabric: Website, ada: Person) -> None:
    assert fabric.ask("POST", "/auth/logout", **ada.proof).status == 204
    assert fabric.ask("POST", f"/info/{ada.uid}", {"title": "late"}, **ada.proof).status == 401
    assert fabric.ask("POST", f"/info/{SEED}", {"title": "late"}, **ada.proof).status == 401
    assert fabric.ask("POST", f"/info/{SEED}", {"title": "by nobody"}).status == 201


@pytest.mark.parametrize(("api", "reads", "writes"), [("open", 200, 201), ("read", 200, 405), ("off", 404, 404)])
def test_the_open_api_may_only_read_or_be_off(
    redis_factory: Callable[..., RedisServer], tmp_path: Path, api: str, reads: int, writes: int
) -> None:
    with Website(redis_factory(appendonly="yes").url, tmp_path, web__api=api) as site:
        for target in ("/info/5", "/info/5/1", "/info/5/1/0", "/items"):
            assert site.ask("GET", target).status == reads
        assert site.ask("POST", "/info/5", {"title": "a"}).status == writes
        for method, body in (("PATCH", {"title": "a"}), ("DELETE", None), ("PUT", {"title": "a"})):
            allowed = 404 if method != "PUT" else 200  # there is no such item; PUT makes one
            assert site.ask(method, "/items/none", body).status == (allowed if api == "open" else writes)
        described = site.ask("GET", "/openapi.json").json["paths"]
        assert {method for path in described if path.startswith(("/info", "/items")) for method in described[path]} == {
            "open": {"get", "post", "put", "patch", "delete"}, "read": {"get"}, "off": set()
        }[api]  # fmt: skip
        assert site.ask("GET", "/healthz").status == 200
