"""A user takes everything along, is called otherwise, or ends the account: then nothing of it is left, whoever dies."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis

from gorgond.app.clients import Documents
from gorgond.auth import erasing, records, tokens
from gorgond.auth.records import Records
from gorgond.config import load
from gorgond.http import export
from gorgond.http.asking import Asking
from gorgond.http.routes import Request
from gorgond.redpill import CallFailed, Message, connect, keys
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.integration.website import Connection, Website
from tests.programs import started
from tests.waiting import eventually
from tools.speed.ports import free_port

PASSWORD = "a violin in the attic"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def site(module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    with Website(
        module_redis.url, tmp_path_factory.mktemp("ends"), auth__address_attempts="100000", web__deadline="60s"
    ) as site:
        yield site


class Somebody:
    """A user with an account."""

    def __init__(self, site: Website) -> None:
        self.site = site
        self.account = {"email": f"ends{next(_numbers)}@notes.example", "password": PASSWORD}
        self.user = site.ask("POST", "/auth/register", {**self.account, "name": "Ada"}).json
        self.token = self.login()

    def login(self) -> str:
        token: str = self.site.ask("POST", "/auth/login", self.account).json["token"]
        return token

    def ask(self, method: str, target: str, body: Any = None, token: str = "") -> Any:
        return self.site.ask(method, target, body, Authorization=f"Bearer {token or self.token}")

    def kept(self) -> dict[str, list[str]]:
        return kept(self.site.config.store.url, self.user["id"])


@pytest.fixture
def ada(site: Website) -> Somebody:
    return Somebody(site)


def kept(url: str, id: str) -> dict[str, list[str]]:
    """What the database has of a user: ids by collection."""
    store = open_store(url)
    asked: dict[str, dict[str, Any]] = {
        "users": {"id": id},
        **{name: {"userid": id} for name in ("emails", "sessions", "identities")},
        "items": {"userid": int(id)},
    }
    try:
        answers = store.find([Query(name, filter, limit=1000) for name, filter in asked.items()])
        return {
            name: [each["id"] for each in json.loads(answer)]
            for name, answer in zip(asked, answers, strict=True)
            if isinstance(answer, bytes) and answer != b"[]"
        }
    finally:
        store.close()


def test_another_name_is_seen_by_all_at_once(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a user whom the auth server knows, for longer than this test takes
    monkeypatch.setattr(tokens, "KEPT", 10_000.0)
    ada = Somebody(ada.site)
    assert ada.ask("GET", "/auth/me").json["name"] == "Ada"
    # when she is called otherwise, then she is so everywhere
    answer = ada.ask("PATCH", "/auth/me", {"name": "  Ada   Lovelace "})
    assert answer.json == {**ada.user, "name": "Ada Lovelace"}
    eventually(lambda: ada.ask("GET", "/auth/me").json["name"] == "Ada Lovelace")
    assert ada.site.ask("GET", f"/users/{ada.user['id']}").json["name"] == "Ada Lovelace"
    for name in ("\u202e", "a\0b", 5, "x" * 201):
        assert ada.ask("PATCH", "/auth/me", {"name": name}).error["field"] == "name"


def exported(somebody: Somebody) -> tuple[dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", somebody.site.port, timeout=60)
    connection.request("GET", "/auth/export", headers={"Authorization": f"Bearer {somebody.token}"})
    answer = connection.getresponse()
    assert answer.status == 200
    body = answer.read()
    connection.close()
    return {name.lower(): text for name, text in answer.getheaders()}, body


def test_everything_that_is_a_users_is_in_one_file(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PART", 3)
    # given notes, private ones too, many of one time, and what is somebody else's
    mine = f"/info/{ada.user['id']}"
    ids = ada.ask(
        "POST", mine, [{"title": f"t{n}", "ts": 1000 + n // 5, "private": n % 2 == 0} for n in range(14)]
    ).json["ids"]
    Somebody(ada.site).ask("POST", "/me/notes", {"title": "not hers"})
    # when they are exported
    headers, body = exported(ada)
    found = json.loads(body)
    # then each is there once, and the account
    assert sorted(note["id"] for note in found["notes"]) == sorted(ids)
    assert [note["ts"] for note in found["notes"]] == sorted(note["ts"] for note in found["notes"])
    assert found["user"] == ada.user
    assert [each["current"] for each in found["sessions"]] == [True]
    assert found["links"] == []
    assert b"passhash" not in body
    assert headers["content-disposition"] == f'attachment; filename="gorgond-{ada.user["id"]}.json"'
    assert headers["cache-control"] == "no-store"


def test_a_note_that_is_changed_meanwhile_keeps_no_other_out_of_the_file(
    ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PART", 3)
    # given notes of one time
    notes = [{"id": f"{ada.user['id']}-{number}", "title": "x", "ts": 1000} for number in range(9)]
    ids = ada.ask("POST", f"/info/{ada.user['id']}", notes).json["ids"]
    find, calls = Asking.find, itertools.count()

    async def changing(asking: Asking, request: Request, collection: str, *more: Any) -> Documents:
        if collection == "items" and next(calls) == 1:
            await asyncio.to_thread(ada.ask, "PATCH", f"/items/{ids[0]}", {"title": "y"})
        return await find(asking, request, collection, *more)

    # when one of those that were written first is changed before the others are read
    monkeypatch.setattr(Asking, "find", changing)
    _, body = exported(ada)
    # then all are there, and that one once more
    assert sorted(note["id"] for note in json.loads(body)["notes"]) == sorted([*ids, ids[0]])


def test_an_account_ends_with_its_password_alone(ada: Somebody) -> None:
    for body, field in (({"password": "not it"}, "password"), ({}, "password")):
        answer = ada.ask("POST", "/auth/delete", body)
        assert (answer.status, answer.error["field"]) == (403, field)
    assert ada.ask("GET", "/auth/me").status == 200


def test_of_an_account_that_ended_nothing_is_left(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LATER", 1.0)
    monkeypatch.setattr(erasing, "PART", 3)
    # given an account with two sessions and notes, and a neighbour
    other, bob = ada.login(), Somebody(ada.site)
    bob.ask("POST", "/me/notes", {"title": "his"})
    for number in range(10):
        ada.ask("POST", "/me/notes", {"title": f"note {number}", "private": number > 5})
    assert {name: len(ids) for name, ids in ada.kept().items()} == {"users": 1, "emails": 1, "sessions": 2, "items": 10}
    # when it ends
    assert ada.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 204
    # then nobody is known by it any more
    for token in (ada.token, other):
        eventually(lambda: ada.ask("GET", "/auth/me", token=token).status == 401)  # noqa: B023
    assert ada.site.ask("POST", "/auth/login", ada.account).status == 401
    # and soon nothing of it is left, but all of the others
    eventually(lambda: ada.kept() == {})
    assert {name: len(ids) for name, ids in bob.kept().items()} == {"users": 1, "emails": 1, "sessions": 1, "items": 1}
    # and its address is somebody's who registers it
    again = ada.site.ask("POST", "/auth/register", ada.account)
    assert again.status == 201
    assert again.json["id"] != ada.user["id"]


def test_a_note_that_was_still_on_its_way_goes_too(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LATER", 3.0)
    assert ada.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 204
    eventually(lambda: set(ada.kept()) == {"users"})
    # given a job that was kept before the account ended, and is done after its notes were deleted
    late = Message("items.insert", {"documents": [{"id": f"late {ada.user['id']}", "userid": int(ada.user["id"])}]})
    with redis.Redis.from_url(ada.site.config.broker.url) as client:
        client.rpush("gorgon:{store_put}", late.encode())
        client.hincrby("gorgon:{store_put}:pushed", "accepted", 1)
    eventually(lambda: "items" in ada.kept())
    # then it goes with the account
    eventually(lambda: ada.kept() == {})


async def operate(url: str, what: str, queue: str) -> Any:
    link = connect(url).link("operator")
    try:
        return await getattr(link, what)(queue)
    finally:
        await link.close()


@pytest.mark.parametrize("brokers", [1, 2])
def test_a_note_that_lies_in_a_paused_queue_goes_too(
    redis_factory: Callable[..., RedisServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    brokers: int,
) -> None:
    monkeypatch.setattr(erasing, "LATER", 0.3)
    monkeypatch.setattr(records, "TIMEOUT", 1000)
    caplog.set_level("INFO", "gorgond.auth")
    url, calls = redis_factory(appendonly="yes").url, redis_factory().url if brokers == 2 else ""
    with (
        Website(url, tmp_path, broker__calls=calls, web__deadline="60s") as site,
        redis.Redis.from_url(url) as client,
    ):
        ada = Somebody(site)
        # given a note that was answered 202 and is not written yet, since the queue is paused
        asyncio.run(operate(url, "pause", "store_put"))
        authorized = {"Authorization": f"Bearer {ada.token}", "Prefer": "respond-async"}
        assert (
            site.ask("POST", f"/info/{ada.user['id']}", {"title": "hers", "private": True}, **authorized).status == 202
        )
        eventually(lambda: client.llen(keys.held("store_put")))
        # when the account ends
        assert ada.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 204
        # then the job waits behind the note, again and again, each time as if for the first time
        eventually(lambda: caplog.text.count("is tried again") > 1 or not ada.kept())
        assert set(ada.kept()) == {"users"}
        assert any(b"items.patch" in raw for raw in client.lrange(keys.held("store_put"), 0, -1))
        (raw,) = eventually(lambda: client.zrange("gorgon:{auth_erase}:delayed", 0, -1))
        assert b"attempts" not in raw
        # and when that goes on, the note goes with the account
        asyncio.run(operate(url, "resume", "store_put"))
        eventually(lambda: ada.kept() == {})
        assert client.zcard("gorgon:{auth_erase}:dead") == 0


def test_it_ends_although_others_change_the_same(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LATER", 0.3)
    delete, calls = Records.delete_belonging, itertools.count()

    async def refused(records: Records, *which: str) -> None:
        if next(calls) < 1:
            raise CallFailed(409, "items: others change this at the same time")
        await delete(records, *which)

    # given that others change what is to be deleted
    ada.ask("POST", "/me/notes", {"title": "hers"})
    monkeypatch.setattr(Records, "delete_belonging", refused)
    # when the account ends
    assert ada.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 204
    # then it is tried again until it is done, and nobody has to put it back
    with redis.Redis.from_url(ada.site.config.broker.url) as client:
        eventually(lambda: ada.kept() == {} or client.zcard("gorgon:{auth_erase}:dead"))
        assert client.zcard("gorgon:{auth_erase}:dead") == 0
    assert ada.kept() == {}


def test_it_ends_although_its_account_changes_at_that_moment(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LATER", 0.3)
    patch, calls = Records.patch, itertools.count()

    async def refused(records: Records, collection: str, *more: Any) -> bool:
        if collection == "users" and next(calls) < 1:
            raise CallFailed(409, "users: others change this at the same time")
        return await patch(records, collection, *more)

    # when others change the account as it ends, then it is kept that it ends, and so it does
    monkeypatch.setattr(Records, "patch", refused)
    assert ada.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 202
    eventually(lambda: ada.kept() == {})


def test_it_looks_again_before_the_last_look(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LATER", 1.0)
    # when an account ends of which nothing is under way
    assert ada.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 204
    waits = set()
    with redis.Redis.from_url(ada.site.config.broker.url) as client:

        def over() -> bool:
            for raw in client.zrange("gorgon:{auth_erase}:delayed", 0, -1):
                waits.add((b'"again":true' in raw, b'"last":true' in raw))
            return ada.kept() == {}

        eventually(over)
    # then it waits twice before the account itself goes: for what is asked, and for what is being written
    assert waits == {(True, False), (True, True)}


# ---- processes that are killed


def ask(port: int, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def test_it_ends_although_auth_servers_and_stores_are_killed(
    redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    environ = {
        "GORGOND_BROKER_URL": redis_factory(appendonly="yes").url,
        "GORGOND_STORE_URL": f"sqlite:///{tmp_path}/test.db",
        "GORGOND_WEB_PORT": str(free_port()),
    }
    port, url = int(environ["GORGOND_WEB_PORT"]), load(None, environ, {}).store.url

    def run(closing: ExitStack, *roles: str) -> None:
        for role in roles:
            closing.enter_context(started(role, output=tmp_path / role, **environ))

    with ExitStack() as closing:
        run(closing, "web")
        # given an account with a thousand notes
        with ExitStack() as first:
            run(first, "auth", "store")
            eventually(lambda: _lives(port))
            account = {"email": "ada@notes.example", "password": PASSWORD}
            _, user = ask(port, "POST", "/auth/register", account)
            token = ask(port, "POST", "/auth/login", account)[1]["token"]
            notes = [{"title": "x", "private": True}] * 1000
            assert ask(port, "POST", f"/info/{user['id']}", notes, token)[0] == 201
            assert len(kept(url, user["id"])["items"]) == 1000
            # when it ends, and those who are to delete it are killed again and again in the midst of it
            assert ask(port, "POST", "/auth/delete", {"password": PASSWORD}, token)[0] == 204
        for _ in range(4):
            before = len(kept(url, user["id"]).get("items", ()))
            with ExitStack() as next:
                run(next, "auth", "store")
                eventually(lambda: len(kept(url, user["id"]).get("items", ())) < max(before, 1))  # noqa: B023
        # then all of it goes all the same
        with ExitStack() as last:
            run(last, "auth", "store")
            eventually(lambda: set(kept(url, user["id"])) <= {"users"})
            assert ask(port, "POST", "/auth/login", account)[0] == 401
            assert ask(port, "POST", "/auth/register", account)[0] == 201


def _lives(port: int) -> bool:
    try:
        return ask(port, "GET", "/readyz")[0] == 200
    except OSError:
        time.sleep(0.05)
        return False


@pytest.mark.usefixtures("parser")
def test_a_client_that_has_asked_for_all_it_wants_gets_the_whole_file(
    ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PART", 1)
    ids = ada.ask("POST", f"/info/{ada.user['id']}", [{"title": f"t{n}"} for n in range(60)]).json["ids"]
    # given a client that closes its side while the file is written
    with closing(Connection(ada.site.port)) as connection:
        connection.request("GET", "/auth/export", Authorization=f"Bearer {ada.token}")
        received = connection.socket.recv(100)
        connection.socket.shutdown(socket.SHUT_WR)
        # when it reads on, then nothing is missing
        while data := connection.socket.recv(1 << 16):
            received += data
    found = json.loads(received.partition(b"\r\n\r\n")[2])
    assert sorted(note["id"] for note in found["notes"]) == sorted(ids)
