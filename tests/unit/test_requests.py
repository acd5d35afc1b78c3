"""What messages of store_put ask for."""

from __future__ import annotations

from typing import Any

import pytest

from gorgond.errors import StoreRefused
from gorgond.redpill import Message
from gorgond.stores.requests import query_of, writes_of


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
