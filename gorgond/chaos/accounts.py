"""Users of a drill's own who have logged in, so that requests go through the auth servers too."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from gorgond.chaos.errors import Aborted
from gorgond.config import Config
from gorgond.redpill import Message, Producer
from gorgond.service.fabric import connect_fabric

TIMEOUT = 30.0  # seconds an account may take: its password is hashed with care
ACCOUNTS = 2  # more than one, or nobody could be taken for another
DOMAIN = "chaos.invalid"  # of their e-mail addresses


@dataclass(frozen=True, slots=True)
class Account:
    """A user with a session."""

    id: str
    email: str
    token: str


def make_accounts(url: str, run: str) -> list[Account]:
    """Register and log in. Raises Aborted when that is refused."""
    return [_make(url, f"{run}-{number}@{DOMAIN}") for number in range(ACCOUNTS)]


def confirm_accounts(config: Config, accounts: Iterable[Account]) -> None:
    """Have their addresses count as confirmed: the drill has no mailboxes for them, and e-mails go to no others."""
    asyncio.run(_confirm(config, accounts))


async def _confirm(config: Config, accounts: Iterable[Account]) -> None:
    fabric = connect_fabric(config)
    async with Producer(fabric.durable, "chaos-accounts") as producer:
        patches = [Message("users.patch", {"id": each.id, "changes": {"confirmed": True}}) for each in accounts]
        await producer.push("auth_store_put", *patches)


def _make(url: str, email: str) -> Account:
    login = {"email": email, "password": secrets.token_urlsafe(24)}
    user = _post(f"{url}/auth/register", login)
    return Account(user["id"], email, _post(f"{url}/auth/login", login)["token"])


def _post(url: str, body: dict[str, str]) -> dict[str, Any]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - http, ours
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError as error:
        raise Aborted(f"{url}: {error}") from None
