"""A kind of channel whose users have several targets, for tests: pagers, documents that a test stores.

It is imported as `pager`: who loads applications that are modules of `tests` loads all others of these anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gorgond.notifiers.notifier import Notification, Notifier, Recipient

# A test's own: what was sent, what was tried, by pagers' documents' ids, and which of them fail.
SENT: dict[str, list[str]] = {}
TRIED: list[tuple[str, str]] = []
FAILS: dict[str, Callable[[], Exception]] = {}


class PagerNotifier(Notifier):
    """Sends to pagers; those that are off want nothing."""

    targets = "pagers"

    def wants(self, target: Mapping[str, Any], notification: Notification) -> bool:
        return target["state"] == "on" and notification.kind not in target.get("unwanted", [])

    async def send(self, notification: Notification, recipient: Recipient) -> None:
        pager = recipient.target["id"]
        TRIED.append((pager, notification.id))
        if pager in FAILS:
            error = FAILS[pager]()
            raise error
        SENT[pager].append(notification.id)
