"""Notifications and public notes live over Socket.IO, to npm's socket.io-client: each once and in order, and nothing to
whom it is not for."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gorgond.app.notifying import document_id
from gorgond.config import load
from gorgond.live import door, items, websocket
from gorgond.redpill import Listener as Hearing
from gorgond.roles import notify
from gorgond.roles.notify import NotificationServer
from gorgond.stores import open_store
from gorgond.stores.contract import Write
from tests.conftest import RedisServer
from tests.integration.browsing import PASSWORD
from tests.integration.listening import Rough, client, listening
from tests.integration.telling import COMMENT
from tests.integration.website import Website
from tests.waiting import eventually, eventually_async

pytest.importorskip("socketio")

APPS = "gorgond.app.notes tests.integration.telling"


class Someone:
    """A user with a session."""

    def __init__(self, house: Website, name: str) -> None:
        self._house = house
        self._login = {"email": f"{name}-{time.monotonic_ns()}@notes.example", "password": PASSWORD}
        registered = house.ask("POST", "/auth/register", {**self._login, "name": name})
        assert registered.status == 201, registered.body
        self.id: str = registered.json["id"]
        self.token = self.login()

    def login(self) -> str:
        token: str = self._house.ask("POST", "/auth/login", self._login).json["token"]
        return token

    def ask(self, method: str, target: str, body: Any = None) -> Any:
        answer = self._house.ask(method, target, body, Authorization=f"Bearer {self.token}")
        assert answer.status < 300, answer.body
        return answer.json if answer.body else None

    def tell(self, **what: Any) -> None:
        """Have the user notified."""
        assert self._house.ask("POST", "/tell", {"user": self.id, "kind": COMMENT, **what}).status == 200

    def told(self, count: int, **what: Any) -> None:
        """The same so many times, one after another."""
        for _ in range(count):
            self.tell(**what)

    def fill(self, store: str, first: int, last: int) -> None:
        """Put notifications of these numbers into the inbox."""
        writes = []
        for number in range(first, last + 1):
            document = {
                "id": document_id(self.id, number), "userid": self.id, "nid": f"n{number}", "kind": COMMENT,
                "title": "t", "data": "{}", "at": 1, "read": False,
            }  # fmt: skip
            writes.append(Write("insert", "notifications", str(document["id"]), 1, document))
        database = open_store(store)
        try:
            database.change(writes)
        finally:
            database.close()


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def house(
    request: pytest.FixtureRequest, module_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Website]:
    """On each database, over a Redis that keeps what was accepted."""
    directory = tmp_path_factory.mktemp("live")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "live"
    module_redis.cli("FLUSHALL")
    with Website(module_redis.url, directory, store__url=store, app__module=APPS, web__deadline="60s") as house:
        yield house


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is no client that does not enter."""
    monkeypatch.setattr(websocket, "ENTER", 600.0)
    monkeypatch.setattr(notify, "ANSWER_MS", 60_000)


@pytest.fixture
def nora(house: Website) -> Someone:
    return Someone(house, "nora")


def server_of(house: Website) -> NotificationServer:
    (found,) = (each for each in house._services if isinstance(each, NotificationServer))
    return found


def url(house: Website) -> str:
    return f"http://localhost:{server_of(house).port}"


def test_each_is_told_in_order_and_once(house: Website, nora: Someone) -> None:
    # given two clients of the same user, of whom one has seen the first of two, and somebody else's
    bob = Someone(house, "bob")
    for _ in range(2):
        nora.tell()
    eventually(lambda: len(nora.ask("GET", "/me/notifications")["notifications"]) == 2)
    clients = [
        client(token=nora.token, since=1), client("fresh", token=nora.token), client("bob", token=bob.token, since=0)
    ]  # fmt: skip
    with listening(url(house), clients) as heard:
        assert heard.wait("ready", name="fresh") == [{"number": 2}]
        assert heard.wait("ready", name="bob") == [{"number": 0}]
        # when more come
        nora.told(30, data={"text": "ö 日本"})
        # then all that came after the first are told, in order, once; and to who said nothing, what came since
        heard.wait("notification", 31)
        heard.wait("notification", 30, "fresh")
        assert heard.numbers() == list(range(2, 33))
        assert heard.numbers("fresh") == list(range(3, 33))
        last = heard.of("notification")[-1]
        assert (last["kind"], last["data"], last["read"]) == (COMMENT, {"text": "ö 日本"}, False)
        # and what is read
        nora.ask("POST", "/me/notifications/32/read")
        nora.ask("POST", "/me/notifications/read")
        assert heard.wait("read", 2) == heard.wait("read", 2, "fresh") == [{"number": 32}, {"until": 32}]
        # and nobody else of it
        assert [each["event"] for each in heard.told if each["name"] == "bob"] == ["connect", "ready"]


def test_who_missed_some_is_told_and_who_missed_too_many_reads_the_inbox(house: Website, nora: Someone) -> None:
    nora.fill(house.config.store.url, 1, 1200)
    clients = [
        client("most", token=nora.token, since=201), client("more", token=nora.token, since=200),
        client("none", token=nora.token, since=5000), client("zero", token=nora.token, since=0),
    ]  # fmt: skip
    with listening(url(house), clients) as heard:
        # then 999 are told, more than a client may have waiting for it
        heard.wait("ready", name="most")
        assert heard.numbers("most") == list(range(202, 1201))
        # and who missed more, or says a number that nobody knows, is told to begin anew
        for name in ("more", "none", "zero"):
            assert heard.wait("reset", name=name) == [{"number": 1200}]
            assert heard.numbers(name) == []
        # and goes on from there
        nora.tell()
        for name in ("most", "more", "none", "zero"):
            eventually(partial(lambda each: heard.numbers(each)[-1:] == [1201], name))
        assert not heard.of("disconnect", "most")


def test_one_who_missed_an_event_is_told_from_the_store(
    house: Website, nora: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(url(house), [client(token=nora.token, since=0)]) as heard:
        for number in (1, 2):  # the second is heard of
            nora.tell()
            heard.wait("notification", number)
        # given that the listener loses what happens
        lost: list[bytes] = []
        with monkeypatch.context() as patch:
            patch.setattr(Hearing, "_hear", lambda _, __, raw: lost.append(raw))
            nora.tell()
            eventually(lambda: any(b"notify.added" in raw for raw in lost))
        # when the next one happens, then both are told
        nora.tell()
        heard.wait("notification", 4)
        assert heard.numbers() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("auth", "code", "says"),
    [
        ({"token": "nobody's"}, 401, "this session has ended"),
        ({}, 401, "must be {token, since}"),
        ({"token": 5}, 401, "must be {token, since}"),
        ({"token": "t" * 300}, 401, "must be {token, since}"),
        ({"since": "none"}, 400, "since: must be a whole number"),
        ({"since": -1}, 400, "since: must be a whole number"),
        ({"since": True}, 400, "since: must be a whole number"),
    ],
)
def test_who_does_not_say_who_it_is_is_not_let_in(
    house: Website, nora: Someone, auth: dict[str, Any], code: int, says: str
) -> None:
    given = {"token": nora.token} | auth if "since" in auth else auth
    with listening(url(house), [{"name": "nora", "auth": given}]) as heard:
        (error,) = heard.wait("connect_error")
        assert error["data"] == {"code": code}
        assert says in error["message"]
        assert error["active"] is False  # it does not try again


def test_polling_is_told_what_to_set(house: Website, nora: Someone) -> None:
    options = {"transports": ["polling"], "reconnection": False}
    with listening(url(house), [client(token=nora.token) | {"options": options}]) as heard:
        (error,) = heard.wait("connect_error")
        assert error["status"] == 400
        assert json.loads(error["said"])["error"] == {"code": 400, "message": websocket.POLLING}
    connection = HTTPConnection("127.0.0.1", server_of(house).port, timeout=60)
    for method, target, status, says in (
        ("POST", "/socket.io/?EIO=4&transport=polling", 400, "transports: ['websocket'], or read /me/notifications"),
        ("GET", "/socket.io/?EIO=3&transport=websocket", 400, "Engine.IO 4"),
        ("GET", "/socket.io/?EIO=4&transport=websocket&sid=x", 400, "websocket only"),
        ("GET", "/", 404, "/socket.io/"),
    ):
        connection.request(method, target)
        answer = connection.getresponse()
        assert (answer.status, says in json.loads(answer.read())["error"]["message"]) == (status, True), target
    connection.close()


def test_a_session_that_ends_is_cut_at_once(house: Website, nora: Someone) -> None:
    other = nora.login()
    with listening(url(house), [client(token=nora.token), client("other", token=other)]) as heard:
        for name in ("nora", "other"):
            heard.wait("ready", name=name)
        # when one logs out, then it is cut, and told why when it comes again
        nora.ask("POST", "/auth/logout")
        assert heard.wait("disconnect") == ["transport close"]
        assert heard.wait("connect_error")[0]["data"] == {"code": 401}
        # and the other goes on
        nora.tell()
        heard.wait("notification", name="other")
        assert not heard.of("notification")
        # when all of a user's sessions end, then that is too
        nora.token = other
        nora.ask("POST", "/auth/delete", {"password": PASSWORD})
        assert heard.wait("connect_error", name="other")[0]["data"] == {"code": 401}


def test_a_session_whose_end_nobody_heard_of_is_asked_about(
    house: Website, nora: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "CHECKED", 0.5)
    with listening(url(house), [client(token=nora.token)]) as heard:
        heard.wait("ready")
        with monkeypatch.context() as patch:
            patch.setattr(door.Door, "hear_session", lambda *_: None)
            nora.ask("POST", "/auth/logout")
            assert heard.wait("connect_error")[0]["data"] == {"code": 401}


def test_a_session_that_ends_while_its_client_is_let_in_is_cut(
    house: Website, nora: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance = server_of(house)._door
    known = entrance._user_of

    async def known_until_now(session: str) -> str:
        user = await known(session)
        monkeypatch.setattr(entrance, "_user_of", known)
        heard = entrance._endings
        await asyncio.to_thread(nora.ask, "POST", "/auth/logout")
        await eventually_async(lambda: entrance._endings > heard)
        return user

    # given a session that ends when it was found to last, before its client is among those that are told
    monkeypatch.setattr(entrance, "_user_of", known_until_now)
    # then the client is cut all the same
    with listening(url(house), [client(token=nora.token)]) as heard:
        assert heard.wait("connect_error")[0]["data"] == {"code": 401}


# ---- bounds


def test_who_takes_nothing_is_cut_and_others_are_told(house: Website, nora: Someone) -> None:
    with (
        Rough(server_of(house).port, buffer=4096) as stalled,
        listening(url(house), [client(token=nora.token, since=0)]) as heard,
    ):
        stalled.enter(nora.token)
        heard.wait("ready")
        # when much comes that one of them does not take
        nora.told(40, data="x" * 19_000)
        heard.wait("notification", 40)
        # then that one is cut, and got no more than what may wait for it
        eventually(lambda: len(server_of(house)._door._clients) == 1)
        assert stalled.rest() < websocket.BYTES_WAITING_MAX + 4 * websocket.KERNEL_BUFFER
        assert heard.numbers() == list(range(1, 41))
        assert not heard.of("disconnect")


def test_who_takes_no_small_packets_is_cut_by_their_number(
    house: Website, nora: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "KERNEL_BUFFER", 4096)
    monkeypatch.setattr(websocket, "PACKETS_WAITING_MAX", 20)
    with Rough(server_of(house).port, buffer=4096) as stalled:
        stalled.enter(nora.token)
        nora.told(100, data="x" * 300)
        eventually(lambda: not server_of(house)._door._clients)


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([b"42" + json.dumps(["x", "x" * websocket.PACKET_MAX]).encode()], id="too large"),
        pytest.param([b"451-[]"], id="with an attachment"),
        pytest.param([b"hello"], id="no packet"),
        pytest.param([b""], id="nothing"),
        pytest.param([b"40{}", b"40{}"], id="asks twice"),
        pytest.param([b"\xff\xfe"], id="no text"),
    ],
)
def test_who_sends_what_no_client_sends_is_cut(house: Website, packets: list[bytes]) -> None:
    with Rough(server_of(house).port) as rough:
        assert rough.status == 101
        for packet in packets:
            rough.send(packet)
        rough.rest()
    with Rough(server_of(house).port) as rough:
        rough.send(b"4", opcode=2)
        rough.rest()


@pytest.mark.parametrize("packet", [b"42", b"42x", b'42["nope",1]', b"42" + b"[" * 60_000, b"40/admin,", b"43", b"41"])
def test_what_makes_no_sense_hurts_nobody_else(house: Website, nora: Someone, packet: bytes) -> None:
    with (
        listening(url(house), [client(token=nora.token, since=0)]) as heard,
        Rough(server_of(house).port) as rough,
    ):
        heard.wait("ready")
        if not packet.startswith(b"40"):
            rough.enter(nora.token)
        rough.send(packet)
        nora.tell()
        heard.wait("notification")


def test_who_does_not_enter_is_cut(house: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "ENTER", 0.2)
    with Rough(server_of(house).port) as rough:
        assert rough.read().startswith(b"0")
        rough.rest()


def test_there_are_so_many_and_no_more(house: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "CLIENTS_MAX", 1)
    eventually(lambda: not server_of(house)._door._clients)
    with Rough(server_of(house).port) as first:
        assert first.status == 101
        with Rough(server_of(house).port) as second:
            assert second.status == 503


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 101), ("http://evil.example", 403), ("http://[", 403), ("null", 403), ("", 101)],
)
def test_pages_of_this_host_alone_may_connect(house: Website, origin: str, status: int) -> None:
    with Rough(server_of(house).port, origin) as rough:
        assert rough.status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://notes.example", 101), ("http://notes.example", 403), ("https://shop.example:8443", 101),
        ("https://shop.example", 403), ("http://localhost:3000", 403),
    ],
)  # fmt: skip
def test_pages_of_the_site_and_of_those_that_are_named_may_connect(
    house: Website, monkeypatch: pytest.MonkeyPatch, origin: str, status: int
) -> None:
    port = server_of(house)._door
    settings = {"web.url": "https://notes.example", "notify.origins": "https://shop.example:8443 http://b.example"}
    told = load(os.devnull, {}, settings)
    other = door.Door(port._user_of, port._store, lambda *_: None, lambda *_: None, told)  # type: ignore[arg-type]
    for name in ("_origins", "_anywhere_here"):
        monkeypatch.setattr(port, name, getattr(other, name))
    with Rough(server_of(house).port, origin) as rough:
        assert rough.status == status


def test_where_the_library_is_missing_the_rest_is_done_and_the_status_says_so(
    durable: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "socketio", None)
    with Website(durable.url, tmp_path, app__module=APPS) as house:
        assert server_of(house).doing().endswith(f"; port {server_of(house).port}: {door.MISSING}")
        connection = HTTPConnection("127.0.0.1", server_of(house).port, timeout=60)
        connection.request("GET", "/socket.io/?EIO=4&transport=websocket")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["message"]) == (503, door.MISSING)
        connection.close()
        nora = Someone(house, "nora")
        nora.tell()
        eventually(lambda: len(nora.ask("GET", "/me/notifications")["notifications"]) == 1)


# ---- notes


def note(house: Website, uid: int, **fields: Any) -> str:
    """Have a note added: its id."""
    answer = house.ask("POST", f"/info/{uid}", {"title": "a note", **fields})
    assert answer.status == 201, answer.body
    id: str = answer.json["ids"][0]
    return id


def test_public_notes_of_a_user_or_with_a_keyword(house: Website, nora: Someone) -> None:
    clients = [client(token=nora.token), client("words", token=nora.token)]
    with listening(url(house), clients) as heard:
        for name in ("nora", "words"):
            heard.wait("ready", name=name)
        # given somebody who wants the notes of a user, and somebody who wants those with a word
        assert heard.ask("subscribe", {"user": 7001}) == {"ok": True}
        assert heard.ask("subscribe", {"keyword": "Sourdough"}, "words") == {"ok": True}
        # when notes are added
        first = note(house, 7001)
        second = note(house, 7002, keywords=["SOURDOUGH", "rye"])
        note(house, 7002, keywords=["rye"])
        third = note(house, 7001, keywords=["sourdough"])
        # then each is told those, whole
        assert [each["id"] for each in heard.wait("item", 2)] == [first, third]
        assert [each["id"] for each in heard.wait("item", 2, "words")] == [second, third]
        assert heard.of("item")[0]["title"] == "a note"
        # when one is patched, then it is told as it is
        house.ask("PATCH", f"/items/{first}", {"title": "another"})
        assert heard.wait("item", 3)[2]["title"] == "another"
        # when nothing more is wanted, then nothing more is told
        assert heard.ask("unsubscribe", {"user": 7001}) == {"ok": True}
        note(house, 7001, keywords=["sourdough"])
        heard.wait("item", 3, "words")
        assert len(heard.of("item")) == 3


def test_what_is_private_is_told_to_nobody(house: Website, nora: Someone) -> None:
    clients = [client(token=nora.token)]
    with listening(url(house), clients) as heard:
        heard.wait("ready")
        assert heard.ask("subscribe", {"user": int(nora.id)}) == {"ok": True}
        # given a private note, added, patched, replaced
        hidden = nora.ask("POST", f"/info/{nora.id}", {"title": "private", "private": True})["ids"][0]
        nora.ask("PATCH", f"/items/{hidden}", {"title": "still private"})
        # when another one comes after that, and one becomes private
        shown = nora.ask("POST", f"/info/{nora.id}", {"title": "shown"})["ids"][0]
        nora.ask("PATCH", f"/items/{shown}", {"title": "hidden", "private": True})
        last = nora.ask("POST", f"/info/{nora.id}", {"title": "the last"})["ids"][0]
        nora.ask("PATCH", f"/items/{last}", {"title": "the very last"})
        # then only what is public is told
        eventually(lambda: "the very last" in [each["title"] for each in heard.of("item")])
        assert {each["title"] for each in heard.of("item")} == {"shown", "the last", "the very last"}


@pytest.mark.parametrize(
    "wanted",
    [None, {}, {"user": "5"}, {"user": -1}, {"keyword": ""}, {"keyword": "x" * 200}, {"user": 1, "keyword": "x"}, [1]],
)
def test_what_cannot_be_subscribed_to_is_refused(house: Website, nora: Someone, wanted: Any) -> None:
    with listening(url(house), [client(token=nora.token)]) as heard:
        heard.wait("ready")
        for emit in ("subscribe", "unsubscribe"):
            error = heard.ask(emit, wanted)["error"]
            assert (error["code"], "must be {user: a number}" in error["message"]) == (400, True)


def test_a_client_has_so_many_subscriptions(house: Website, nora: Someone) -> None:
    with listening(url(house), [client(token=nora.token)]) as heard:
        heard.wait("ready")
        for number in range(items.EACH_MAX):
            assert heard.ask("subscribe", {"user": number}) == {"ok": True}
        assert heard.ask("subscribe", {"user": 0}) == {"ok": True}
        assert "20 subscriptions" in heard.ask("subscribe", {"user": 99})["error"]["message"]


def test_who_missed_notes_is_told_so(
    house: Website, nora: Someone, module_redis: RedisServer, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(r"broker .* (is away|is back)")
    with listening(url(house), [client(token=nora.token)]) as heard:
        heard.wait("ready")
        assert heard.ask("subscribe", {"user": 7003}) == {"ok": True}
        module_redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
        assert heard.wait("missed") == [{}]
        id = note(house, 7003)
        assert [each["id"] for each in heard.wait("item")] == [id]
