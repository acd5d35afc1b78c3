"""Users of a drill's own who have logged in, so that requests go through the auth servers too."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from gorgond.chaos.errors import Aborted

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
