"""The rights of visitors.

Looking is for the operator, and with `[stats] open = local` for everybody on this host: a visitor who connects from a
loopback address, asks for a loopback name (or a page elsewhere could have a name of its own point here), and was not
forwarded. A proxy on this host that says nothing of whom it forwards for, as nginx does unless told to, looks just like
somebody on this host; so that is for the administrator to choose, where no proxy leads here. Only the operator changes
or sees messages.

The operator has the password: as `Authorization: Bearer PASSWORD`, or by logging in, which gives a cookie. Since a
browser sends the cookie by itself, a POST needs the header `X-Gorgond: stats` too, which a page of another site cannot
send (OWASP's cross-site request forgery prevention by a custom header), and the cookie is SameSite=Strict.

Wrong passwords slow down who gives them (`stats.guesses`): a client by its address, the real one where a trusted proxy
tells of it. A browser in which the operator was logged in has a cookie by which it is known from then on, and counts by
itself: a guesser at the same address does not lock the operator out (OWASP's device cookies). It lets nobody in.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
import time
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from gorgond.config import Config
from gorgond.errors import ConfigError
from gorgond.http.addresses import came_by_tls, is_trusted
from gorgond.http.answers import Problem
from gorgond.http.routes import Request
from gorgond.service.pseudonyms import Pseudonyms, key_of
from gorgond.stats.guesses import Guesses
from gorgond.stats.sessions import LIFETIME, Sessions
from gorgond.validators import Network

SESSION, BROWSER = "gorgon_stats", "gorgon_stats_browser"  # the cookies
SECURE = "__Host-"  # so their names begin over https
OURS = ("X-Gorgond", "stats")  # the header that only our own page sends
FORWARDED = re.compile(
    "forward|(client|real|user|connecting|remote|source)-?ip|(client|real|remote|external)-?(addr|host|port)"
    "|^(via|cdn-loop|x-amzn-trace-id)$|^(cf|fastly|fly|x-arr)-",
    re.IGNORECASE,
)
"""The names of the headers by which proxies and CDNs tell of their clients, or of themselves."""

BROWSER_KNOWN = 180 * 24 * 3600  # seconds

_NO_PASSWORD = "this needs an operator's password, and none is set: [stats] password of the configuration"  # noqa: S105

log = logging.getLogger("gorgond.stats")


class Visitors:
    """Knows the operator by `password`; empty: there is none. Sessions are kept in `directory`. `local`: everybody on
    this host may look. `proxies` are those whose word on their client counts."""

    def __init__(
        self,
        password: str,
        directory: Path,
        local: bool = False,
        proxies: Sequence[Network] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.password = password
        self._sessions = Sessions(directory, password, clock)
        self._local = local
        self._proxies = proxies
        self._guesses = Guesses(clock)
        self._pseudonyms = Pseudonyms(key_of(password))

    def note(self, request: Request, what: str) -> None:
        """Write into the log what was done, or tried, and by a pseudonym from where."""
        log.info("%s: %s", what, self._pseudonyms.of("address", request.client))

    async def check_reader(self, request: Request) -> None:
        """May they look? Raises Problem 401, 403, 429."""
        if not self._is_local(request):
            await self.check_operator(request)

    async def check_operator(self, request: Request) -> None:
        """Is it the operator? Raises Problem 401, 403, 429."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            await self._check_password(request, given.strip())
            return
        if not self.password:
            raise Problem(403, _NO_PASSWORD)
        if not self.is_operator(request):
            raise Problem(401, "log in as the operator")
        if request.method == "POST":
            check_ours(request)

    def stays(self, request: Request) -> Callable[[], bool]:
        """Whether who may look now still may, to be asked again and again: not when their session has ended."""
        token = self._cookie_of(request, SESSION)
        if not token or self._is_local(request) or "Authorization" in request.headers:
            return lambda: True
        return lambda: self._sessions.lasts(token)

    async def log_in(self, request: Request, password: str) -> str:
        """A new session: the Set-Cookie header that gives it to the browser. Raises Problem 403, 429."""
        check_ours(request)
        await self._check_password(request, password)
        self.note(request, "the operator logged in")
        return self._cookie(request, SESSION, self._sessions.begin(), LIFETIME)

    def log_out(self, request: Request) -> str:
        """The session has ended: the Set-Cookie header that takes it from the browser."""
        self._sessions.end(self._cookie_of(request, SESSION))
        self.note(request, "the operator logged out")
        return self._cookie(request, SESSION, "", 0)

    def is_operator(self, request: Request) -> bool:
        """Whether the request has a session that has not ended; it goes on from now."""
        token = self._cookie_of(request, SESSION)
        return bool(self.password and token) and self._sessions.use(token)

    def browser(self, request: Request) -> str:
        """The Set-Cookie header by which the operator's browser is known from now on; empty if it is known already."""
        if self._sessions.is_browser(self._cookie_of(request, BROWSER)):
            return ""
        return self._cookie(request, BROWSER, self._sessions.new_browser(), BROWSER_KNOWN)

    async def _check_password(self, request: Request, given: str) -> None:
        if not self.password:
            raise Problem(403, _NO_PASSWORD)
        browser = self._cookie_of(request, BROWSER)
        who = browser if self._sessions.is_browser(browser) else request.client
        slow = await self._guesses.turn(who)
        if hmac.compare_digest(given.encode(), self.password.encode()):
            return
        self._guesses.wrong(who)
        self.note(request, "not the operator's password" + (", too many of them" if slow else ""))
        if slow:
            raise Problem(429, "wrong again: after so many each attempt takes a second", {"Retry-After": "60"})
        raise Problem(403, "this is not the operator's password")

    def _cookie_of(self, request: Request, name: str) -> str:
        """The value of a cookie of ours; empty without one."""
        try:
            found = SimpleCookie(request.headers.get("Cookie", "")).get(self._prefix(request) + name)
        except CookieError:
            return ""
        return found.value if found else ""

    def _prefix(self, request: Request) -> str:
        return SECURE if came_by_tls(request.connection, request.headers, self._proxies) else ""

    def _cookie(self, request: Request, name: str, value: str, age: int) -> str:
        prefix = self._prefix(request)
        secure = "; Secure" if prefix else ""
        return f"{prefix}{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"

    def _is_local(self, request: Request) -> bool:
        """Whether looking is open and somebody on this host asks, for this host."""
        if not self._local or any(map(FORWARDED.search, request.headers)):
            return False
        try:
            name = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        except ValueError:
            return False
        here = request.connection
        return is_loopback(name) and is_loopback(here) and not is_trusted(here, self._proxies)


def check_ours(request: Request) -> None:
    """Was it our own page that sent it, and not one of another site? Raises Problem 403."""
    name, value = OURS
    if request.headers.get(name) != value or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise Problem(403, f"this needs the header {name}: {value}, and to come from the page itself")


def check_address(config: Config) -> None:
    """Raises ConfigError when others than this host may come, and there is no password."""
    settings = config.stats
    with config.blaming("stats", "address"):
        if not is_loopback(settings.address) and not settings.password:
            raise ConfigError("others than this host may look only with a password; set [stats] password too")


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
