"""Notifications in browsers, by web push, whether or not a page of the site is open there (RFC 8030).

    [notify.push]
    kind = push
    contact = mailto:ops@example.org

A browser that subscribes gives us an address at its maker's push service. What we send there only that browser reads
(`webpush`); it is shown by the website's service worker (http/static/worker.js):

    {"id", "title", "text", "url"}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from gorgond.app.browsers import BROWSERS
from gorgond.errors import ConfigError, NotSent, TargetGone, Unreachable
from gorgond.notifiers.answers import Service
from gorgond.notifiers.notifier import Keys, Notification, Notifier, Recipient
from gorgond.notifiers.webpush import Voucher, encrypted, new_private_key
from gorgond.outside.http import HttpClient
from gorgond.redpill import dumps, now_ms
from gorgond.settings import Notify, setting
from gorgond.validators import matching, whole

TITLE_MAX, TEXT_MAX = 100, 300  # characters: more is not shown
URL_MAX = 1000  # bytes
KEPT = 5 * 86400  # seconds for which a push service keeps one for a browser that is not there
SERVICES_MAX = 100  # push services that we know the wishes of
UNSUBSCRIBED = (404, 410)  # what push services say of a browser that has
TOPIC = re.compile("[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True)
class Push(Notify):
    """Who it is that sends."""

    contact: str = setting(
        "",
        matching("an address as mailto:ops@example.org, one that begins with https://, or nothing",
                 r"(mailto:[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+|https://[^\s<>]+)?"),
        "whom a push service may turn to",
    )  # fmt: skip
    rate: int = setting("600", whole(1, 10**6), "notifications sent a minute, by all servers together")


class PushNotifier(Notifier):
    """Sends them to the push services of browsers."""

    settings = Push
    in_hand: ClassVar[int] = 64
    loud: ClassVar[bool] = True
    targets: ClassVar[str] = BROWSERS

    def __init__(self, name: str, settings: Push) -> None:
        super().__init__(name, settings)
        if not settings.contact:
            raise ConfigError(f"[notify.{name}] contact is empty: it says whom a push service may turn to")
        self._contact = settings.contact
        self._voucher: Voucher | None = None
        self._services: dict[str, Service] = {}
        self._client = HttpClient()

    async def open(self, keys: Keys) -> None:
        private = new_private_key()
        kept = await keys.kept_key(Voucher(private, self._contact).public, private)
        self._voucher = Voucher(kept, self._contact)

    async def send(self, notification: Notification, recipient: Recipient) -> None:
        if self._voucher is None:
            raise NotSent("the key with which we sign is not there yet", after=1.0)
        browser = recipient.target
        endpoint = browser["endpoint"]
        service = self._service(endpoint)
        service.check_open()
        try:
            body = encrypted(payload(notification, recipient.site), browser["p256dh"], browser["auth"])
        except ValueError as error:
            raise TargetGone(f"the browser's key is none: {error}") from error
        headers = {
            "Authorization": self._voucher.header(endpoint), "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(max(0, KEPT - max(0, now_ms() - notification.at) // 1000)),
        }  # fmt: skip
        if TOPIC.fullmatch(notification.id):  # one that comes twice takes the place of itself
            headers["Topic"] = notification.id
        try:
            answer = await self._client.ask("POST", endpoint, headers, body)
        except Unreachable as error:
            raise NotSent(f"the push service {urlsplit(endpoint).hostname}: {error}") from error
        if answer.status in UNSUBSCRIBED:
            raise TargetGone(f"{answer.status}: the browser has unsubscribed")
        service.check(answer)

    def _service(self, endpoint: str) -> Service:
        host = urlsplit(endpoint).netloc
        if host not in self._services:
            if len(self._services) >= SERVICES_MAX:  # users name them
                self._services.clear()
            self._services[host] = Service(f"the push service {host}")
        return self._services[host]

    async def close(self) -> None:
        self._client.close()


def payload(notification: Notification, site: str) -> bytes:
    """What is told to the worker: as much as is shown, which always fits."""
    subject, text, url = notification.brief(site)
    said = {"id": notification.id, "title": _short(subject, TITLE_MAX), "text": _short(text, TEXT_MAX)}
    return dumps({**said, "url": url if len(dumps(url)) <= URL_MAX else ""})


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
