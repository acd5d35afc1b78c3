"""The HTTP API on a real Redis and a real database: what is put in comes out, as it should."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.website import Website
from tests.waiting import eventually

HEADERS_OF_ALL = {"x-request-id", "content-type", "content-length"}


def notes(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Notes of which each is newer than the one before."""
    return [{"title": f"note {number}", "ts": 1000 + number, **fields} for number in range(count)]


def titles(site: Website, target: str) -> list[str]:
    answer = site.ask("GET", target)
    assert answer.status == 200, answer.body
    return [item["title"] for item in answer.json["items"]]


# ---- /info


def test_the_newest_notes_of_a_user_in_every_form(site: Website, uid: int) -> None:
    # given a user with 30 notes, and another one with some
    site.ask("POST", f"/info/{uid}", notes(30))
    site.ask("POST", f"/info/{uid + 500}", notes(3))
    newest = [f"note {number}" for number in reversed(range(30))]
    # then each form gives the newest first, 20 unless told otherwise
    assert titles(site, f"/info/{uid}") == newest[:20]
    for target in (f"/info/{uid}/3", f"/info/{uid}?lim=3", f"/info/{uid}/3/0", f"/info/{uid}/3/"):
        assert titles(site, target) == newest[:3], target
    for target in (f"/info/{uid}/4/2", f"/info/{uid}/4?off=2", f"/info/{uid}?lim=4&off=2", f"/info/{uid}?off=2&lim=4"):
        assert titles(site, target) == newest[2:6], target
    # and says what it gives
    answer = site.ask("GET", f"/info/{uid}/1/29").json
    assert (answer["uid"], answer["lim"], answer["off"]) == (uid, 1, 29)
    assert [item["userid"] for item in answer["items"]] == [uid]
    # and paging reaches each note once
    pages = [title for off in range(0, 35, 7) for title in titles(site, f"/info/{uid}/7/{off}")]
    assert pages == newest
    # and so does following the answers, from whichever form on
    for target in (
        f"/info/{uid}?lim=7",
        f"/info/{uid}/7",
        f"/items?userid={uid}&lim=7",
        f"/items?q=note&userid={uid}&lim=7",
    ):
        followed, next = [], target
        while next:
            answer = site.ask("GET", next).json
            followed += [item["title"] for item in answer["items"]]
            next = answer.get("next", "")
        assert followed == newest, target
    # and what is no place in a list is refused by name
    for wrong in ("x", "W10", "a" * 1001):
        answer = site.ask("GET", f"/info/{uid}?after={wrong}")
        assert (answer.status, answer.json["error"]["field"]) == (400, "after"), wrong


def test_a_user_without_notes_has_none(site: Website, uid: int) -> None:
    assert site.ask("GET", f"/info/{uid}").json == {"items": [], "uid": uid, "lim": 20, "off": 0}


def test_one_note_with_all_it_may_have(site: Website, uid: int) -> None:
    # given a note with every field of the schema, one of its own, and every kind of value
    note = {
        "title": "Äpfel & 日本 🍏", "url": "https://example.org/?a=b#c", "body": "two\nlines \"quoted\" \\ \u2028",
        "location": "51.5,-0.1", "keywords": ["fruit", "grün"], "ts": 1, "userid": uid,
        "more": {"list": [1, -2, 1.5, True, None, ""], "max": 2**63 - 1, "min": -(2**63), "deep": {"a": {"b": []}}},
    }  # fmt: skip
    # when it is posted
    answer = site.ask("POST", f"/info/{uid}", note)
    # then it is stored, and is found where the answer says, as it was
    [id] = answer.json["ids"]
    assert (answer.status, answer.json) == (201, {"ids": [id], "uid": uid, "state": "stored"})
    assert answer.headers["location"] == f"/items/{id}"
    assert answer.headers.keys() == HEADERS_OF_ALL | {"location"}
    assert site.ask("GET", f"/items/{id}").json == {**note, "id": id}


def test_without_ts_it_is_of_the_time_it_was_accepted(site: Website, uid: int) -> None:
    before = time.time_ns() // 1_000_000
    for headers in ({}, {"Prefer": "respond-async"}):
        site.ask("POST", f"/info/{uid}", {"title": "now"}, **headers)
    items = eventually(lambda: (found := site.ask("GET", f"/info/{uid}").json["items"])[1:] and found)
    assert all(before <= item["ts"] <= time.time_ns() // 1_000_000 for item in items)


def test_a_thousand_notes_at_once_and_not_one_more(site: Website, uid: int) -> None:
    many = [{"title": str(number), "ts": number} for number in range(1001)]
    refused = site.ask("POST", f"/info/{uid}", many)
    assert (refused.status, refused.error["field"]) == (400, "body")
    assert titles(site, f"/info/{uid}") == []
    answer = site.ask("POST", f"/info/{uid}", many[:1000])
    assert answer.status == 201
    assert len(set(answer.json["ids"])) == 1000
    assert "location" not in answer.headers
    # and they come back in one answer, in the order of their time
    assert titles(site, f"/info/{uid}/1000") == [str(number) for number in reversed(range(1000))]


def test_preferring_not_to_wait_they_are_queued_and_stored_soon(site: Website, uid: int) -> None:
    answer = site.ask("POST", f"/info/{uid}", notes(2), Prefer="wait=5, Respond-Async")
    assert (answer.status, answer.json["state"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "respond-async"
    eventually(lambda: titles(site, f"/info/{uid}") == ["note 1", "note 0"])
    assert {item["id"] for item in site.ask("GET", f"/info/{uid}").json["items"]} == set(answer.json["ids"])


@pytest.mark.parametrize("prefer", ["", "respond-async"])
def test_an_idempotency_key_makes_a_repeat_harmless(site: Website, uid: int, prefer: str) -> None:
    # given notes that were posted under a key
    headers = {"Idempotency-Key": "ein Schlüssel/1", "Prefer": prefer}
    first = site.ask("POST", f"/info/{uid}", notes(3), **headers)
    # when the same is posted again, also to be queued
    again = [
        site.ask("POST", f"/info/{uid}", notes(3), **{**headers, "Prefer": each}) for each in ("", "respond-async")
    ]
    # then the answers name the same notes, and they are stored once
    assert [each.json["ids"] for each in again] == [first.json["ids"]] * 2
    eventually(lambda: len(titles(site, f"/info/{uid}")) == 3)
    # but another user's are others, and another key's
    other = site.ask("POST", f"/info/{uid + 500}", notes(3), **headers)
    assert not set(other.json["ids"]) & set(first.json["ids"])
    other = site.ask("POST", f"/info/{uid}", notes(3), **{"Idempotency-Key": "another"})
    assert not set(other.json["ids"]) & set(first.json["ids"])
    assert len(titles(site, f"/info/{uid}")) == 6


@pytest.mark.parametrize("prefer", ["", "respond-async"])
@pytest.mark.parametrize("deleted", [False, True])
def test_an_idempotency_key_is_one_requests(site: Website, uid: int, deleted: bool, prefer: str) -> None:
    # given two notes that were posted under a key, and perhaps deleted since
    path, key = f"/info/{uid}", {"Idempotency-Key": "k"}
    assert titles(site, path) == []
    two = notes(2)
    first = site.ask("POST", path, two, Prefer=prefer, **key)
    eventually(lambda: len(titles(site, path)) == 2)
    for id in first.json["ids"] if deleted else ():
        assert site.ask("DELETE", f"/items/{id}").status == 204
    before = titles(site, path)
    # when anything else comes under it: more, fewer, others, in another order, with ids of their own
    own = [{**note, "id": f"own {uid} {number}"} for number, note in enumerate(two)]
    others: list[Any] = [two[:1], two[0], notes(3), two[::-1], [two[0], {"title": "x"}], own, own[:1], {"title": "x"}]
    for other in others:
        # then it is refused, and nothing of it is stored
        refused = site.ask("POST", path, other, **key)
        assert (refused.status, refused.error["field"]) == (422, "Idempotency-Key"), other
        assert titles(site, path) == before
    # and the same again, however it is written, is answered as it was, or by what became of it since
    again = json.dumps([dict(reversed(note.items())) for note in two], indent=1).encode()
    assert site.ask("POST", path, again, **key).status == (409 if deleted else 201)
    assert titles(site, path) == before


def test_what_is_refused_uses_up_no_key(site: Website, uid: int) -> None:
    # given a note that a store refuses, and one that nobody may write
    path, key = f"/info/{uid}", {"Idempotency-Key": "k"}
    assert site.ask("POST", path, {"title": "x", "a.b": 1}, **key).status == 422
    # then the key is still good for one that it takes
    assert site.ask("POST", path, {"title": "x"}, **key).status == 201
    # and those of others have nothing to do with it
    theirs = f"/info/{10**9 + uid}"
    assert site.ask("POST", theirs, {"title": "x"}, **key).status == 401


def test_own_ids_make_a_repeat_harmless(site: Website, uid: int) -> None:
    own = [{**note, "id": f"{uid} {number} ü/?#%"} for number, note in enumerate(notes(2))]
    for headers in ({}, {"Idempotency-Key": "k"}, {}):
        answer = site.ask("POST", f"/info/{uid}", [*own, {"id": f"{uid} third", "ts": 1, "title": "third"}], **headers)
        assert answer.json["ids"] == [f"{uid} 0 ü/?#%", f"{uid} 1 ü/?#%", f"{uid} third"]
    assert titles(site, f"/info/{uid}") == ["note 1", "note 0", "third"]


def test_a_note_that_was_deleted_since_is_not_stored_again(site: Website, uid: int) -> None:
    note = {"id": f"{uid}", "ts": 5}
    site.ask("POST", f"/info/{uid}", note)
    assert site.ask("DELETE", f"/items/{uid}").status == 204
    answer = site.ask("POST", f"/info/{uid}", note)
    assert answer.status == 409
    assert str(uid) in answer.error["message"]
    assert site.ask("GET", f"/items/{uid}").status == 404


# ---- /items/<id>


@pytest.mark.parametrize("id", ["a", "ü", "日本 🍏", "a/b?c#d%25", "..", "x" * 128, '"\\\n', "%zz", "+ +"])
def test_an_item_by_its_id_whatever_its_characters(site: Website, uid: int, id: str) -> None:
    id = f"{uid}{id}"[-128:]
    path = "/items/" + quote(id, safe="")
    # given an item that was put there
    assert site.ask("PUT", path, {"title": id, "userid": uid}).json == {"id": id, "state": "stored"}
    # then it can be got, changed and deleted there
    assert site.ask("GET", path).json["title"] == id
    assert site.ask("PATCH", path, {"title": None, "more": 1}).status == 200
    item = site.ask("GET", path).json
    assert (item["id"], item["more"], "title" in item) == (id, 1, False)
    assert site.ask("DELETE", path).status == 204
    assert site.ask("GET", path).status == 404
    # and posted with the same id it is found where the answer says
    answer = site.ask("POST", f"/info/{uid}", {"id": id})
    assert site.ask("GET", answer.headers["location"]).json["id"] == id


def test_a_path_that_is_utf_8_without_percent_encoding(site: Website, uid: int) -> None:
    site.ask("PUT", f"/items/{uid}%C3%BC", {"title": "ü", "userid": uid, "keywords": ["für"]})
    assert site.ask("GET", f"/items/{uid}ü").json["title"] == "ü"
    assert titles(site, f"/items?userid={uid}&keyword=für") == ["ü"]


def test_put_replaces_the_whole_unless_there_is_a_newer_one(site: Website, uid: int) -> None:
    path = f"/items/{uid}"
    assert site.ask("PUT", path, {"title": "old", "url": "u", "ts": 10}).status == 200
    assert site.ask("PUT", path, {"title": "new", "ts": 20, "id": str(uid)}).status == 200
    # an older one is refused
    stale = site.ask("PUT", path, {"title": "late", "ts": 15})
    assert (stale.status, stale.error["message"][:7]) == (409, "there i")
    assert site.ask("GET", path).json == {"id": str(uid), "title": "new", "ts": 20}
    # without ts it is of now
    before = time.time_ns() // 1_000_000
    site.ask("PUT", path, {"title": "now"})
    assert site.ask("GET", path).json["ts"] >= before


def test_patch_changes_what_it_names(site: Website, uid: int) -> None:
    path = f"/items/{uid}"
    assert site.ask("PATCH", path, {"title": "x"}).status == 404
    site.ask("PUT", path, {"title": "t", "url": "u", "ts": 20})
    assert site.ask("PATCH", path, {"title": "late", "ts": 19}).status == 409
    assert site.ask("PATCH", path, {"title": None, "body": "b", "ts": 21, "id": str(uid)}).status == 200
    assert site.ask("GET", path).json == {"id": str(uid), "url": "u", "body": "b", "ts": 21}
    assert site.ask("PATCH", path, {"ts": 22}).status == 200


def test_delete(site: Website, uid: int) -> None:
    path = f"/items/{uid}"
    missing = site.ask("DELETE", path)
    assert (missing.status, missing.error["message"]) == (404, f"there is no item {uid}")
    site.ask("PUT", path, {"title": "t"})
    answer = site.ask("DELETE", path)
    assert (answer.status, answer.body, set(answer.headers)) == (204, b"", {"x-request-id"})
    # a repeat is harmless
    assert site.ask("DELETE", path).status == 204
    # what is newer than the delete stays, if that has a ts
    site.ask("PUT", path, {"title": "t"})
    assert site.ask("DELETE", f"{path}?ts=5").status == 409
    assert site.ask("DELETE", path).status == 204


# ---- /items


def test_search(site: Website, uid: int) -> None:
    # given items of two users
    word = f"wort{uid}"
    site.ask("POST", f"/info/{uid}", notes(5, keywords=[word, "grün"], body="Der Fuchs"))
    site.ask("POST", f"/info/{uid + 500}", notes(2, keywords=[word], body=f"{word} im Text"))
    # then each condition narrows it down, the newest first
    assert len(titles(site, f"/items?keyword={word}")) == 7
    assert titles(site, f"/items?keyword={word}&userid={uid}&lim=2&off=1") == ["note 3", "note 2"]
    assert titles(site, f"/items?userid={uid}&since=1003") == ["note 4", "note 3"]
    assert titles(site, f"/items?q={word}") == ["note 1", "note 0"]
    assert titles(site, f"/items?q=fuchs&userid={uid}&lim=1") == ["note 4"]
    assert titles(site, f"/items?keyword=gr%C3%BCn&userid={uid + 500}") == []
    assert titles(site, f"/items?q=nichts+{word}&keyword={word}") == ["note 1", "note 0"]
    # and without any it is all there is, 20 unless told otherwise
    answer = site.ask("GET", "/items").json
    assert (answer["lim"], answer["off"]) == (20, 0)
    assert len(answer["items"]) <= 20


# ---- health, and what holds for all


def test_health_and_readiness(site: Website) -> None:
    assert site.ask("GET", "/healthz").json == {"alive": True}
    assert site.ask("GET", "/readyz").json == {"ready": True}


def test_head_is_get_without_the_body(site: Website, uid: int) -> None:
    site.ask("POST", f"/info/{uid}", notes(3))
    for target in (f"/info/{uid}", f"/info/{uid}/2", "/healthz", "/openapi.json", "/items/none", "/info/x", "/nothing"):
        with site.connection() as connection:
            got = connection.ask("GET", target)
            head = connection.ask("HEAD", target)
            assert (head.status, head.headers["content-type"]) == (got.status, got.headers["content-type"])
            assert head.headers["content-length"] == got.headers["content-length"]
            # and nothing follows but the next answer
            assert connection.ask("GET", "/healthz").status == 200


def test_every_request_has_an_id_of_its_own(site: Website) -> None:
    with site.connection() as connection:
        ids = [connection.ask("GET", target).headers["x-request-id"] for target in ("/healthz", "/healthz", "/none")]
    assert len(set(ids)) == 3
