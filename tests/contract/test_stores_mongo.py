"""What a MongoDB says that does not keep what it was given, as a replica set in trouble does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymongo
import pytest

from gorgond.errors import StoreAway, StoreRefused
from gorgond.stores import open_store
from gorgond.stores.contract import Kind, Query, Write
from tests.conftest import MongodServer
from tests.contract.stores import write

COMMANDS: dict[Kind, str] = {"insert": "insert", "replace": "update", "patch": "update", "delete": "delete"}


@contextmanager
def answering(server: MongodServer, command: str, answer: dict[str, Any]) -> Iterator[None]:
    """Meanwhile the server answers this command so."""
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(server.url) as client:
        data = {"failCommands": [command], **answer}
        client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_what_a_majority_does_not_keep_is_not_reported_as_done(
    mongod_factory: Callable[..., MongodServer],
) -> None:
    server = mongod_factory("--setParameter", "enableTestCommands=1")
    with closing(open_store(server.url + "test")) as store:
        for answer in (
            {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
            {"writeConcernError": {"code": 91, "errmsg": "Replication is being shut down"}},
            {"errorCode": 13},  # not authorized: an operator changes that
        ):
            for kind, command in COMMANDS.items():
                with answering(server, command, answer), pytest.raises(StoreAway, match="MongoDB"):
                    store.write([write(kind, "a", 5, title="t")])
        # when it is done again, all is as if it had been done once
        assert store.write([write("insert", "b", 5, title="t"), write("patch", "b", 6, x=1)]) == ["stored", "stored"]


def test_its_words_are_for_the_log_alone(mongod_url: str, caplog: pytest.LogCaptureFixture) -> None:
    # given a question that MongoDB answers with words of its own: two lists cannot both be an order
    caplog.set_level("INFO")
    with closing(open_store(mongod_url + "words")) as store:
        assert store.write([write("insert", "a", 5, x=[1], y=[2])]) == ["stored"]
        [refused] = store.find([Query("items", {}, (("x", 1), ("y", 1)))])
    # then who asks is told its code, and the log the words
    assert isinstance(refused, StoreRefused)
    assert "MongoDB 2)" in str(refused)
    assert "parallel" not in str(refused)
    assert "parallel" in caplog.text


def test_a_delete_that_got_no_further_than_its_tombstone_goes_on(mongod_factory: Callable[..., MongodServer]) -> None:
    server = mongod_factory("--setParameter", "enableTestCommands=1")
    with closing(open_store(server.url + "test")) as store:
        store.write([write("insert", "a", 5)])
        delete = Write("delete", "items", "a", 1, {}, dated=False, by="message")
        # given a delete that left its tombstone and was interrupted, and a change that came between
        with answering(server, "delete", {"errorCode": 13}), pytest.raises(StoreAway):
            store.write([delete])
        assert store.write([Write("patch", "items", "a", 1, {"x": 1}, dated=False, by="other")]) == ["stored"]
        # when it comes again, then the document is gone, and once more it is the same
        assert store.write([delete]) == ["deleted"]
        assert store.count([Query("items", {})]) == [0]
        assert store.write([delete]) == ["deleted"]
