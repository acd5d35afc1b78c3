"""Notifications by e-mail, handed to a real mail server that takes them, refuses them, hangs or hangs up."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from gorgond.app import letters
from gorgond.auth.records import owned_filters
from gorgond.http import export
from gorgond.notifiers import smtp
from gorgond.redpill import Attempts, Counts, DeadLetter
from gorgond.roles import notify
from gorgond.service.fabric import connect_fabric
from gorgond.stores import open_store
from gorgond.stores.contract import Query
from tests.conftest import RedisServer
from tests.integration.browsing import PASSWORD
from tests.integration.letters import change_user
from tests.integration.mail import HANG, HANG_UP, TAKEN, MailServer, ids
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_notifications import APPS, Reader, kept, tell
from tests.integration.website import Website
from tests.waiting import eventually

SITE = "https://notes.example"
QUEUE, INBOX = "notify_put:email", "notify_put:inbox"
TEMPLATES = {"subject.txt": "{{ data['who'] }}\nhas commented", "body.html": "<p>{{ data['who'] }}</p>"}


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def house(module_redis: RedisServer, mail: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("email")
    for name, text in TEMPLATES.items():
        (directory / "notify.d" / COMMENT).mkdir(parents=True, exist_ok=True)
        (directory / "notify.d" / COMMENT / name).write_text(text)
    conf = directory / "gorgond.conf"
    conf.write_text(
        f"[notify.email]\nurl = {mail.url}\nsender = notes@notes.example\nrate = 60000\n"
        f"templates = {directory}/notify.d\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        soon = Attempts(most=1_000_000, first=0.05, longest=0.2)
        patch.setattr(notify, "PATIENT", soon)
        patch.setattr(smtp, "ANSWER", 2.0)
        url, often = SITE, "100000"
        with Website(
            module_redis.url, directory, conf=str(conf), app__module=APPS, web__url=url, auth__address_attempts=often
        ) as house:
            yield house


@pytest.fixture
def nora(house: Website, mail: MailServer) -> Iterator[Reader]:
    """Somebody who has confirmed the address."""
    reader = Reader(house)
    eventually(lambda: mail.mails)  # with the link by which that is done
    change_user(house, address(reader), confirmed=True)
    mail.mails.clear()
    mail.offered.clear()
    yield reader
    mail.answer = lambda _: TAKEN
    mail.refused.clear()
    mail.mails.clear()
    mail.offered.clear()


def at_broker(house: Website, ask: Callable[[Any], Any]) -> Any:
    async def asked() -> Any:
        link = connect_fabric(house.config).durable.link("test")
        try:
            return await ask(link)
        finally:
            await link.close()

    return asyncio.run(asked())


def counts(house: Website) -> Counts:
    found: Counts = at_broker(house, lambda link: link.counts([QUEUE]))[0]
    return found


def dead(house: Website) -> list[DeadLetter]:
    found: list[DeadLetter] = at_broker(house, lambda link: link.dead(QUEUE))
    return found


def address(reader: Reader) -> str:
    found = re.search(r"<dd>([^\s<]+@[^\s<]+)", reader.browser.get("/account"))
    assert found
    return found[1]


def unsubscribe(server: MailServer) -> str:
    """The path to be sent no more, of the last e-mail."""
    found = re.fullmatch(r"<(\S+)>", str(server.mails[-1]["List-Unsubscribe"]))
    assert found
    parts = urlsplit(found[1])
    assert f"{parts.scheme}://{parts.netloc}" == SITE
    return f"{parts.path}?{parts.query}"


def test_an_email_says_who_and_what_and_how_to_get_no_more(house: Website, nora: Reader, mail: MailServer) -> None:
    # given a notification of a kind whose templates are the operator's
    id = tell(house, nora.id, data={"who": "<Ben>\r\nBcc: all@example.org"})
    # then it is handed to the mail server, once, for the user's address
    [sent] = eventually(lambda: mail.mails)
    assert sent["To"].addresses[0].addr_spec == address(nora)
    assert sent["Message-ID"] == f"<{id}@notes.example>"
    assert sent["From"] == "notes@notes.example"
    # and says what they say: no header more, and the text escaped in HTML alone
    assert sent["Subject"] == "<Ben> Bcc: all@example.org has commented"
    assert sent["Bcc"] is None
    html: Any = sent.get_body(("html",))
    assert html.get_content().startswith("<p>&lt;Ben&gt;")
    text: Any = sent.get_body(("plain",))
    assert "Somebody commented on your note" in text.get_content()
    assert sent["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    # and the inbox has it too
    nora.got(1)


def test_all_that_is_known_of_ones_notifications_is_in_the_export(
    house: Website, nora: Reader, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PART", 2)
    # given somebody who was sent some, and does not want others; and somebody else
    tell(house, Reader(house).id, LOGIN)
    sent = [tell(house, nora.id, LOGIN, data=number) for number in range(5)]
    nora.got(5)
    eventually(lambda: len(mail.mails) == 6 and counts(house).in_flight == 0)
    assert nora.ask("PUT", f"/me/notifications/preferences/{COMMENT}/email", {"on": False}).status == 200
    # when it is exported, then all of it is there, once, and what became of it
    request = Request(f"http://127.0.0.1:{house.port}/auth/export", headers={"Cookie": nora.browser.cookie})
    with urlopen(request, timeout=60) as answer:
        file = json.load(answer)
    assert [each["number"] for each in file["notifications"]] == [1, 2, 3, 4, 5]
    assert sorted(each["data"] for each in file["notifications"]) == [0, 1, 2, 3, 4]
    assert file["unwanted"] == [f"{COMMENT} email"]
    found = [each for each in file["deliveries"] if each["kind"] != letters.CONFIRM]
    assert sorted(each["id"] for each in found) == sorted(f"{nora.id}:{id}:email" for id in sent)
    assert {(each["kind"], each["channel"], each["state"]) for each in found} == {(LOGIN, "email", "sent")}
    # and nothing by which anybody could act in the user's name
    assert "token" not in json.dumps({name: file[name] for name in ("unwanted", "notifications", "deliveries")})


def test_a_kind_without_templates_says_what_it_has(house: Website, nora: Reader, mail: MailServer) -> None:
    tell(house, nora.id, LOGIN, data={"title": "A new login", "text": "from Ulm", "url": "/account"})
    [sent] = eventually(lambda: mail.mails)
    assert sent["Subject"] == "A new login"
    text: Any = sent.get_body(("plain",))
    assert "from Ulm" in text.get_content()
    assert f"{SITE}/account" in text.get_content()


def test_one_click_and_none_is_sent_any_more(house: Website, nora: Reader, mail: MailServer) -> None:
    tell(house, nora.id, LOGIN)
    eventually(lambda: mail.mails)
    link = unsubscribe(mail)
    # when a mail provider's program asks for it, as RFC 8058 has it: without a cookie, by POST
    answer = house.ask("POST", link, b"List-Unsubscribe=One-Click", Content_Type="application/x-www-form-urlencoded")
    # then none of that kind is sent over that channel, and all else is
    assert answer.json == {"kind": LOGIN, "channel": "email", "on": False}
    tell(house, nora.id, LOGIN)
    tell(house, nora.id, data={"who": "Ben"})
    nora.got(3)
    eventually(lambda: len(mail.mails) == 2 and counts(house).in_flight == 0)
    assert [str(each["Subject"]) for each in mail.mails] == ["Somebody logged in", "Ben has commented"]
    # and a token that is not that user's does nothing
    forged = re.sub("token=[^&]+", "token=x", link)
    assert house.ask("POST", forged).error["code"] == 404
    # nor is a kind or a channel noted that there is not
    for wrong in (re.sub("kind=[^&]+", "kind=none", link), re.sub("channel=[^&]+", "channel=none", link)):
        assert " none; there are " in house.ask("POST", wrong).error["message"]


def test_the_link_of_an_email_asks_a_person_first(house: Website, nora: Reader, mail: MailServer) -> None:
    tell(house, nora.id, LOGIN)
    eventually(lambda: mail.mails)
    # given a program that opens each link, then nothing is changed by that
    page = nora.browser.get(unsubscribe(mail).replace("&amp;", "&"))
    assert "Be sent no more of these?" in page
    prefers = nora.ask("GET", "/me/notifications/preferences").json["kinds"]
    assert all(each["channels"]["email"] for each in prefers)
    # when the person says so, then it is
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    assert "No more of these" in nora.browser.send("/notifications/leave", **fields)
    prefers = nora.ask("GET", "/me/notifications/preferences").json["kinds"]
    told = {COMMENT: True, LOGIN: False, letters.LOGIN: True}
    assert {each["kind"]: each["channels"]["email"] for each in prefers} == told


def test_what_is_refused_for_good_is_a_dead_letter_with_the_code(
    house: Website, nora: Reader, mail: MailServer, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("gives up 1 message of notify_put:email: the mail server says 550")
    before = len(dead(house))
    mail.refused[address(nora)] = "550 5.1.1 no such mailbox"
    tell(house, nora.id, LOGIN)
    [*_, letter] = eventually(lambda: dead(house)[before:])
    assert letter.reason == "the mail server says 550 5.1.1 no such mailbox"
    assert mail.offered == []
    # when it is put back after the mailbox was made, then it is sent
    mail.refused.clear()
    at_broker(house, lambda link: link.requeue(QUEUE, letter.number))
    eventually(lambda: len(mail.mails) == 1)


def test_what_is_put_off_is_sent_later_once(house: Website, nora: Reader, mail: MailServer) -> None:
    mail.answer = lambda _: "451 4.3.0 busy" if len(mail.offered) < 4 else TAKEN
    tell(house, nora.id, LOGIN)
    eventually(lambda: mail.mails)
    assert len(mail.offered) == 4
    assert len(set(ids(mail.offered))) == 1
    eventually(lambda: counts(house).delayed == counts(house).in_flight == 0)
    assert len(mail.mails) == 1


@pytest.mark.parametrize("how", [HANG_UP, HANG])
def test_one_of_which_nobody_knows_whether_it_was_taken_is_the_same_again(
    house: Website, nora: Reader, mail: MailServer, how: str
) -> None:
    # given a mail server that takes an e-mail and does not say so
    mail.answer = lambda _: how if len(mail.offered) == 1 else TAKEN
    tell(house, nora.id, LOGIN)
    # then it is sent again, as the same one
    eventually(lambda: len(mail.mails) == 2)
    assert len(set(ids(mail.mails))) == 1


def test_a_mail_server_that_hangs_delays_no_inbox(house: Website, nora: Reader, mail: MailServer) -> None:
    mail.answer = lambda _: HANG
    for _ in range(8):
        tell(house, nora.id, LOGIN)
    nora.got(8)
    mail.answer = lambda _: TAKEN
    eventually(lambda: counts(house).queued == counts(house).in_flight == counts(house).delayed == 0)
    assert len(set(ids(mail.mails))) == 8


def test_a_store_that_is_away_when_an_email_was_sent_has_none_sent_again(
    house: Website, nora: Reader, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "ANSWER_MS", 200)
    tell(house, nora.id, LOGIN)
    eventually(lambda: mail.mails)

    # given that no store writes from the moment on in which the mail server has the e-mail
    def pause(_: Any) -> str:
        with ThreadPoolExecutor(1) as thread:  # this one's event loop is the mail server's
            thread.submit(at_broker, house, lambda link: link.pause("store_put")).result()
        return TAKEN

    mail.answer = pause
    tell(house, nora.id, LOGIN)
    eventually(lambda: len(mail.mails) == 2)
    # when it was told several times that this was sent
    asked = at_broker(house, lambda link: link.counts(["store_put"]))[0].accepted
    eventually(lambda: at_broker(house, lambda link: link.counts(["store_put"]))[0].accepted > asked + 2)
    at_broker(house, lambda link: link.resume("store_put"))
    # then it was sent once
    eventually(lambda: counts(house).queued == counts(house).in_flight == counts(house).delayed == 0)
    assert len(mail.mails) == 2


def test_a_key_is_one_email(house: Website, nora: Reader, mail: MailServer) -> None:
    for number in range(6):
        tell(house, nora.id, LOGIN, key="once", data=number)
    tell(house, nora.id, LOGIN)
    eventually(lambda: len(mail.mails) >= 2 and counts(house).queued == counts(house).in_flight == 0)
    assert len(mail.mails) == 2


def test_what_a_template_cannot_be_filled_in_with_is_a_dead_letter(
    house: Website, nora: Reader, mail: MailServer, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("gives up 1 message of notify_put:email: .*KeyError: 'who'")
    before = len(dead(house))
    tell(house, nora.id, data={"nobody": 1})
    [*_, letter] = eventually(lambda: dead(house)[before:])
    assert letter.reason.endswith(f"{COMMENT}/subject.txt: KeyError: 'who'")
    assert mail.offered == []


def test_none_is_sent_to_who_is_no_user_and_nothing_is_kept_of_it(
    house: Website, nora: Reader, mail: MailServer
) -> None:
    # given somebody whose account has ended
    gone = Reader(house)
    eventually(lambda: mail.mails)
    mail.mails.clear()
    assert gone.ask("POST", "/auth/delete", {"password": PASSWORD}).status == 204
    eventually(lambda: not kept(house, gone.id))
    # when they are notified, and others are
    for user in (gone.id, "nobody", nora.id):
        tell(house, user, LOGIN)
    eventually(lambda: mail.mails and all(idle(house, queue) for queue in ("notify_put", INBOX, QUEUE)))
    # then those others are sent an e-mail, and of who has gone there is still nothing
    assert mail.recipients[-1] == address(nora)
    assert len(mail.mails) == 1
    assert not kept(house, gone.id)


def idle(house: Website, queue: str) -> bool:
    (found,) = at_broker(house, lambda link: link.counts([queue]))
    return bool(found.queued == found.in_flight == 0)


def test_a_letter_that_is_refused_leaves_no_link_behind(
    house: Website, nora: Reader, mail: MailServer, expected_logs: Callable[[str], None]
) -> None:
    expected_logs("account.reset to user .* is given up: the mail server says 550 5.1.1 no such mailbox")
    mail.refused[address(nora)] = "550 5.1.1 no such mailbox"
    before = dead(house)
    assert house.ask("POST", "/auth/reset", {"email": address(nora)}).status == 202
    # then its delivery says why, and the broker has nothing of it any more
    filter = owned_filters(nora.id)["deliveries"] | {"kind": letters.RESET, "state": "dead"}
    [given_up] = eventually(lambda: stored(house, "deliveries", filter))
    assert given_up["reason"] == "the mail server says 550 5.1.1 no such mailbox"
    eventually(lambda: idle(house, QUEUE))
    assert dead(house) == before


def stored(house: Website, collection: str, filter: dict[str, Any]) -> list[dict[str, Any]]:
    store = open_store(house.config.store.url)
    try:
        (answer,) = store.find([Query(collection, filter)])
        assert isinstance(answer, bytes)
        documents: list[dict[str, Any]] = json.loads(answer)
        return documents
    finally:
        store.close()


def test_what_was_waiting_is_not_sent_once_it_is_not_wanted(house: Website, nora: Reader, mail: MailServer) -> None:
    mail.answer = lambda _: "451 busy"
    tell(house, nora.id, LOGIN)
    eventually(lambda: mail.offered)
    assert nora.ask("PUT", f"/me/notifications/preferences/{LOGIN}/email", {"on": False}).status == 200
    mail.answer = lambda _: TAKEN
    eventually(lambda: counts(house).delayed == counts(house).in_flight == counts(house).queued == 0)
    assert mail.mails == []
