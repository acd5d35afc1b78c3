"""The servers of drills to which notifications are sent: what they take, what they say, whose place they may take."""

from __future__ import annotations

import json
import smtplib
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest

from gorgond.chaos.accounts import DOMAIN
from gorgond.chaos.drill import Options, run_drill
from gorgond.chaos.drills import DRILLS
from gorgond.chaos.endpoint import Endpoint
from gorgond.chaos.errors import Refused
from gorgond.chaos.mailserver import MailServer
from gorgond.chaos.outside import Mood
from gorgond.chaos.target import Victim
from gorgond.chaos.undo import UndoLog
from gorgond.config import Config, load
from tests.unit.test_chaos_run import Dummies

OURS, FOREIGN = f"u@{DOMAIN}", "ada@notes.example"


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer().start()
    yield server
    server.stop()


def send(mail: MailServer, id: str, to: str = OURS) -> None:
    """Hand over an e-mail. Raises what smtplib raises."""
    message = EmailMessage()
    message["Message-ID"], message["To"] = f"<{id}@localhost>", to
    message.set_content(".\nfirst a dot")
    with smtplib.SMTP("127.0.0.1", mail.port, timeout=60) as connection:
        connection.send_message(message, "us@localhost", [to])


def configured(tmp_path: Path, url: str) -> Config:
    conf = tmp_path / "gorgond.conf"
    conf.write_text(f"[notify.mail]\nurl = {url}\n")
    return load(str(conf), {}, {})


def test_it_takes_the_drills_own_and_puts_all_others_off(mail: MailServer) -> None:
    send(mail, "a1")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(mail, "b2", FOREIGN)
    assert [code for code, _ in refused.value.recipients.values()] == [451]
    assert (mail.ids, mail.unsaid) == (["a1"], [])


def test_it_refuses_hangs_and_hangs_up_as_it_is_told(mail: MailServer) -> None:
    mail.mood = "refuses"
    with pytest.raises(smtplib.SMTPException):
        send(mail, "a1")
    assert mail.ids == []
    # what it takes without saying so is counted
    mail.mood = "hangs up"
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(mail, "a1")
    assert (mail.ids, mail.unsaid) == (["a1"], ["a1"])
    # who hangs is let go when it works again
    mail.mood = "hangs"
    ended: list[Exception] = []

    def hang() -> None:
        try:
            send(mail, "c3")
        except smtplib.SMTPException as error:
            ended.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    while len(mail.unsaid) < 2:
        thread.join(0.01)
    assert thread.is_alive()
    mail.mood = "works"
    thread.join(60)
    assert isinstance(ended[0], smtplib.SMTPServerDisconnected)
    send(mail, "c3")
    assert mail.ids == ["a1", "c3", "c3"]


@pytest.mark.parametrize("url", ["smtps://127.0.0.1:465", "smtp://mail.example:25"])
def test_a_mail_server_elsewhere_is_nobodys_to_take_the_place_of(tmp_path: Path, url: str) -> None:
    assert "it needs a channel" in MailServer.lacks()(configured(tmp_path, url))


def test_the_place_of_a_mail_server_that_is_there_is_not_taken(mail: MailServer, tmp_path: Path) -> None:
    config = configured(tmp_path, f"smtp://localhost:{mail.port}")
    assert f"port {mail.port} of this host has a server" in MailServer.lacks()(config)
    with pytest.raises(Refused, match="not to be had"):
        MailServer(mail.port).start()
    mail.stop()
    assert MailServer.lacks()(config) == ""
    assert MailServer.of(config).port == mail.port
    mail.start()


def test_a_fabric_without_one_has_nothing_to_drill(tmp_path: Path) -> None:
    # given a fabric that is not the drill's own, and has no channel of e-mails
    target = Dummies(Victim("notify@1", "notify", 1, "up"))
    target.config = load(None, {"GORGOND_CONFIG": "/dev/null"}, {})
    # then the drill says what it lacks, and does nothing
    with UndoLog(tmp_path / "undo") as journal:
        result = run_drill(DRILLS["smtp-down"], target, Options(1, 2, tmp_path), journal, lambda _: None)
    assert result.skipped.startswith("it needs a channel of kind email")
    assert result.error is None


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint().start()
    yield server
    server.stop()


def ask(endpoint: Endpoint, id: str, kind: str = "chaos") -> int:
    """The status; 0 where the connection ended without one."""
    connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    try:
        connection.request("POST", "/", json.dumps({"id": id, "kind": kind}))
        return connection.getresponse().status
    except RemoteDisconnected:
        return 0
    finally:
        connection.close()


def test_an_endpoint_takes_the_drills_own_as_it_is_told(endpoint: Endpoint) -> None:
    moods: dict[Mood, int] = {"works": 200, "refuses": 503, "hangs up": 0}
    for mood, status in moods.items():
        endpoint.mood = mood
        assert ask(endpoint, mood) == status
        assert ask(endpoint, f"not ours {mood}", "comment.new") == 503
    assert (endpoint.ids, endpoint.unsaid) == (["works", "hangs up"], ["hangs up"])
