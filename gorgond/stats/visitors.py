"""Who may do what.

Everybody on this host may look: who connects from a loopback address, asks for a loopback name (or a page elsewhere
could have a name of its own point here), and was not forwarded by a proxy. Anybody else, and all that changes or shows
messages, needs the operator's password: as `Authorization: Bearer PASSWORD`, or by logging in, which gives a cookie.
Since a browser sends the cookie by itself, a POST needs the header `X-Gorgond: stats` too, which a page of another site
cannot send (OWASP's cross-site request forgery prevention by a custom header), and the cookie is SameSite=Strict.

A session is signed with the password, so that all stats servers of one password know it, and a new one ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from gorgond.http.answers import Problem
from gorgond.http.routes import Request

COOKIE = "gorgon_stats"
OURS = ("X-Gorgond", "stats")  # the header that only our own page sends
SESSION = 12 * 3600  # seconds that a login lasts
WRONG_MAX = 10  # wrong passwords from one address in a minute
ADDRESSES_MAX = 10_000

_NO_PASSWORD = "this needs an operator's password, and none is set: [stats] password of the configuration"  # noqa: S105


class Visitors:
    """Knows the operator by `password`; empty: there is none."""

    def __init__(self, password: str, clock: Callable[[], float] = time.time) -> None:
        self._password = password
        self._key = hashlib.sha256(b"gorgon-stats " + password.encode()).digest()
        self._clock = clock
        self._wrong: dict[tuple[str, int], int] = {}

    def check_reader(self, request: Request) -> None:
        """May they look? Raises Problem 401, 403."""
        if not _local(request):
            self.check_operator(request)

    def check_operator(self, request: Request) -> None:
        """Is it the operator? Raises Problem 401, 403, 429."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._check_password(request, given.strip())
            return
        if not self._password:
            raise Problem(403, _NO_PASSWORD)
        if not self.is_operator(request):
            raise Problem(401, "log in as the operator")
        if request.method == "POST":
            check_ours(request)

    def log_in(self, request: Request, password: str) -> str:
        """A new session. Raises Problem 403, 429."""
        check_ours(request)
        self._check_password(request, password)
        begin = f"{int(self._clock()) + SESSION}.{secrets.token_urlsafe(12)}"
        return f"{begin}.{self._signed(begin)}"

    def _check_password(self, request: Request, given: str) -> None:
        if not self._password:
            raise Problem(403, _NO_PASSWORD)
        minute = int(self._clock() // 60)
        attempt = (request.client, minute)
        if self._wrong.get(attempt, 0) >= WRONG_MAX:
            raise Problem(429, "too many wrong passwords; wait a minute", {"Retry-After": "60"})
        if not hmac.compare_digest(given.encode(), self._password.encode()):
            if len(self._wrong) >= ADDRESSES_MAX:
                self._wrong.clear()
            self._wrong[attempt] = self._wrong.get(attempt, 0) + 1
            raise Problem(403, "this is not the operator's password")

    def is_operator(self, request: Request) -> bool:
        """Whether the request has a session that is good."""
        try:
            cookie = SimpleCookie(request.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        begin, _, signature = cookie.value.rpartition(".") if cookie else ("", "", "")
        if not self._password or not hmac.compare_digest(signature.encode(), self._signed(begin).encode()):
            return False
        return int(begin.partition(".")[0]) > self._clock()

    def _signed(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def check_ours(request: Request) -> None:
    """Was it our own page that sent it, and not one of another site? Raises Problem 403."""
    name, value = OURS
    if request.headers.get(name) != value or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise Problem(403, f"this needs the header {name}: {value}, and to come from the page itself")


def cookie(session: str) -> str:
    """The header that gives the session to a browser; an empty one takes it away."""
    age = SESSION if session else 0
    return f"{COOKIE}={session}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"


def is_loopback(address: str) -> bool:
    """Whether an IP address, or localhost, is this host's own."""
    if address == "localhost":
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _local(request: Request) -> bool:
    """Whether somebody on this host asks, for this host."""
    if any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP")):
        return False
    try:
        name = urlsplit(f"//{request.headers.get('Host', 'localhost')}").hostname or ""
    except ValueError:
        return False
    return is_loopback(request.client) and is_loopback(name)
