"""Notifications by HTTP, to a service that takes them so: ntfy, Gotify, Slack, Discord, Matrix, PubNub and many more.

    [notify.ntfy]
    kind = http
    url = https://ntfy.example.org
    headers = {"Authorization": "Bearer {{ secret }}"}
    body = {"topic": "notes-{{ user }}", "title": "{{ subject }}", "message": "{{ text }}"}

The URL, the headers and the body are Tornado's templates. What stands in one is escaped as its place wants it: in a URL
and a form with %, in JSON with a backslash, in HTML as an entity. A header is one line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from urllib.parse import quote

from gorgond.errors import ConfigError, NotSent, Undeliverable, Unreachable
from gorgond.notifiers.answers import Service
from gorgond.notifiers.notifier import Notification, Notifier, Recipient
from gorgond.notifiers.templates import compiled, filled
from gorgond.outside.http import HttpClient
from gorgond.service.plain import plain
from gorgond.settings import Notify, setting
from gorgond.validators import Kind, matching, one_of

ANYWHERE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))  # who writes the configuration knows whom we are to ask
JSON = "application/json"
BODY = (
    '{"id": "{{ id }}", "user": "{{ user }}", "kind": "{{ kind }}", "title": "{{ subject }}", "text": "{{ text }}", '
    '"url": "{{ url }}"}'
)


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(each, str) and each.isprintable() for each in found.values()):
        raise ValueError
    if not all(name.isascii() and name.replace("-", "").isalnum() for name in found):
        raise ValueError
    return tuple(found.items())


@dataclass(frozen=True, slots=True)
class Http(Notify):
    """What is asked for, and where."""

    url: str = setting(
        "",
        matching("a template of a URL that starts with https:// http://, or nothing", r"(https?://\S.*)?"),
        "a template of where they are sent",
        secret=True,
    )
    method: str = setting("POST", one_of("POST", "PUT", "GET"), "how; GET has no body")
    headers: tuple[tuple[str, str], ...] = setting(
        "{}", Kind('a JSON object of texts, as {"X-Key": "{{ secret }}"}', _headers), "templates of them", secret=True
    )
    body: str = setting(BODY, matching("a template", ".*"), "a template: JSON, unless a header Content-Type says else")
    secret: str = setting("", matching("a text without blanks, or nothing", r"\S*"), "for the templates", secret=True)


class HttpNotifier(Notifier):
    """Hands them to a service."""

    settings = Http

    def __init__(self, name: str, settings: Http) -> None:
        super().__init__(name, settings)
        section = f"[notify.{name}]"
        if not settings.url:
            raise ConfigError(f"{section} url is empty: it says where notifications are sent")
        headers = {"Content-Type": JSON} | {each.title(): text for each, text in settings.headers}
        kind = headers["Content-Type"].partition(";")[0].strip().lower()
        self._json = kind == JSON or kind.endswith("+json")
        self._method = settings.method
        self._secret = settings.secret
        self._url = compiled(settings.url, f"{section} url", "quoted")
        self._headers = {each: compiled(text, f"{section} headers {each}", None) for each, text in headers.items()}
        self._body = compiled(settings.body, f"{section} body", "jsoned" if self._json else _ESCAPED.get(kind))
        self._service = Service(name)
        self._client = HttpClient(allowed=ANYWHERE)

    async def send(self, notification: Notification, recipient: Recipient) -> None:
        self._service.check_open()
        values = {**_TOOLS, **self._values(notification, recipient)}
        url = filled(self._url, values)
        headers = {name: _line(filled(template, values)) for name, template in self._headers.items()}
        body = None
        if self._method != "GET":
            text = filled(self._body, values)
            if self._json:
                _check_json(text, self._body.name)
            body = text.encode()
        try:
            answer = await self._client.ask(self._method, url, headers, body)
        except Unreachable as error:
            raise NotSent(f"{self.name}: {error}") from error
        self._service.check(answer)

    def _values(self, notification: Notification, recipient: Recipient) -> dict[str, Any]:
        brief = notification.brief(recipient.site)
        return {
            "id": notification.id, "user": notification.user, "kind": notification.kind, "title": notification.title,
            "data": notification.data, "at": notification.at, "subject": brief.subject, "text": brief.text,
            "url": brief.url, "name": recipient.name, "email": recipient.email, "site": recipient.site,
            "unsubscribe": recipient.unsubscribe, "secret": self._secret,
        }  # fmt: skip

    async def close(self) -> None:
        self._client.close()


# ---- what stands in a template, as its place wants it


def _quoted(value: bytes) -> str:
    return quote(value, safe="")


def _jsoned(value: bytes) -> str:
    return json.dumps(value.decode(), ensure_ascii=False)[1:-1]


_TOOLS = {"quoted": _quoted, "jsoned": _jsoned}
_ESCAPED = {"application/x-www-form-urlencoded": "quoted", "text/html": "xhtml_escape", "text/xml": "xhtml_escape"}


def _line(text: str) -> str:
    """A header's text: one line, in the bytes of UTF-8, each a character as HTTP has it."""
    return plain(" ".join(text.split())).encode().decode("latin-1")


def _check_json(body: str, name: str) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise Undeliverable(f"{name}: what it makes is no JSON: {error}") from error
