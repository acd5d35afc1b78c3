"""What the operator sees of notifications, and sends again: gorgonctl on a fabric with a real mail server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from gorgond.gorgonctl import main
from gorgond.notifiers import delivering
from gorgond.redpill import Attempts
from gorgond.roles import notify
from tests.conftest import RedisServer
from tests.integration.letters import change_user
from tests.integration.mail import TAKEN, MailServer, ids
from tests.integration.telling import COMMENT, LOGIN
from tests.integration.test_email import address, dead
from tests.integration.test_notifications import APPS, Reader, tell
from tests.integration.website import Website
from tests.waiting import eventually

GIVES_UP = "gives up 1 message of notify_put:email"


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def house(
    request: pytest.FixtureRequest,
    module_redis: RedisServer,
    mail: MailServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Website]:
    directory = tmp_path_factory.mktemp("operated")
    conf = directory / "gorgond.conf"
    conf.write_text(f"[notify.email]\nurl = {mail.url}\nrate = 60000\n")
    store = f"sqlite:///{directory}/items.db"
    if request.param == "mongodb":
        store = request.getfixturevalue("mongod_url") + "operated"
    module_redis.cli("FLUSHALL")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notify, "PATIENT", Attempts(most=1_000_000, first=0.05, longest=0.2))
        with Website(module_redis.url, directory, conf=str(conf), app__module=APPS, store__url=store) as house:
            yield house


@pytest.fixture
def nora(house: Website, mail: MailServer) -> Iterator[Reader]:
    yield Reader(house)
    mail.answer = lambda _: TAKEN
    mail.refused.clear()
    mail.mails.clear()


@pytest.fixture
def ctl(module_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Runs gorgonctl notifications: what it prints, as JSON where that is asked for; the words of an error."""
    monkeypatch.setenv("GORGOND_BROKER_URL", module_redis.url)
    monkeypatch.setenv("GORGOND_CONFIG", str(tmp_path / "none"))
    (tmp_path / "none").touch()

    def run(*arguments: str) -> Any:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["notifications", *arguments])
        if code:
            return err.getvalue()
        return json.loads(out.getvalue()) if "--json" in arguments else out.getvalue()

    return run


def states(ctl: Callable[..., Any], *arguments: str) -> list[str]:
    return [each["state"] for each in ctl("list", *arguments, "--json")]


def refuse(house: Website, mail: MailServer, *readers: Reader) -> list[str]:
    """Have each notified of something that the mail server refuses for good: the notifications' ids."""
    mail.answer = lambda _: "554 5.7.1 spam, says ada@notes.example"
    return [tell(house, each.id, LOGIN) for each in readers]


def test_what_was_given_up_is_listed_with_its_reason_and_sent_again_under_its_id(
    house: Website,
    nora: Reader,
    mail: MailServer,
    ctl: Callable[..., Any],
    expected_logs: Callable[[str], None],
) -> None:
    expected_logs(GIVES_UP)
    # given what was refused, of two users
    other = Reader(house)
    first, second = refuse(house, mail, nora, other)
    eventually(lambda: len(states(ctl, "--state", "dead")) == 2)
    # then it is listed with what was said, all of it or one user's, by id or address
    found = ctl("list", "--json")
    assert {each["id"] for each in found} == {f"{nora.id}:{first}:email", f"{other.id}:{second}:email"}
    assert {each["reason"] for each in found} == {"the mail server says 554 5.7.1 spam, says ada@notes.example"}
    assert [each["userid"] for each in ctl("list", "--user", nora.id, "--json")] == [nora.id]
    assert states(ctl, "--channel", "email") == ["dead", "dead"]
    assert states(ctl, "--channel", "push") == states(ctl, "--state", "sent") == []
    assert f"{LOGIN}  email    dead" in ctl("list")
    # and among the channels without the address in it, also for who has not heard it happen
    [email] = [each for each in ctl("--json") if each["name"] == "email"]
    assert email["reason"] == "the mail server says 554 5.7.1 spam, says …"
    # when one of them is sent again, then it is the same e-mail, and the other one is where it was
    mail.answer = lambda _: TAKEN
    eventually(lambda: len(dead(house)) == 2)  # the notification server says so first, and then gives it up
    said = ctl("replay", f"{nora.id}:{first}:email", "--json")
    assert said == {"done": ["1 notification put back into the queue, to be sent again"]}
    eventually(lambda: states(ctl, "--user", nora.id, "--state", "sent") == ["sent"])
    assert ids(mail.mails) == [f"<{first}@localhost>"]
    assert states(ctl) == ["dead"]
    # and one that was sent cannot be, nor what nobody knows
    assert "is not among what was given up" in ctl("replay", f"{nora.id}:{first}:email")
    assert "there is no channel pager; there are email inbox" in ctl("replay", "--all", "--channel", "pager")
    assert "name them, or say --all" in ctl("replay")
    # when all are, of the other user and then of all, then nothing is left
    assert "0 notifications" in ctl("replay", "--all", "--user", nora.id)
    assert "1 notification put back" in ctl("replay", "--all", "--channel", "email")
    eventually(lambda: states(ctl) == [])
    assert sorted(ids(mail.mails)) == sorted([f"<{first}@localhost>", f"<{second}@localhost>"])


def test_what_is_tried_again_says_why(house: Website, nora: Reader, mail: MailServer, ctl: Callable[..., Any]) -> None:
    mail.answer = lambda _: "451 4.3.0 busy"
    tell(house, nora.id, LOGIN)
    [waiting] = eventually(lambda: [each for each in ctl("list", "--json") if each["state"] == "waiting"])
    assert waiting["reason"] == "the mail server says 451 4.3.0 busy"
    # and the table of channels, too, though without a stats server
    [email] = [each for each in ctl("--json") if each["name"] == "email"]
    assert email["later"] > 0
    assert email["reason"] == "the mail server says 451 4.3.0 busy"
    mail.answer = lambda _: TAKEN
    eventually(lambda: states(ctl) == [])


def test_what_is_not_wanted_or_for_nobody_is_settled(house: Website, nora: Reader, ctl: Callable[..., Any]) -> None:
    assert nora.ask("PUT", f"/me/notifications/preferences/{LOGIN}/email", {"on": False}).status == 200
    tell(house, nora.id, LOGIN)
    change_user(house, address(nora), confirmed=False)
    tell(house, nora.id, COMMENT)
    tell(house, "nobody", LOGIN)
    eventually(lambda: len(states(ctl, "--state", "off")) == 2)
    assert states(ctl) == []
    off = ctl("list", "--user", nora.id, "--state", "off", "--json")
    assert {each.get("reason") for each in off} == {None, "there is no address that was confirmed"}


def test_what_could_not_be_sent_for_days_is_given_up_with_its_reason(
    house: Website,
    nora: Reader,
    mail: MailServer,
    ctl: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: Callable[[str], None],
) -> None:
    expected_logs(GIVES_UP)
    monkeypatch.setattr(delivering, "KEPT", 0.5)
    before = len(dead(house))
    mail.answer = lambda _: "451 4.3.0 busy"
    tell(house, nora.id, LOGIN)
    [given_up] = eventually(lambda: ctl("list", "--user", nora.id, "--state", "dead", "--json"))
    eventually(lambda: len(dead(house)) > before)
    assert given_up["reason"] == "it was tried for 0 hours: the mail server says 451 4.3.0 busy"


@pytest.mark.usefixtures("house")
def test_a_user_whom_nobody_knows_is_said_so(ctl: Callable[..., Any]) -> None:
    assert "there is no user no@body.example" in ctl("list", "--user", "no@body.example")


@pytest.mark.parametrize("arguments", [("--state", "lost"), ("--most", "0"), ("--most", "x"), ("--most", "1001")])
def test_what_cannot_be_listed_is_refused(ctl: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        ctl("list", *arguments)
    assert ended.value.code == 2
