"""Endpoints: addresses of users' own to which notifications are sent by HTTP, as they are stored; the servers that send
them know them by this too.

    endpoints  {"id": "USER:ID", "userid", "url", "kinds": [KIND, …] or [] for all, "secrets": [the newest, perhaps the
               one before it], "rotated", "created", "state": "on" | "off", "reason"; what notification servers note:
               "failing", "failed", "failures", "again", "tick" (`notifiers.retrying`)}

An endpoint is off when its user has said so, or when it has failed for days. Its secrets are told once, when they are
made. After a new one was made the one before it signs too, for a day, in which the receiver is given the new one.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gorgond.app.notifying import target_id
from gorgond.settings import Notify, setting
from gorgond.validators import NETWORKS, Network, whole

ENDPOINTS = "endpoints"
ON, OFF = "on", "off"
BY_USER = "you have turned it off"

REPLAY = "notify.replay"
DISABLED = "webhook.disabled"  # the kind of notification that tells of an endpoint that was disabled
DISABLED_TITLE = "An endpoint of yours gets no notifications any more"
TEST = "webhook.test"  # what a user has sent to see whether it arrives
TEST_TITLE = "A test"

ENDPOINTS_MAX = 10  # of a user
OVERLAP_MS = 24 * 3600 * 1000  # for which the secret of before signs too
_PREFIX = "whsec_"  # by the specification
_SECRET_BYTES = 32  # 24 to 64, by the specification

WELL: Mapping[str, Any] = dict.fromkeys(("failing", "failed", "failures", "again", "reason"))
"""The changes that make an endpoint one that nothing is known against."""


@dataclass(frozen=True, slots=True)
class Webhook(Notify):
    """Endpoints that users name."""

    rate: int = setting("6000", whole(1, 10**6), "notifications sent a minute, by all servers together")
    allow: tuple[Network, ...] = setting("", NETWORKS, "private networks in which endpoints may be too")


def new_secret() -> str:
    """A secret, as receivers are given it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret is. Raises ValueError for what is none."""
    return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)


def valid_secrets(endpoint: Mapping[str, Any], now: int) -> Sequence[str]:
    """The secrets that sign at this time, the newest first."""
    known: Sequence[str] = endpoint["secrets"]
    return known if now < endpoint["rotated"] + OVERLAP_MS else known[:1]


def visible_endpoint(endpoint: Mapping[str, Any], now: int) -> dict[str, Any]:
    """An endpoint as its user sees it: all but its secrets."""
    both = len(valid_secrets(endpoint, now)) > 1
    return {
        "id": target_id(endpoint),
        "url": endpoint["url"],
        "kinds": endpoint["kinds"],
        "state": endpoint["state"],
        "reason": endpoint.get("reason") or "",
        "failing": endpoint.get("failing"),
        "created": endpoint["created"],
        "old_secret_until": endpoint["rotated"] + OVERLAP_MS if both else None,
    }
