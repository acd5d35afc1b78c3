"""A message to a store: what is known about its documents is found out once, whoever needs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gorgond.redpill import Message, decode, loads
from gorgond.stores import contract, filters, open_store
from gorgond.stores.contract import Store, Written
from gorgond.stores.jobs import Job

NOTE = {"id": "a", "title": "ä", "userid": 5, "keywords": ["x"], "ts": 7}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/test.db")) as opened:
        opened.prepare()
        yield opened


def _counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[object]:
    calls: list[object] = []
    what: Callable[..., Any] = getattr(module, name)

    def counting(*args: Any) -> Any:
        calls.append(args)
        return what(*args)

    monkeypatch.setattr(module, name, counting)
    return calls


def _announced(message: Message, ts: int) -> Any:
    """The documents in the events of a message whose writes were stored with this `ts`, as they travel."""
    job = Job.of(message, "store_put")
    job.done = [Written("stored", ts) for _ in job.writes]
    return [decode(change.event(change.content()).encode()).args["document"] for change in job.changes()]


def test_a_note_is_checked_and_encoded_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # given: a keyed message, whose writes are checked before its key is used up
    checks = _counted(monkeypatch, filters, "check_document")
    encodings = _counted(monkeypatch, contract, "canonical")
    message = Message("items.insert", {"documents": [NOTE]}, user={"once": {"key": "k", "said": "s"}})
    # when: it is checked, written with its fingerprint, and announced
    job = Job.of(message, "store_put")
    job.done = store.change(job.writes)
    [event] = [change.event(change.content()) for change in job.changes()]
    # then
    assert loads(event.encode())["args"]["document"] == NOTE
    assert (len(checks), len(encodings)) == (1, 1)
    if importlib.util.find_spec("orjson"):
        assert not isinstance(event.args["document"], dict)


@pytest.mark.parametrize("verb", ["insert", "replace"])
@pytest.mark.parametrize(
    "document",
    [
        NOTE,
        {"id": "a"},
        {"id": 'quote" and \\ back', "ts": 7},
        {"id": "a", "price": 1.5, "ts": 7},
        {"id": "a", "deep": [{"price": [0.1]}]},
        {"id": "a", "title": '{"$":'},
    ],
)
def test_an_event_has_the_document_as_it_is_stored(verb: str, document: dict[str, Any]) -> None:
    ts = document.get("ts", 99)
    [said] = _announced(Message(f"items.{verb}", {"documents": [document]}), ts)
    assert said == {**document, "ts": ts}
