"""The application notes, on a whole fabric in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gorgond.testing import RunningFabric, User, serving


@pytest.fixture(scope="module")
def site() -> Iterator[RunningFabric]:
    with serving("notes") as site:
        yield site


@pytest.fixture(scope="module")
def anna(site: RunningFabric) -> User:
    return site.user("anna")


@pytest.fixture(scope="module")
def bob(site: RunningFabric) -> User:
    return site.user("bob", "moderator")


def add(site: RunningFabric, user: User, **note: object) -> str:
    answer = site.post(f"/notes/{user.id}", note, user=user)
    assert answer.status == 201, answer
    id: str = answer.json["id"]
    return id


def titles(site: RunningFabric, path: str, user: User | None = None) -> list[str]:
    return [note["title"] for note in site.get(path, user=user).json]


def test_a_private_note_is_its_owners_alone(site: RunningFabric, anna: User, bob: User) -> None:
    add(site, anna, title="everybody's", keywords=["poem"])
    add(site, anna, title="hers", public=False)
    assert titles(site, f"/notes/{anna.id}", anna) == ["hers", "everybody's"]
    assert titles(site, f"/notes/{anna.id}", bob) == titles(site, f"/notes/{anna.id}") == ["everybody's"]
    assert titles(site, "/notes?keyword=poem") == ["everybody's"]


def test_who_is_nobody_or_somebody_else_adds_nothing(site: RunningFabric, anna: User, bob: User) -> None:
    note = {"title": "no"}
    assert site.post(f"/notes/{anna.id}", note).status == 401
    assert site.post(f"/notes/{anna.id}", note, user=bob).status == 403


@pytest.mark.parametrize(
    ("note", "field"),
    [({}, "title"), ({"title": 5}, "title"), ({"title": " "}, "body"), ({"title": "a", "colour": "red"}, "colour")],
)
def test_what_is_no_note_is_refused(site: RunningFabric, anna: User, note: object, field: str) -> None:
    answer = site.post(f"/notes/{anna.id}", note, user=anna)
    assert (answer.status, answer.json["error"]["field"]) == (400, field)


def test_one_deletes_ones_own_notes(site: RunningFabric, anna: User, bob: User) -> None:
    id = add(site, anna, title="mistake")
    assert site.delete(f"/notes/{bob.id}/{id}", user=bob).status == 404
    assert site.delete(f"/notes/{anna.id}/{id}", user=anna).status == 204
    assert site.delete(f"/notes/{anna.id}/{id}", user=anna).status == 404


def test_moderators_hide_what_should_not_be_seen(site: RunningFabric, anna: User, bob: User) -> None:
    id = add(site, anna, title="spam", keywords=["offer"])
    assert site.delete(f"/moderation/{id}", user=anna).status == 403
    assert site.delete(f"/moderation/{id}", user=bob).status == 204
    assert titles(site, "/notes?keyword=offer") == []


def test_authors_are_counted_in_the_background(site: RunningFabric) -> None:
    carla = site.user("carla")
    for number in range(3):
        add(site, carla, title=f"note {number}")
    site.eventually(lambda: {"id": carla.id, "notes": 3} in counted(site))


def counted(site: RunningFabric) -> list[dict[str, object]]:
    return [{name: each[name] for name in ("id", "notes")} for each in site.get("/authors").json]
