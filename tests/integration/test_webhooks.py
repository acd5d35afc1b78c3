"""Webhooks: notifications sent to endpoints of users' own, over TLS, signed as the specification has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gorgond.notifiers.webhook import WebhookNotifier
from gorgond.redpill import now_ms
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer, left_out
from tests.integration.receiver import OK, Received, Receiver, drips, floods, hangs, says, status
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_email import at_broker
from tests.integration.test_gorgonctl_notifications import ctl
from tests.integration.test_notifications import APPS, Reader, tell
from tests.integration.website import Website
from tests.waiting import eventually

__all__ = ["ctl"]

PLACE = "/me/notifications/endpoints"
QUEUE = "notify_put:webhook"
NODE = Path.home() / ".cache/gorgond/node"
SCHEDULE = (0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with Receiver(tmp_path_factory.mktemp("receiver")).running() as receiver:
        yield receiver


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def house(
    request: pytest.FixtureRequest,
    module_redis: RedisServer,
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("webhooks")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "webhooks"
    module_redis.cli("FLUSHALL")
    conf = directory / "gorgond.conf"
    conf.write_text("[notify.webhook]\nkind = webhook\nrate = 1000000\nallow = 127.0.0.1/32\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(receiver.trusted))
        patch.setattr(WebhookNotifier, "schedule", SCHEDULE)
        with Website(
            module_redis.url, directory, conf=str(conf), store__url=store, app__module=APPS,
            auth__address_attempts="100000",
        ) as house:  # fmt: skip
            yield house


@pytest.fixture
def nora(house: Website, receiver: Receiver) -> Iterator[Reader]:
    yield Reader(house)
    receiver.answer = lambda _: OK
    eventually(lambda: quiet(house))
    receiver.received.clear()


def in_broker(house: Website) -> int:
    """Messages of the channel that lie in the broker."""
    counts = at_broker(house, lambda link: link.counts([QUEUE]))[0]
    return int(counts.queued + counts.in_flight + counts.delayed)


def quiet(house: Website) -> bool:
    """Whether nothing is under way, nor waits to be sent."""
    counts = at_broker(house, lambda link: link.counts(["notify_put", QUEUE]))
    return all(each.queued == each.in_flight == each.delayed == 0 for each in counts)


def add(reader: Reader, receiver: Receiver, path: str, **more: Any) -> dict[str, Any]:
    """An endpoint at this path of the receiver."""
    answer = reader.ask("POST", PLACE, {"url": receiver.url(path, "127.0.0.1"), **more})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


def endpoint(reader: Reader, made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = reader.ask("GET", f"{PLACE}/{made['id']}").json
    return found


def documents(house: Website, user: str) -> list[dict[str, Any]]:
    database = open_store(house.config.store.url)
    try:
        (found,) = database.find([Query("deliveries", {"userid": user}, (("id", 1),), 1000)])
        assert isinstance(found, bytes)
        return list(json.loads(found))
    finally:
        database.close()


def verify(received: Received, secret: str) -> Any:
    """What was received, as the specification's own library verifies it."""
    return Webhook(secret).verify(received.body, dict(received.headers))


def verify_in_node(received: Received, secret: str) -> Any:
    """The same with that of Node.js."""
    if not (NODE / "node_modules/standardwebhooks").exists():
        left_out("standardwebhooks is not installed; tools/test does it")
    script = (
        "const { Webhook } = require('standardwebhooks'); const [secret, body, headers] = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(new Webhook(secret).verify(body, headers)))"
    )
    said = json.dumps([secret, received.body.decode(), dict(received.headers)])
    done = subprocess.run(
        ["node", "-e", script, said], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "NODE_PATH": str(NODE / "node_modules")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_sent_is_signed_and_says_what_it_is(house: Website, nora: Reader, receiver: Receiver) -> None:
    # given a user with an endpoint for all kinds and one for another kind, and somebody else's
    made = add(nora, receiver, "/all")
    add(nora, receiver, "/logins", kinds=[LOGIN])
    add(Reader(house), receiver, "/others")
    # when the user is notified
    id = tell(house, nora.id, data={"title": "A comment", "text": "ü"})
    eventually(lambda: receiver.received and quiet(house))
    # then that is sent once, to whom it is for, and both libraries of the specification take it for ours
    [received] = receiver.received
    assert (received.method, received.path, received.headers["webhook-id"]) == ("POST", "/all", id)
    assert received.headers["content-type"] == "application/json"
    body = verify(received, made["secret"])
    assert body == verify_in_node(received, made["secret"]) == received.json
    assert (body["type"], body["data"]) == (COMMENT, {"title": "A comment", "text": "ü"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
    with pytest.raises(WebhookVerificationError):
        verify(received, "whsec_" + "A" * 43 + "=")
    # and its user sees what became of it
    [delivery] = endpoint(nora, made)["deliveries"]
    assert (delivery["id"], delivery["kind"], delivery["state"], delivery["tries"]) == (id, COMMENT, "sent", 1)
    assert abs(delivery["ts"] - now_ms()) < 600_000


def test_while_a_secret_is_changed_both_sign(house: Website, nora: Reader, receiver: Receiver) -> None:
    made = add(nora, receiver, "/hook")
    second = nora.ask("POST", f"{PLACE}/{made['id']}/secret").json["secret"]
    assert endpoint(nora, made)["old_secret_until"]
    tell(house, nora.id)
    [received] = eventually(lambda: receiver.received)
    for secret in (made["secret"], second):
        assert verify(received, secret) == verify_in_node(received, secret)
    # when it is changed once more, then the first one is of no use
    third = nora.ask("POST", f"{PLACE}/{made['id']}/secret").json["secret"]
    tell(house, nora.id)
    eventually(lambda: len(receiver.received) == 2)
    for secret in (second, third):
        verify(receiver.received[1], secret)
    with pytest.raises(WebhookVerificationError):
        verify(receiver.received[1], made["secret"])


@pytest.mark.parametrize(
    "script",
    [
        status(500), status(404), status(302, "Location: https://127.0.0.1/"), status(429),
        says("HTTP/1.1 nonsense\r\n\r\n"), says(""), floods("HTTP/1.1 500 No\r\nContent-Length: 1073741824\r\n\r\n"),
    ],
    ids=["500", "404", "302", "429", "nonsense", "hangs up", "gigabyte"],
)  # fmt: skip
def test_what_is_not_taken_is_sent_again_as_the_same(
    house: Website, nora: Reader, receiver: Receiver, script: Any
) -> None:
    made = add(nora, receiver, "/hook")
    receiver.answer = lambda _: script if len(receiver.received) < 4 else OK
    id = tell(house, nora.id)
    eventually(lambda: len(receiver.received) >= 4 and quiet(house))
    assert len(receiver.received) == 4
    assert {each.headers["webhook-id"] for each in receiver.received} == {id}
    assert len({each.body for each in receiver.received}) == 1
    for each in receiver.received:
        verify(each, made["secret"])
    shown = endpoint(nora, made)
    assert shown["failing"] is None
    assert [(each["state"], each["tries"], each["reason"]) for each in shown["deliveries"]] == [("sent", 4, None)]


def test_an_endpoint_that_fails_takes_one_message_of_the_broker(
    house: Website, nora: Reader, receiver: Receiver
) -> None:
    made = add(nora, receiver, "/hook")
    receiver.answer = lambda _: status(503)
    ids = {tell(house, nora.id, data=number) for number in range(30)}
    # given one that fails, then all of them wait, and that shows
    eventually(lambda: {each["state"] for each in endpoint(nora, made)["deliveries"]} == {"waiting"})
    shown = endpoint(nora, made)
    assert shown["failing"]
    assert any(each["code"] == 503 and each["reason"] == "it says 503" for each in shown["deliveries"])
    eventually(lambda: in_broker(house) < 10)  # one, and those of before that do nothing any more
    # when it is well again, then all are sent, each once
    before = len(receiver.received)
    receiver.answer = lambda _: OK
    eventually(lambda: quiet(house))
    taken = [each.headers["webhook-id"] for each in receiver.received[before:]]
    assert set(taken) <= ids
    assert len(taken) == len(set(taken))
    assert {each["state"] for each in endpoint(nora, made)["deliveries"]} == {"sent"}


def test_one_that_says_410_is_off_and_its_user_is_told_and_may_have_it_all(
    house: Website, nora: Reader, receiver: Receiver
) -> None:
    made = add(nora, receiver, "/hook")
    receiver.answer = lambda _: status(410)
    id = tell(house, nora.id)
    # then its user is told in the inbox
    told = eventually(lambda: [each for each in nora.inbox() if each["kind"] == "webhook.disabled"])
    assert len(told) == 1
    assert told[0]["data"]["url"] == f"/notifications/endpoints/{made['id']}"
    assert "410" in told[0]["data"]["text"]
    shown = endpoint(nora, made)
    assert (shown["state"], shown["reason"]) == ("off", "it says 410: nothing is to be sent there any more")
    eventually(lambda: endpoint(nora, made)["deliveries"][0]["state"] == "dead")
    # and nothing is sent there, nor can be asked for
    tell(house, nora.id)
    eventually(lambda: quiet(house))
    assert len(receiver.received) == 1
    assert nora.ask("POST", f"{PLACE}/{made['id']}/replay").error["code"] == 409
    assert nora.ask("POST", f"{PLACE}/{made['id']}/test").error["code"] == 409
    # when it is turned on and asked for what it missed, then it is sent that
    receiver.answer = lambda _: OK
    assert nora.ask("PATCH", f"{PLACE}/{made['id']}", {"state": "on"}).json["reason"] == ""
    assert nora.ask("POST", f"{PLACE}/{made['id']}/replay?since=5").status == 202
    eventually(lambda: len(receiver.received) == 2 and quiet(house))
    assert receiver.received[1].headers["webhook-id"] == id
    verify(receiver.received[1], made["secret"])


def test_the_operator_has_what_was_given_up_sent_again(
    house: Website, nora: Reader, receiver: Receiver, ctl: Callable[..., Any]
) -> None:
    made, ids = add(nora, receiver, "/hook"), []
    deliveries = partial(ctl, "list", "--user", nora.id, "--channel", "webhook", "--state", "dead", "--json")
    for _ in range(2):
        # given an endpoint that was turned off, twice, with one that it did not take each time
        receiver.answer = lambda _: status(410)
        ids.append(tell(house, nora.id))
        eventually(lambda: len(deliveries()) == len(ids))
        names = [f"{nora.id}:{id}:webhook:{made['id']}" for id in ids]
        assert {each["id"] for each in deliveries()} == set(names)
        # then nothing can be sent while it is off
        eventually(lambda: endpoint(nora, made)["state"] == "off")
        assert "is not among what was given up" in ctl("replay", names[-1])
        assert nora.ask("PATCH", f"{PLACE}/{made['id']}", {"state": "on"}).status == 200
    # when it is well, then one of them is sent again, and after that all that are left
    receiver.answer = lambda _: OK
    receiver.received.clear()
    for replayed, arguments in ((ids[0], names[:1]), (ids[1], ["--all", "--channel", "webhook", "--user", nora.id])):
        assert ctl("replay", *arguments, "--json")["done"] == [
            "1 notification put back into the queue, to be sent again"
        ]
        eventually(lambda: receiver.received and quiet(house))
        assert [each.headers["webhook-id"] for each in receiver.received] == [replayed]
        receiver.received.clear()
    assert deliveries() == []


def test_who_is_told_no_more_that_an_endpoint_is_off_may_be_told_again(nora: Reader) -> None:
    def told() -> dict[str, bool]:
        kinds = nora.ask("GET", "/me/notifications/preferences").json["kinds"]
        return {each["kind"]: each["channels"]["inbox"] for each in kinds}

    assert told()["webhook.disabled"]
    for on in (False, True):
        answer = nora.ask("PUT", "/me/notifications/preferences/webhook.disabled/inbox", {"on": on})
        assert answer.status == 200, answer.body
        assert told()["webhook.disabled"] == on


def test_a_test_is_sent_to_one_endpoint_alone(nora: Reader, receiver: Receiver) -> None:
    made = add(nora, receiver, "/one", kinds=[LOGIN])
    add(nora, receiver, "/other")
    answer = nora.ask("POST", f"{PLACE}/{made['id']}/test")
    assert answer.status == 202
    [received] = eventually(lambda: receiver.received)
    assert (received.path, received.headers["webhook-id"]) == ("/one", answer.json["id"])
    assert verify(received, made["secret"])["type"] == "webhook.test"
    assert nora.inbox() == []


def test_what_is_off_or_gone_or_not_wanted_is_sent_nothing(house: Website, nora: Reader, receiver: Receiver) -> None:
    off, gone, waiting = (add(nora, receiver, path) for path in ("/off", "/gone", "/waiting"))
    assert nora.ask("PATCH", f"{PLACE}/{off['id']}", {"state": "off"}).json["reason"] == "you have turned it off"
    assert nora.ask("DELETE", f"{PLACE}/{gone['id']}").status == 204
    assert nora.ask("GET", f"{PLACE}/{gone['id']}").error["code"] == 404
    # given one that waits to be sent
    receiver.answer = lambda _: status(500)
    tell(house, nora.id)
    eventually(lambda: endpoint(nora, waiting)["failing"])
    # when its user wants none of that kind any more
    assert nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/webhook", {"on": False}).status == 200
    sent = len(receiver.received)
    receiver.answer = lambda _: OK
    eventually(lambda: quiet(house))
    assert len(receiver.received) <= sent + 1  # one that was being handed over in that moment
    assert {each.path for each in receiver.received} == {"/waiting"}
    assert receiver.received[sent:] == [] or receiver.received[sent].at


def test_one_that_hangs_or_drips_delays_no_other(house: Website, nora: Reader, receiver: Receiver) -> None:
    good = Reader(house)
    add(good, receiver, "/good")

    def latencies() -> list[float]:
        """Seconds from the moment of telling one user until it was there."""
        found = []
        for _ in range(15):
            began = time.monotonic()
            id = tell(house, good.id)
            got = eventually(lambda id=id: [r for r in receiver.of("/good") if r.headers["webhook-id"] == id])  # type: ignore[misc]
            found.append(got[0].at - began)
        return sorted(found)

    alone = latencies()
    # given endpoints that hang, drip and flood, to which much is sent
    bad = {"/hangs": hangs, "/drips": drips("HTTP/1.1 200 OK\r\nX-"), "/floods": floods("HTTP/1.1 200 OK\r\nX-")}
    receiver.answer = lambda received: bad.get(received.path, OK)
    for path in bad:
        add(nora, receiver, path)
    for _ in range(20):
        tell(house, nora.id)
    eventually(lambda: len({each.path for each in receiver.received} & bad.keys()) == len(bad))
    beside = latencies()
    print("alone", alone, "beside", beside, [d for d in documents(house, good.id) if d.get("tries", 0) > 1])
    # then the others are sent as soon as before, but for what this machine does for them
    assert beside[len(beside) // 2] < 5 * alone[len(alone) // 2] + 1
    assert beside[-1] < alone[-1] + 10  # and not one has waited for one that hangs, which takes twenty seconds
    # and what hangs is asked by few at a time
    times = [each.at for each in receiver.of("/hangs")]
    assert len([at for at in times if at < times[0] + 15]) <= 4
    for each in nora.ask("GET", PLACE).json["endpoints"]:
        nora.ask("DELETE", f"{PLACE}/{each['id']}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/", "url: must begin with https://"),
        ("https://user:pass@example.org/", "url: must have no user and no password in it"),
        ("https://10.0.0.1/", "url: must lead to an address of the public Internet"),
        ("https://0x7f000002/", "url: must lead to an address of the public Internet"),
        ("https://[::1]/", "url: must lead to an address of the public Internet"),
        ("https://169.254.169.254/latest", "url: must lead to an address of the public Internet"),
        ("https://example.org/" + "x" * 2000, "url: must have at most 2000 characters"),
        ("https://example.org/\n", "url: must be of ASCII's characters"),
    ],
)
def test_what_is_no_endpoint_is_refused(nora: Reader, receiver: Receiver, url: str, message: str) -> None:
    made = add(nora, receiver, "/hook")
    for method, target in (("POST", PLACE), ("PATCH", f"{PLACE}/{made['id']}")):
        answer = nora.ask(method, target, {"url": url})
        assert answer.status == 400
        assert answer.error["message"].startswith(message)
        assert answer.error["field"] == "url"
    assert endpoint(nora, made)["url"] == made["url"]


def test_what_an_endpoint_may_not_be(house: Website, nora: Reader, receiver: Receiver) -> None:
    made = add(nora, receiver, "/hook")
    own = f"{PLACE}/{made['id']}"
    assert nora.ask("POST", PLACE, {"kinds": []}).error["field"] == "url"
    assert "there is no kind of notification none" in nora.ask("PATCH", own, {"kinds": ["none"]}).error["message"]
    assert nora.ask("PATCH", own, {"kinds": ["none"]}).status == 404
    assert nora.ask("PATCH", own, {"state": "so"}).error["field"] == "state"
    assert nora.ask("PATCH", own, {}).status == 400
    assert nora.ask("PATCH", own, {"secrets": ["x"]}).status == 400
    assert nora.ask("POST", own + "/replay?since=-1").error["field"] == "since"
    # and there are ten at most
    for number in range(9):
        add(nora, receiver, f"/{number}")
    assert "10 endpoints" in nora.ask("POST", PLACE, {"url": "https://example.org/"}).error["message"]
    assert nora.ask("POST", PLACE, {"url": "https://example.org/"}).status == 409
    # and nobody else's are there
    other = Reader(house)
    assert other.ask("GET", PLACE).json == {"endpoints": []}
    for method, target in (
        ("GET", own), ("PATCH", own), ("DELETE", own), ("POST", own + "/secret"), ("POST", own + "/test"),
        ("POST", own + "/replay"),
    ):  # fmt: skip
        body = {"state": "off"} if method == "PATCH" else None
        assert other.ask(method, target, body).status == 404, (method, target)
    assert house.ask("GET", PLACE).status == 401


def exported(house: Website, reader: Reader) -> str:
    """The file of all that is the user's."""
    connection = HTTPConnection("127.0.0.1", house.port, timeout=60)
    connection.request("GET", "/auth/export", headers={"Cookie": reader.browser.cookie})
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_a_secret_is_told_once(house: Website, nora: Reader, receiver: Receiver) -> None:
    made = add(nora, receiver, "/hook")
    told = [
        nora.ask("GET", PLACE), nora.ask("GET", f"{PLACE}/{made['id']}"),
        nora.ask("PATCH", f"{PLACE}/{made['id']}", {"kinds": [LOGIN]}),
    ]  # fmt: skip
    assert all(answer.status == 200 for answer in told)
    for text in (*(answer.body.decode() for answer in told), exported(house, nora)):
        assert made["secret"].removeprefix("whsec_") not in text
        assert made["url"] in text
    pages = [nora.browser.get("/notifications/endpoints"), nora.browser.get(f"/notifications/endpoints/{made['id']}")]
    assert not any(made["secret"] in page for page in pages)


def test_endpoints_on_the_website_without_javascript(nora: Reader, receiver: Receiver) -> None:
    browser = nora.browser
    assert "/notifications/endpoints" in browser.get("/notifications/preferences")
    assert "You have none yet" in browser.get("/notifications/endpoints")
    # a form that is wrong comes again, with what is wrong
    page = browser.send("/notifications/endpoints", url="https://10.0.0.1/x", kinds="")
    assert browser.status == 400
    assert "https://10.0.0.1/x" in page
    assert "must lead to an address of the public Internet" in page
    page = browser.send("/notifications/endpoints", url=receiver.url("/page", "127.0.0.1"), kinds=f"{LOGIN}, {COMMENT}")
    found = re.search(r"<code>(whsec_\S+)</code>", page)
    assert found
    [made] = nora.ask("GET", PLACE).json["endpoints"]
    assert made["kinds"] == [LOGIN, COMMENT]
    own = f"/notifications/endpoints/{made['id']}"
    assert "A test is on its way" in browser.send(f"{own}/test")
    [received] = eventually(lambda: receiver.received)
    assert verify(received, found[1])
    eventually(lambda: "webhook.test" in browser.get(own))
    second = re.search(r"<code>(whsec_\S+)</code>", browser.send(f"{own}/secret"))
    assert second
    assert second[1] != found[1]
    assert "That is changed" in browser.send(f"{own}/state", state="off")
    assert "you have turned it off" in browser.page
    browser.send(f"{own}/test")
    assert browser.status == 409
    assert "It is off: turn it on first" in browser.page
    browser.send(f"{own}/state", state="on")
    assert "What was given up is sent again" in browser.send(f"{own}/replay", days="7")
    page = browser.send(own, url=receiver.url("/moved", "127.0.0.1"), kinds="")
    assert "/moved" in page
    assert "The endpoint is deleted" in browser.send(f"{own}/delete")
    assert nora.ask("GET", PLACE).json == {"endpoints": []}


def test_where_there_is_no_such_channel_that_is_said(durable: RedisServer, tmp_path: Path) -> None:
    with Website(durable.url, tmp_path, app__module=APPS, auth__address_attempts="100000") as house:
        reader = Reader(house)
        answer = reader.ask("POST", PLACE, {"url": "https://example.org/"})
        assert answer.status == 404
        assert "[notify.webhook] kind = webhook" in answer.error["message"]
        assert "/notifications/endpoints" not in reader.browser.get("/notifications/preferences")
