"""Webhooks, by Standard Webhooks 1.0 (standardwebhooks.com): notifications as requests to endpoints of users' own.

    POST /hook
    webhook-id: 5f2b…               the notification's id: the same whenever it is sent again
    webhook-timestamp: 1700000000   when this request was made, seconds since 1970
    webhook-signature: v1,K5oZ…     HMAC-SHA256 of id.timestamp.body, in base64; two of them while a secret is changed
    {"type": "comment.new", "timestamp": "2023-11-14T22:13:20.000Z", "data": {…}}

Any 2xx says that it was taken, 410 that nothing is to be sent there any more. All else, and no answer, is a failure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from gorgond.app.webhooks import DISABLED, ENDPOINTS, ON, Webhook, key_of, valid_secrets
from gorgond.errors import NotSent, TargetGone, Unreachable
from gorgond.notifiers.notifier import Notification, Notifier, Recipient
from gorgond.outside.http import HttpClient
from gorgond.redpill import dumps, now_ms

MINUTE, HOUR = 60.0, 3600.0


class WebhookNotifier(Notifier):
    """Sends webhooks."""

    settings = Webhook
    in_hand: ClassVar[int] = 256
    targets: ClassVar[str] = ENDPOINTS
    schedule: ClassVar[Sequence[float]] = (
        5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR
    )  # fmt: skip

    def __init__(self, name: str, settings: Webhook) -> None:
        super().__init__(name, settings)
        self._http = HttpClient(settings.allow)

    def wants(self, target: Mapping[str, Any], notification: Notification) -> bool:
        if notification.kind == DISABLED and notification.data["endpoint"] == target["id"]:
            return False  # it may be on still when this is looked at
        return target["state"] == ON and (not target["kinds"] or notification.kind in target["kinds"])

    async def send(self, notification: Notification, recipient: Recipient) -> None:
        endpoint, now = recipient.target, now_ms()
        body = body_of(notification)
        keys = [key_of(each) for each in valid_secrets(endpoint, now)]
        headers = {"Content-Type": "application/json", **signed(notification.id, now // 1000, body, keys)}
        try:
            answer = await self._http.ask("POST", endpoint["url"], headers, body)
        except Unreachable as error:
            raise NotSent(str(error)) from error
        if answer.status == 410:
            raise TargetGone("it says 410: nothing is to be sent there any more", answer.status)
        if not 200 <= answer.status < 300:
            raise NotSent(f"it says {answer.status}", answer.status)

    async def close(self) -> None:
        self._http.close()


def body_of(notification: Notification) -> bytes:
    """What is sent: the same bytes whenever that is."""
    at = datetime.fromtimestamp(notification.at / 1000, UTC).isoformat(timespec="milliseconds")
    return dumps({"type": notification.kind, "timestamp": at.replace("+00:00", "Z"), "data": notification.data})


def signed(id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that prove from whom a request is, to who has one of the keys."""
    content = f"{id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
