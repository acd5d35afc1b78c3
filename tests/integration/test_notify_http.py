"""Notifications by HTTP: each worked example of the documentation, to a service of the shape that the real one has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pubnub.exceptions import PubNubException
from pubnub.pnconfiguration import PNConfiguration
from pubnub.pubnub import PubNub

from gorgond.redpill import Attempts
from gorgond.roles import notify
from tests.conftest import RedisServer
from tests.integration.services import SECRET, SERVICES, Said, Services
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_email import at_broker
from tests.integration.test_notifications import APPS, Reader, tell
from tests.integration.website import Website
from tests.programs import ROOT
from tests.waiting import eventually

DOCS = (ROOT / "docs" / "notifications.md").read_text()
EXAMPLES = {
    name: example for example, name in re.findall(r"```ini\n(\[notify\.(\w+)\]\nkind = http\n.*?)```", DOCS, re.DOTALL)
}
SITE = "https://notes.example"
DATA = {"title": 'Ben said "é" \\ <!channel> @room', "text": "first\n\tsecond {{ secret }}", "url": "/note/7"}
TEXT = f"{DATA['title']}\n{DATA['text']}\n{SITE}/note/7"
GOT: dict[str, Any] = {  # what each service is handed, by the documentation's example
    "ntfy": {"title": DATA["title"], "message": DATA["text"], "click": f"{SITE}/note/7"},
    "gotify": {"title": DATA["title"], "message": DATA["text"], "priority": 5},
    "slack": {"blocks": [{"type": "section", "text": {"type": "plain_text", "text": TEXT}}]},
    "discord": {"content": TEXT, "allowed_mentions": {"parse": []}},
    "matrix": {"msgtype": "m.text", "body": TEXT, "m.mentions": {}},
    "pubnub": {"title": DATA["title"], "text": DATA["text"], "url": f"{SITE}/note/7", "kind": COMMENT},
}


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services().running() as services:
        yield services


@pytest.fixture(scope="module")
def house(module_redis: RedisServer, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("http")
    here = f"http://127.0.0.1:{services.port}"
    examples = (re.sub(r"https://[a-z.]+", here, EXAMPLES[name]) for name in SERVICES)
    (directory / "gorgond.conf").write_text(
        "\n".join(f"{example}rate = 60000\n" + (f"secret = {SECRET}\n" if "secret" in example else "")
                  for example in examples)
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notify, "PATIENT", Attempts(most=1_000_000, first=0.05, longest=0.2))
        conf, often = str(directory / "gorgond.conf"), "100000"
        with Website(
            module_redis.url, directory, conf=conf, app__module=APPS, web__url=SITE, auth__address_attempts=often
        ) as house:
            yield house


@pytest.fixture
def nora(house: Website, services: Services) -> Iterator[Reader]:
    """Somebody who wants nothing but what a test switches on."""
    nora = Reader(house)
    for name in SERVICES:
        for kind in (COMMENT, LOGIN):
            nora.ask("PUT", f"/me/notifications/preferences/{kind}/{name}", {"on": False})
    yield nora
    services.answer = lambda _: None
    services.asked.clear()
    for taken in services.taken.values():
        taken.clear()


def want(reader: Reader, name: str, kind: str = COMMENT) -> None:
    reader.ask("PUT", f"/me/notifications/preferences/{kind}/{name}", {"on": True})


def still(house: Website, name: str) -> bool:
    """Whether nothing waits for that channel."""
    counts = at_broker(house, lambda link: link.counts([f"notify_put:{name}"]))[0]
    return bool(counts.queued == counts.in_flight == counts.delayed == 0)


def dead(house: Website, name: str) -> list[str]:
    return [letter.reason for letter in at_broker(house, lambda link: link.dead(f"notify_put:{name}"))]


def test_the_documentation_has_an_example_for_each() -> None:
    assert set(EXAMPLES) == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_handed_what_it_takes(house: Website, nora: Reader, services: Services, name: str) -> None:
    want(nora, name)
    id = tell(house, nora.id, data=DATA)
    # then it has it once, with all that was said, and nothing that was said is more than that
    [taken] = eventually(lambda: services.taken[name])
    assert {key: taken[key] for key in GOT[name]} == GOT[name]
    assert len(services.asked) == 1
    [asked] = services.asked
    assert asked.headers["content-type"] == "application/json"
    if name == "ntfy":
        assert taken["topic"] == f"notes-{nora.id}"
    if name == "matrix":  # whose server knows a repeat by that
        assert asked.path.endswith(f"/send/m.room.message/{id}")
    if name == "pubnub":
        assert services.published[f"user.{nora.id}"][0]["id"] == id
    # and one without any data is taken as well
    tell(house, nora.id)
    eventually(lambda: len(services.taken[name]) == 2)
    assert "Somebody commented on your note" in json.dumps(services.taken[name][1])


REFUSED = {
    "ntfy": (Said(401, {"code": 40101, "http": 401, "error": "unauthorized"}), 'says 401 {"code": 40101'),
    "gotify": (Said(401, {"error": "Unauthorized", "errorCode": 401}), 'says 401 {"error": "Unauthorized"'),
    "slack": (Said(410, "channel_is_archived"), "slack says 410 channel_is_archived"),
    "discord": (Said(404, {"message": "Unknown Webhook", "code": 10015}), 'says 404 {"message": "Unknown Webhook"'),
    "matrix": (Said(403, {"errcode": "M_FORBIDDEN", "error": "not in room"}), 'says 403 {"errcode": "M_FORBIDDEN"'),
    "pubnub": (Said(400, [0, "Invalid Key", "1"]), 'pubnub says 400 [0, "Invalid Key", "1"]'),
}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_refuses_is_a_dead_letter_with_its_code_and_words(
    house: Website, nora: Reader, services: Services, name: str, expected_logs: Callable[[str], None]
) -> None:
    expected_logs(f"gives up 1 message of notify_put:{name}: {name} says 4")
    said, words = REFUSED[name]
    services.answer = lambda _: said
    want(nora, name)
    tell(house, nora.id)
    eventually(lambda: any(words in reason for reason in dead(house, name)))
    assert len(services.asked) == 1
    assert SECRET not in str(dead(house, name))


BUSY = {
    "ntfy": Said(429, {"code": 42901, "http": 429, "error": "limit reached: too many requests"}),
    "gotify": Said(503, "busy"),
    "slack": Said(429, "", {"Retry-After": "1"}),
    "discord": Said(429, {"message": "You are being rate limited.", "retry_after": 0.6}, {"Retry-After": "1"}),
    "matrix": Said(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 900}, {"Retry-After": "1"}),
    "pubnub": Said(500, [0, "Internal Server Error", "1"]),
}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_puts_off_comes_again(house: Website, nora: Reader, services: Services, name: str) -> None:
    services.answer = lambda _: BUSY[name] if len(services.asked) < 2 else None
    want(nora, name)
    tell(house, nora.id, data=DATA)
    eventually(lambda: services.taken[name])
    assert len(services.asked) == 2
    eventually(lambda: still(house, name))
    assert len(services.taken[name]) == 1


def test_no_redirect_is_followed(
    house: Website, nora: Reader, services: Services, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("gives up 1 message of notify_put:gotify")
    there = f"http://127.0.0.1:{services.port}/moved"
    services.answer = lambda _: Said(301, "moved", {"Location": there})
    want(nora, "gotify")
    tell(house, nora.id)
    eventually(lambda: "gotify says 301 http://127.0.0.1 moved" in dead(house, "gotify"))
    assert [asked.path for asked in services.asked] == ["/message"]


@pytest.mark.parametrize("text", ["é" * 9_900, "\\" * 9_900, "\x01" * 3_300, "x" * 19_900])
def test_the_largest_notification_fits_what_pubnub_takes(
    house: Website, nora: Reader, services: Services, text: str
) -> None:
    want(nora, "pubnub")
    tell(house, nora.id, data={"text": text})
    [taken] = eventually(lambda: services.taken["pubnub"])
    assert taken["text"] == text
    assert len(services.asked) == 1


def test_what_is_not_wanted_is_not_sent_once_that_is_answered(house: Website, nora: Reader, services: Services) -> None:
    # given one that comes again and again
    services.answer = lambda _: Said(503)
    want(nora, "gotify")
    tell(house, nora.id)
    eventually(lambda: services.asked)
    # when its user does not want it any more
    nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/gotify", {"on": False})
    services.answer = lambda _: None
    # then it is never sent
    eventually(lambda: still(house, "gotify"))
    assert services.taken["gotify"] == []


@pytest.mark.filterwarnings("ignore:Mutable config:DeprecationWarning")
def test_pubnubs_own_program_publishes_as_we_do_and_reads_what_we_published(
    house: Website, nora: Reader, services: Services
) -> None:
    configuration = PNConfiguration()
    configuration.publish_key = configuration.subscribe_key = "demo"
    configuration.uuid = "gorgond"
    configuration.origin = f"127.0.0.1:{services.port}"
    configuration.ssl = False
    theirs = PubNub(configuration)
    # given what we publish
    want(nora, "pubnub")
    id = tell(house, nora.id, data=DATA)
    [published] = eventually(lambda: services.taken["pubnub"])
    ours = services.asked[-1]
    channel = f"user.{nora.id}"
    # then it reads that, as it was said
    found = theirs.fetch_messages().channels([channel]).sync().result.channels[channel]
    assert [(each.message["id"], each.message["text"]) for each in found] == [(id, DATA["text"])]
    # when it publishes the same, then it asks for the same
    sent = theirs.publish().channel(channel).message(published).use_post(True).sync()
    assert sent.result.timetoken
    assert services.published[channel][-1] == published
    other = services.asked[-1]
    assert (other.method, other.path, other.json) == (ours.method, ours.path, ours.json)
    assert other.query["uuid"] == ours.query["uuid"]
    # and is refused as we are
    with pytest.raises(PubNubException, match="Message Too Large"):
        theirs.publish().channel(channel).message("x" * 32 * 1024).use_post(True).sync()
