"""Notifications in browsers: a browser subscribes, and its push service is handed what only that browser can read."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gorgond.auth.records import owned_filters
from gorgond.notifiers import push, targeted
from gorgond.notifiers.webpush import packed, unpacked
from gorgond.outside.http import HttpClient
from gorgond.redpill import Attempts, now_ms
from gorgond.roles import notify
from tests.conftest import RedisServer
from tests.integration.receiver import OK, Received, Receiver, Script, status
from tests.integration.telling import COMMENT
from tests.integration.test_email import at_broker, stored
from tests.integration.test_notifications import APPS, Reader, kept, tell
from tests.integration.website import Website
from tests.waiting import eventually, eventually_async

QUEUE = "notify_put:push"
HOST = "hook.example"
CONTACT = "mailto:ops@notes.example"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_numbers = count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A push service."""
    with Receiver(tmp_path_factory.mktemp("service")).running() as receiver:
        yield receiver


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def house(
    request: pytest.FixtureRequest,
    module_redis: RedisServer,
    service: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Website]:
    """On each database."""
    directory = tmp_path_factory.mktemp("push")
    store = f"sqlite:///{directory}/test.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "push"
    module_redis.cli("FLUSHALL")
    with pushing(module_redis.url, directory, service, store) as house:
        yield house


@contextmanager
def pushing(broker: str, directory: Path, service: Receiver, store: str, instance: str = "1") -> Iterator[Website]:
    """A website that notifies in browsers whose push service this is: its name leads to this host."""
    conf = directory / "gorgond.conf"
    conf.write_text(f"[notify.push]\nkind = push\ncontact = {CONTACT}\nrate = 60000\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(service.trusted))
        look_up = lambda _, port, family: [(2, ("127.0.0.1", port))]  # noqa: E731
        patch.setattr(push, "HttpClient", partial(HttpClient, allowed=[ip_network("127.0.0.0/8")], look_up=look_up))
        for each in (notify, targeted):
            patch.setattr(each, "PATIENT", Attempts(most=1_000_000, first=0.05, longest=0.2))
        often = "100000"
        with Website(
            broker, directory, instance=instance, conf=str(conf), store__url=store, app__module=APPS,
            auth__address_attempts=often,
        ) as house:  # fmt: skip
            yield house


@pytest.fixture
def nora(house: Website, service: Receiver) -> Iterator[Reader]:
    yield Reader(house)
    service.answer = lambda _: OK
    service.received.clear()


class Device:
    """A browser: its keys, and its address at the push service."""

    def __init__(self, service: Receiver) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._secret = bytes(range(16))
        self._service = service
        self.path = f"/push/{next(_numbers)}"
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.subscription = {
            "endpoint": service.url(self.path, HOST), "expirationTime": None, "agent": AGENT,
            "keys": {"p256dh": packed(point), "auth": packed(self._secret)},
        }  # fmt: skip

    def told(self, reader: Reader) -> str:
        """Subscribe: its id."""
        answer = reader.ask("POST", "/me/notifications/browsers", self.subscription)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    @property
    def received(self) -> list[Received]:
        return self._service.of(self.path)

    def read(self, received: Received) -> Any:
        return json.loads(http_ece.decrypt(received.body, private_key=self._key, auth_secret=self._secret))

    def shown(self, number: int) -> list[Any]:
        """What it is told when that is so many."""
        eventually(lambda: len(self.received) >= number)
        return [self.read(each) for each in self.received]


def quiet(house: Website) -> bool:
    counts = at_broker(house, lambda link: link.counts(["notify_put", QUEUE]))
    return all(each.queued == each.in_flight == each.delayed == 0 for each in counts)


def dead(house: Website) -> list[str]:
    return [letter.reason for letter in at_broker(house, lambda link: link.dead(QUEUE))]


def listed(reader: Reader) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reader.ask("GET", "/me/notifications/browsers").json["browsers"]
    return found


def public_key(reader: Reader) -> str:
    found: str = eventually(lambda: reader.ask("GET", "/me/notifications/browsers").json["key"])
    return found


def test_each_browser_of_a_user_is_told_once_what_it_alone_can_read(
    house: Website, nora: Reader, service: Receiver
) -> None:
    # given a user in two browsers, who subscribed with our key
    key = public_key(nora)
    devices = [Device(service), Device(service)]
    ids = [device.told(nora) for device in devices]
    assert [each["id"] for each in listed(nora)] == ids
    # when something happens
    id = tell(house, nora.id, data={"title": "A comment", "text": "on Sourdough", "url": "/note/7"})
    # then each is told that, once
    for device in devices:
        assert device.shown(1) == [{"id": id, "title": "A comment", "text": "on Sourdough", "url": "/note/7"}]
    eventually(lambda: quiet(house))
    assert len(service.received) == 2
    # and the push service is told that we are who they subscribed to, and that a repeat is one
    for received in service.received:
        headers = received.headers
        assert headers["topic"] == id
        assert 4 * 86400 < int(headers["ttl"]) <= 5 * 86400
        assert headers["content-encoding"] == "aes128gcm"
        token, told = re.fullmatch(r"vapid t=(\S+), k=(\S+)", headers["authorization"]).groups()  # type: ignore[union-attr]
        assert told == key
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpacked(key))
        claims = jwt.decode(token, point, ["ES256"], audience=f"https://{HOST}:{service.port}")
        assert claims["sub"] == CONTACT
        assert 0 < claims["exp"] - time.time() <= 86400


def test_all_servers_sign_with_the_same_key(
    house: Website, nora: Reader, service: Receiver, module_redis: RedisServer, tmp_path: Path
) -> None:
    device, key = Device(service), public_key(nora)
    device.told(nora)
    # given one more notification server, which has come later
    with pushing(module_redis.url, tmp_path, service, house.config.store.url, "2"):
        for _ in range(20):
            tell(house, nora.id)
        device.shown(20)
    assert {received.headers["authorization"].rpartition("k=")[2] for received in device.received} == {key}
    assert public_key(nora) == key


def test_who_names_browsers_that_hang_keeps_nobody_waiting(
    house: Website, nora: Reader, service: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targeted, "BUSY", 0.05)
    [server] = (each for each in house._services if isinstance(each, notify.NotificationServer))
    [notifier] = server._notifiers
    monkeypatch.setattr(notifier._client, "_seconds", 600.0)  # type: ignore[attr-defined]
    released, held = threading.Event(), set[str]()

    async def hold(writer: asyncio.StreamWriter) -> None:
        await eventually_async(released.is_set)
        await OK(writer)

    def answer(received: Received) -> Script:
        if received.path == there.path:
            return OK
        if len(service.of(received.path)) == 1:
            return status(503)
        held.add(received.path)
        return hold

    # given a user with many browsers, at push services that fail, and hang when they are tried again
    service.answer = answer
    mallory, there = Reader(house), Device(service)
    devices = [Device(service) for _ in range(targeted.AT_ONCE + 4)]
    for device in devices:
        device.told(mallory)
    there.told(nora)
    tell(house, mallory.id)
    eventually(lambda: len(held) == targeted.AT_ONCE)
    # when somebody else is told something, then they are, while those hang, of which there are no more than may be
    tell(house, nora.id)
    there.shown(1)
    assert len(held) == targeted.AT_ONCE
    # and when they do not hang any more, then each has it
    released.set()
    eventually(lambda: quiet(house))
    assert {device.path for device in devices} == held


@pytest.mark.parametrize("code", [404, 410])
def test_a_browser_that_has_unsubscribed_is_forgotten(
    house: Website, nora: Reader, service: Receiver, code: int
) -> None:
    gone, there = Device(service), Device(service)
    gone.told(nora)
    kept_id = there.told(nora)
    service.answer = lambda received: status(code) if received.path == gone.path else OK
    before = dead(house)
    # when its push service says so
    tell(house, nora.id)
    there.shown(1)
    # then it is not in the list any more, and is sent nothing again; that is no fault that anybody would look at
    eventually(lambda: [each["id"] for each in listed(nora)] == [kept_id])
    tell(house, nora.id)
    there.shown(2)
    eventually(lambda: quiet(house))
    assert len(gone.received) == 1
    assert dead(house) == before


def test_what_is_put_off_comes_again_as_the_same(house: Website, nora: Reader, service: Receiver) -> None:
    device = Device(service)
    device.told(nora)
    said = iter([status(503), status(429, "Retry-After: 1")])
    service.answer = lambda _: next(said, OK)
    id = tell(house, nora.id)
    assert [each["id"] for each in device.shown(3)] == [id] * 3
    assert device.received[2].at - device.received[1].at >= 0.9
    assert {received.headers["topic"] for received in device.received} == {id}
    eventually(lambda: quiet(house))
    assert len(device.received) == 3


def test_what_was_put_off_waits_for_the_end_of_quiet_hours_that_began_meanwhile(
    house: Website, nora: Reader, service: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given one that a push service puts off
    device = Device(service)
    device.told(nora)
    service.answer = lambda _: status(503)
    id = tell(house, nora.id)
    eventually(lambda: device.received)
    # when quiet hours begin, and the service takes all again
    end: list[int] = []
    asked: list[int] = []

    def until(_: Any, now: int) -> int:
        asked.append(now)
        return now + 300 if not end or now < end[0] else 0

    monkeypatch.setattr("gorgond.notifiers.delivering.quiet_until", until)
    eventually(lambda: len(asked) > 1)  # what was on its way has come
    service.answer = lambda _: OK
    before, already = len(device.received), len(asked)
    # then it is not told until they end
    eventually(lambda: len(asked) > already + 2)
    assert len(device.received) == before
    end.append(now_ms())
    assert device.shown(before + 1)[-1]["id"] == id


def test_what_is_refused_is_a_dead_letter_with_the_code(
    house: Website, nora: Reader, service: Receiver, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("gives up 1 message of notify_put:push: the push service .* says 403")
    device = Device(service)
    id = device.told(nora)
    service.answer = lambda _: status(403)
    tell(house, nora.id)
    words = f"the push service {HOST}:{service.port} says 403"
    eventually(lambda: words in dead(house))
    assert [each["id"] for each in listed(nora)] == [id]


def test_a_large_notification_is_told_in_short(house: Website, nora: Reader, service: Receiver) -> None:
    device = Device(service)
    device.told(nora)
    tell(house, nora.id, data={"title": "Title " + "t" * 2000, "text": "é" * 5000, "url": "/note/" + "7" * 2000})
    [shown] = device.shown(1)
    assert len(device.received[0].body) <= 4096
    assert shown["title"].startswith("Title tttt")
    assert shown["text"].startswith("éééé")
    assert shown["url"] == ""


def test_what_is_not_wanted_or_not_there_any_more_is_not_sent(house: Website, nora: Reader, service: Receiver) -> None:
    device = Device(service)
    id = device.told(nora)
    # given one that comes again and again
    service.answer = lambda _: status(503)
    tell(house, nora.id)
    eventually(lambda: device.received)
    # when its user switches the channel off, or removes the browser
    nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/push", {"on": False})
    service.answer = lambda _: OK
    eventually(lambda: quiet(house))
    sent = len(device.received)
    nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/push", {"on": True})
    service.answer = lambda _: status(503)
    tell(house, nora.id)
    eventually(lambda: len(device.received) > sent)
    assert nora.ask("DELETE", f"/me/notifications/browsers/{id}").status == 204
    service.answer = lambda _: OK
    eventually(lambda: quiet(house))
    # then it was refused each time, and never sent, and nobody waits for it any more
    assert listed(nora) == []
    found = stored(house, "deliveries", owned_filters(nora.id)["deliveries"])
    assert {each["state"] for each in found} <= {"off", "sent"}  # one may have been on its way just then
    sent = len(device.received)
    tell(house, nora.id)
    eventually(lambda: quiet(house))
    assert len(device.received) == sent


def test_who_uses_a_browser_now_is_told_there_and_nobody_else(house: Website, nora: Reader, service: Receiver) -> None:
    device, ben = Device(service), Reader(house)
    device.told(nora)
    # when somebody else subscribes in the same browser
    device.told(ben)
    device.told(ben)
    assert listed(nora) == []
    assert len(listed(ben)) == 1
    tell(house, nora.id)
    id = tell(house, ben.id)
    assert [each["id"] for each in device.shown(1)] == [id]
    eventually(lambda: quiet(house))
    assert len(device.received) == 1


def test_all_of_it_is_its_users_to_see_take_along_and_end(house: Website, nora: Reader, service: Receiver) -> None:
    # given a browser, then the page has it by name, and removes it without JavaScript
    id = Device(service).told(nora)
    page = nora.browser.get("/notifications/preferences")
    assert "Firefox on Linux" in page
    assert f'data-key="{public_key(nora)}"' in page
    other = Reader(house)
    assert other.ask("DELETE", f"/me/notifications/browsers/{id}").error["code"] == 404
    assert "You are told there no more." in nora.browser.send(f"/notifications/browsers/{id}")
    assert listed(nora) == []
    # and it is among what one takes along, without what only the browser has to know
    device = Device(service)
    device.told(nora)
    connection = HTTPConnection("127.0.0.1", house.port, timeout=60)
    connection.request("GET", "/auth/export", headers={"Cookie": nora.browser.cookie})
    exported = connection.getresponse().read().decode()
    connection.close()
    assert [each["agent"] for each in json.loads(exported)["browsers"]] == [AGENT]
    assert device.path not in exported
    # and ends with the account
    assert "browsers" in kept(house, nora.id)
    nora.ask("POST", "/auth/delete", {"password": "correct horse battery staple"})
    eventually(lambda: "browsers" not in kept(house, nora.id))


GOOD = {"p256dh": packed(b"\4" + bytes(64)), "auth": packed(bytes(16))}


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ({"endpoint": "http://push.example/1"}, "endpoint"), ({"endpoint": "https://a:b@push.example/1"}, "endpoint"),
        ({"endpoint": "https://127.0.0.1/1"}, "endpoint"), ({"endpoint": "https://localhost/1"}, "endpoint"),
        ({"endpoint": "https://push.example/" + "x" * 2000}, "endpoint"), ({"endpoint": ""}, "endpoint"),
        ({"keys": {**GOOD, "p256dh": packed(bytes(65))}}, "keys"), ({"keys": {**GOOD, "p256dh": "é"}}, "keys"),
        ({"keys": {**GOOD, "auth": packed(bytes(15))}}, "keys"), ({"keys": {"auth": GOOD["auth"]}}, "keys"),
    ],
)  # fmt: skip
def test_what_no_browser_gives_is_refused(house: Website, nora: Reader, what: dict[str, Any], field: str) -> None:
    good = {"endpoint": "https://push.example/1", "keys": GOOD}
    answer = nora.ask("POST", "/me/notifications/browsers", {**good, **what})
    assert answer.error["code"] == 400
    assert field in answer.error["message"]
    missing = nora.ask("POST", "/me/notifications/browsers", {name: good[name] for name in good if name != field})
    assert missing.error["code"] == 400
    assert house.ask("POST", "/me/notifications/browsers", good).status == 401
    assert listed(nora) == []


def test_a_user_has_so_many_browsers_and_no_more(nora: Reader, service: Receiver) -> None:
    devices = [Device(service) for _ in range(21)]
    for device in devices[:20]:
        device.told(nora)
    devices[0].told(nora)  # which is there already
    answer = nora.ask("POST", "/me/notifications/browsers", devices[20].subscription)
    assert answer.error["code"] == 409
    assert "remove one first" in answer.error["message"]
    assert len(listed(nora)) == 20
