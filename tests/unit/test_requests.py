"""What messages of store_put ask for."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.errors import StoreRefused
from gorgond.redpill import Message
from gorgond.stores.requests import query_of, writes_of
from gorgond.stores.schema import MOVING


def test_a_change_has_the_ts_of_its_message_where_it_has_none() -> None:
    documents = [{"id": "a"}, {"id": "b", "ts": 7}, {}]
    writes = writes_of(Message("items.insert", {"documents": documents}, "m", sent=5), "store_put")
    assert [(each.id, each.ts, each.dated, each.by) for each in writes] == [
        ("a", 5, False, "m"), ("b", 7, True, "m"), ("m-2", 5, False, "m"),
    ]  # fmt: skip
    for op, args in (("patch", {"changes": {"x": 1}}), ("delete", {})):
        for ts, dated in (({}, False), ({"ts": 7}, True)):
            [one] = writes_of(Message(f"items.{op}", {"id": "a", **args, **ts}, "m", sent=5), "store_put")
            assert (one.ts, one.dated, one.by) == (7 if dated else 5, dated, "m")


@pytest.mark.parametrize("verb", ["insert", "replace"])
@pytest.mark.parametrize(
    "documents",
    [[{"id": "d", "title": "a"}, {"id": "d", "title": "b"}], [{}, {"id": "m"}], [{"id": 5}], [{"id": ["x"]}]],
)
def test_each_document_has_an_id_of_its_own(verb: str, documents: list[Any]) -> None:
    with pytest.raises(StoreRefused, match="id: ") as refused:
        writes_of(Message(f"items.{verb}", {"documents": documents}, "m"), "store_put")
    assert (refused.value.code, refused.value.field) == (400, "id")


@pytest.mark.parametrize(
    ("op", "args"),
    [("items.find", {}), ("users.find", {"filter": {"id": "1"}, "fields": ["name"]}), ("items.count", {})],
)
def test_providers_read_nothing_over_their_queue_but_how_far_they_are(op: str, args: dict[str, Any]) -> None:
    assert query_of(Message("providers.find", {"filter": {"id": "mail"}}), "provider_store_get")[0] == "find"
    with pytest.raises(StoreRefused, match="of the collection providers alone") as refused:
        query_of(Message(op, args), "provider_store_get")
    assert refused.value.code == 403


CONTACT = {"filter": {"id": "1"}, "fields": ["name", "email"]}


def test_notification_servers_learn_how_a_user_is_reached() -> None:
    verb, query = query_of(Message("users.find", CONTACT), "notify_store_get")
    assert (verb, query.collection, query.projection) == ("find", "users", ("name", "email"))


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("users.find", {**CONTACT, "fields": ["name", "passhash"]}), ("users.find", {"filter": {"id": "1"}}),
        ("users.find", {**CONTACT, "filter": {}}), ("users.find", {**CONTACT, "filter": {"email": "a@b"}}),
        ("users.count", CONTACT), ("emails.find", CONTACT), ("items.find", CONTACT), ("sessions.find", CONTACT),
    ],
)  # fmt: skip
def test_notification_servers_read_nothing_else_over_their_queue(op: str, args: dict[str, Any]) -> None:
    with pytest.raises(StoreRefused, match="tells how a user is reached, and nothing else") as refused:
        query_of(Message(op, args), "notify_store_get")
    assert refused.value.code == 403


def test_nobody_else_learns_where_a_user_lives() -> None:
    with pytest.raises(StoreRefused, match="users: only the auth server may"):
        query_of(Message("users.find", CONTACT), "store_get")


KEY = {"filter": {"id": "web"}, "fields": ["private"]}


def test_notification_servers_alone_learn_the_key_with_which_they_sign() -> None:
    verb, query = query_of(Message("push_keys.find", KEY), "notify_store_get")
    assert (verb, query.collection, query.projection) == ("find", "push_keys", ("private",))
    # all others learn what browsers are told, by the id
    public = {**KEY, "fields": ["public"]}
    assert query_of(Message("push_keys.find", public), "store_get")[1].projection == ("public",)
    secret: list[dict[str, Any]] = [
        KEY,
        {"filter": {"id": "web"}},
        {**KEY, "fields": ["public", "private"]},
        {"filter": {}},
    ]
    for args in secret:
        for queue in ("store_get", "store_search", "provider_store_get"):
            with pytest.raises(StoreRefused) as refused:
                query_of(Message("push_keys.find", args), queue)
            assert refused.value.code == 403
    with pytest.raises(StoreRefused):
        query_of(Message("push_keys.count", {"filter": {"private": {"$gt": "a"}}}), "store_get")


def test_a_key_that_is_missing_is_added_and_one_that_is_there_stays() -> None:
    key = {"id": "web", "public": "p", "private": "q"}
    [write] = writes_of(Message("push_keys.insert", {"documents": [key]}, "m", sent=5), "store_put")
    assert (write.kind, write.id) == ("insert", "web")
    change = {"id": "web", "changes": {"public": "x"}}
    for verb, args in (("replace", {"documents": [key]}), ("patch", change), ("delete", {"id": "web"})):
        with pytest.raises(StoreRefused, match="push_keys: only the auth server may") as refused:
            writes_of(Message(f"push_keys.{verb}", args, "m", sent=5), "store_put")
        assert refused.value.code == 403


@pytest.mark.parametrize("queue", ["store_get", "store_search", "auth_store_get", "provider_store_get"])
def test_whether_a_database_is_whole_is_nobodys_to_ask_or_say(queue: str) -> None:
    with pytest.raises(StoreRefused, match=MOVING):
        query_of(Message(f"{MOVING}.find", {"filter": {"id": "state"}, "fields": ["state"]}), queue)
    for op, args in (("replace", {"documents": [{"id": "state"}]}), ("delete", {"id": "state"})):
        with pytest.raises(StoreRefused, match=MOVING):
            writes_of(Message(f"{MOVING}.{op}", args), queue.replace("get", "put"))
