"""Users of a site, each with a session and one note of 2 kB."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen


@dataclass(frozen=True, slots=True)
class Person:
    """A user: their id and the token of their session."""

    id: str
    token: str


def register(url: str, number: int) -> list[Person]:
    """Make so many users of the site at `url`."""
    run = os.urandom(4).hex()  # what a run that was killed has left does not disturb the next one
    return [_register(url, f"{run}-{each}") for each in range(number)]


def _register(url: str, name: str) -> Person:
    login = {"email": f"{name}@bench.example", "password": f"of {name} alone"}
    id = _post(f"{url}/auth/register", login)["id"]
    token = _post(f"{url}/auth/login", login)["token"]
    _post(f"{url}/info/{id}", {"title": name, "body": "x" * 1800}, Authorization=f"Bearer {token}")
    return Person(id, token)


def _post(url: str, value: dict[str, Any], **headers: str) -> dict[str, Any]:
    headers["Content-Type"] = "application/json"
    request = Request(url, json.dumps(value).encode(), headers)  # noqa: S310 - our own server
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found
