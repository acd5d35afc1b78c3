"""Notifications: what may be sent, and how they are numbered; kinds of an application; what e-mails say."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gorgond.app import App
from gorgond.app.notifying import document_id, filter_after, notification_id, number_of, send_args
from gorgond.errors import BadRequest, ConfigError, NotSent, Refused, Undeliverable
from gorgond.notifiers.delivering import Channel
from gorgond.notifiers.notifier import Notification
from gorgond.notifiers.pace import Pace
from gorgond.notifiers.smtp import Mailer
from gorgond.notifiers.templates import Templates
from gorgond.redpill import Message, Retry, connect, now_ms
from gorgond.service.metrics import Metrics


def test_ids_sort_as_numbers_do_and_those_of_a_user_are_together() -> None:
    ids = [document_id("7", number) for number in (1, 2, 9, 10, 11, 100)]
    assert ids == sorted(ids)
    assert list(map(number_of, ids)) == [1, 2, 9, 10, 11, 100]
    filter = filter_after("7", 9)["id"]
    assert [each for each in ids if filter["$gt"] < each < filter["$lt"]] == ids[3:]
    assert not filter["$gt"] < document_id("77", 1) < filter["$lt"]


def test_an_id_is_made_of_who_what_and_the_key() -> None:
    same = notification_id("7", "comment.new", "note-1")
    assert same == notification_id("7", "comment.new", "note-1")
    others = {notification_id(*of) for of in (("8", "comment.new", "note-1"), ("7", "login", "note-1"), ("x",))}
    assert len({same, *others}) == 4


@pytest.mark.parametrize("user", ["", "a:b", "a b", "a\r\nb", "é", "x" * 65])
def test_what_is_no_user_is_refused(user: str) -> None:
    with pytest.raises(BadRequest, match="user: must be a user's id"):
        send_args("id", user, "kind", "title", None, 1)


def test_data_is_bounded() -> None:
    assert send_args("id", "7", "kind", "title", "x" * 19_998, 1)["data"]
    with pytest.raises(Refused, match="must have at most 20000") as refused:
        send_args("id", "7", "kind", "title", "x" * 19_999, 1)
    assert refused.value.code == 413


@pytest.mark.parametrize(("kind", "title"), [("Comment", "A"), ("", "A"), ("a b", "A"), ("a", " "), ("a", "b\nc")])
def test_a_kind_has_a_name_and_a_title(kind: str, title: str) -> None:
    with pytest.raises(ConfigError, match="a kind of notification cannot be"):
        App("shop").notification(kind, title)


def test_a_kind_is_declared_once() -> None:
    app = App("shop")
    app.notification("order.sent", "Your order is on its way")
    with pytest.raises(ConfigError, match=r"declares the kind of notification order.sent twice"):
        app.notification("order.sent", "Again")


@pytest.mark.parametrize(("rate", "at_once"), [(60, 1), (600, 10), (1, 1)])
async def test_all_servers_together_send_so_many_a_minute(rate: int, at_once: int) -> None:
    # given two servers, each of which asks for a turn again and again
    broker = connect("memory://pace")
    paces = [Pace(broker.link(name), f"email{rate}", rate) for name in ("one", "other")]
    waits = [await pace.turn() for _ in range(at_once) for pace in paces]
    # then as many turns are given as there are in a second, and who comes then waits for the next one
    given = waits.count(0.0)
    assert at_once <= given <= at_once + 1  # a machine that stands still for a moment
    assert 0 < max(waits) <= 60 / rate
    for pace in paces:
        await pace.close()


class Pager(Channel):
    """One that says when it is to be asked again."""

    async def _deliver(self, notification: Notification, message: Message) -> None:
        raise NotSent("busy", after=notification.data)


@pytest.mark.parametrize("after", [30.0, None])
async def test_what_is_put_off_comes_again_when_that_was_said(after: float | None) -> None:
    nothing: Any = None
    server: Any = SimpleNamespace(metrics=Metrics())
    args = send_args("id", "7", "kind", "title", after, now_ms())
    assert await Pager("pager", nothing, server).handle(Message("notify.send", args)) == Retry("busy", after)


# ---- what e-mails say

VALUES: dict[str, Any] = {
    "title": "T", "kind": "k", "data": {"title": "<x>"}, "name": "Ann", "site": "", "unsubscribe": "",
}  # fmt: skip


def test_a_file_that_is_not_there_is_ours(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "body.txt").write_text("{{ name }} & {{ data['title'] }}")
    texts = Templates(tmp_path).texts("k", VALUES)
    assert texts.subject == "<x>"
    assert texts.text == "Ann & <x>"
    assert "&lt;x&gt;" in texts.html
    assert Templates(tmp_path / "none").texts("k", VALUES).text.startswith("<x>")


@pytest.mark.parametrize("data", [None, [1], "text", {}, {"title": 5, "url": 7, "text": None}])
def test_ours_take_any_data(tmp_path: Path, data: Any) -> None:
    texts = Templates(tmp_path).texts("k", {**VALUES, "data": data})
    assert texts.subject
    assert texts.text
    assert texts.html


def test_what_is_no_template_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "subject.txt").write_text("{% if %}")
    with pytest.raises(ConfigError, match=r"k/subject.txt: is no template"):
        Templates(tmp_path)


def test_what_cannot_be_filled_in_says_why(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "subject.txt").write_text("{{ data['missing'] }}")
    with pytest.raises(Undeliverable, match=r"k/subject.txt: KeyError: 'missing'"):
        Templates(tmp_path).texts("k", VALUES)


def test_a_mail_server_that_is_not_there_is_waited_for() -> None:
    with pytest.raises(NotSent, match=r"mail server 127.0.0.1: "):
        Mailer("smtp://127.0.0.1:1").send(EmailMessage(), "a@b", "c@d")
