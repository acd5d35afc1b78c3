"""Notifications by HTTP: what a service says, when it wants to be left alone, and what may stand in a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from gorgond.config import load
from gorgond.errors import ConfigError, NotSent, Undeliverable
from gorgond.notifiers.answers import LONGEST, Service
from gorgond.notifiers.http import Http, HttpNotifier
from gorgond.notifiers.notifier import Notification, Recipient
from gorgond.outside.http import Answer, HttpClient

SENT = Notification("0f", "7", "comment.new", "A comment", {"title": '<Ben> & "co"\r\nX-Evil: 1', "url": "/note/7"}, 5)
NORA = Recipient("7", "Nora", "nora@example.org", "", "https://notes.example")


def said(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, HTTPHeaders({name.replace("_", "-"): text for name, text in headers.items()}), body, True)


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_is_had(status: int) -> None:
    Service("pager").check(said(status))


@pytest.mark.parametrize("status", [301, 302, 304, 400, 401, 403, 404, 405, 410, 413, 422])
def test_4xx_is_dead_with_its_code_and_what_was_said(status: int) -> None:
    with pytest.raises(Undeliverable, match=rf"^pager says {status} no \\u001bthis never$"):
        Service("pager").check(said(status, b"no\n \x1bthis never"))


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("https://other.example/services/s3cret?t=s3cret", "https://other.example"), ("/services/s3cret", ""),
        ("https://s3cret:s3cret@other.example/", "https://other.example"), ("https://[s3cret", ""),
    ],
)  # fmt: skip
def test_where_it_would_send_us_is_told_without_what_may_be_secret(where: str, told: str) -> None:
    with pytest.raises(Undeliverable) as caught:
        Service("pager").check(said(301, Location=where))
    assert str(caught.value) == f"pager says 301 {told}".rstrip()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_5xx_and_what_says_so_is_later(status: int) -> None:
    service = Service("pager")
    with pytest.raises(NotSent, match=f"^pager says {status}$") as caught:
        service.check(said(status))
    assert caught.value.after is None
    service.check_open()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("30", 30.0), ("0.5", 0.5), ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0), ("999999", LONGEST), ("inf", LONGEST),
        ("0", None), ("-5", None), ("nan", None), ("soon", None), ("Wed, 21 Oct 2025 07:28:30 GMT", None),
    ],
)  # fmt: skip
def test_a_service_that_says_when_is_left_alone_until_then(text: str, after: float | None) -> None:
    clock = Clock()
    service = Service("pager", clock)
    with pytest.raises(NotSent) as caught:
        service.check(said(429, Retry_After=text, Date="Wed, 21 Oct 2026 07:28:00 GMT"))
    assert caught.value.after == after
    if after is not None:
        # whatever there is for it
        clock.now += after / 2
        with pytest.raises(NotSent, match="wants to be left alone") as caught:
            service.check_open()
        assert caught.value.after == after / 2
        clock.now += after / 2
    service.check_open()


def test_a_date_without_the_answers_own_says_nothing() -> None:
    with pytest.raises(NotSent) as caught:
        Service("pager").check(said(503, Retry_After="Wed, 21 Oct 2026 07:28:30 GMT"))
    assert caught.value.after is None


# ---- templates


async def asked(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[str, str, dict[str, str], bytes | None]:
    """What a service is asked for."""
    seen: list[Any] = []

    async def ask(_: HttpClient, method: str, url: str, headers: Any = None, body: bytes | None = None) -> Answer:
        seen.append((method, url, dict(headers), body))
        return said(200)

    monkeypatch.setattr(HttpClient, "ask", ask)
    notifier = HttpNotifier("pager", Http(kind="http", **settings))
    await notifier.send(SENT, NORA)
    await notifier.close()
    found: tuple[str, str, dict[str, str], bytes | None] = seen[0]
    return found


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'"<Ben> & \\"co\\"\\r\\nX-Evil: 1"'),
        ("application/cloudevents+json; charset=utf-8", b'"<Ben> & \\"co\\"\\r\\nX-Evil: 1"'),
        ("application/x-www-form-urlencoded", b'"%3CBen%3E%20%26%20%22co%22%0D%0AX-Evil%3A%201"'),
        ("text/html", b'"&lt;Ben&gt; &amp; &quot;co&quot;\r\nX-Evil: 1"'),
        ("text/plain", b'"<Ben> & "co"\r\nX-Evil: 1"'),
    ],
)
async def test_what_stands_in_a_body_is_escaped_by_its_type(
    monkeypatch: pytest.MonkeyPatch, kind: str, body: bytes
) -> None:
    _, _, headers, sent = await asked(
        monkeypatch, url="https://pager.example", headers=(("content-type", kind),), body='"{{ subject }}"'
    )
    assert (sent, headers) == (body, {"Content-Type": kind})


async def test_a_url_and_headers_hold_what_stands_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    method, url, headers, body = await asked(
        monkeypatch, method="GET", url="https://pager.example/{{ subject }}/x?to={{ name }}&at={{ url }}",
        headers=(("x-title", "{{ subject }} é {{ secret }}"),), secret="s",
    )  # fmt: skip
    assert (method, body) == ("GET", None)
    assert url == (
        "https://pager.example/%3CBen%3E%20%26%20%22co%22%0D%0AX-Evil%3A%201/x?to=Nora"
        "&at=https%3A%2F%2Fnotes.example%2Fnote%2F7"
    )
    assert headers["X-Title"] == '<Ben> & "co" X-Evil: 1 Ã© s'  # the bytes of UTF-8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"body": '{"a": {{ subject }}}'}, r"\[notify.pager\] body: what it makes is no JSON"),
        ({"body": '{"a": "{{ data[\'nope\'] }}"}'}, r"\[notify.pager\] body: KeyError: 'nope'"),
        ({"url": "https://pager.example/{{ data['nope'] }}"}, r"\[notify.pager\] url: KeyError: 'nope'"),
    ],
)
async def test_what_cannot_be_filled_in_is_dead_and_says_where(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(Undeliverable, match=words):
        await asked(monkeypatch, **{"url": "https://pager.example", **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, r"\[notify.pager\] url is empty"),
        ({"url": "https://x/{{ id"}, r"\[notify.pager\] url: is no template"),
        ({"url": "https://x", "body": "{% if %}"}, r"\[notify.pager\] body: is no template"),
        ({"url": "https://x", "headers": (("A", "{{"),)}, r"\[notify.pager\] headers A: is no template"),
    ],
)
def test_what_is_no_template_is_said_at_the_start(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HttpNotifier("pager", Http(kind="http", **settings))


@pytest.mark.parametrize(
    "line",
    ["url = ftp://x", "method = DELETE", "headers = X-Key: 1", 'headers = {"A": 1}', 'headers = {"A b": "1"}',
     'headers = {"A": "b\\nc"}', "headers = []"],
)  # fmt: skip
def test_what_is_no_setting_is_refused(tmp_path: Path, line: str) -> None:
    conf = tmp_path / "gorgond.conf"
    conf.write_text(f"[notify.pager]\nkind = http\n{line}\n")
    with pytest.raises(ConfigError, match=rf"\[notify.pager\] {line.split()[0]} cannot be"):
        load(str(conf), {}, {})
