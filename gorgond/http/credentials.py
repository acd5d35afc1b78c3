"""Credentials: the token of a request, and the protection against requests that others make a browser send (XSRF).

Programs send `Authorization: Bearer TOKEN`. Browsers send the session cookie by themselves, also when a page of
somebody else's makes them; so whatever changes something has to prove that a page of ours asked for it, with a value
that only such a page can know: HMAC-SHA256 of the session's token, as header X-XSRF-Token or as field _xsrf of a form.
It needs no state, and ends with the session. Where there is no session yet, the browser's own word on where the request
comes from (Sec-Fetch-Site, Origin) is the proof.

The cookie's prefix __Host- makes browsers refuse it from anybody but this very host over TLS. Chromium counts
http://localhost and http://127.0.0.1 as safe too; over plain HTTP to any other host it does not keep it.

A token never leaves the web server: what travels through the queues, and is stored, is its SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

from tornado.httputil import parse_cookie

from gorgond.http.answers import Problem
from gorgond.http.forms import fields_of, is_form
from gorgond.http.routes import Request

COOKIE = "__Host-session"
TOKEN_MAX = 200  # characters; ours have 43
XSRF_HEADER, XSRF_FIELD = "X-XSRF-Token", "_xsrf"

Need = Literal["required", "optional"]

_SAFE = ("GET", "HEAD", "OPTIONS")
_OURS = ("same-origin", "none")  # of Sec-Fetch-Site: a page of ours, or nobody's: typed, a bookmark
FLAGS = "Path=/; Secure; HttpOnly; SameSite=Lax"


def credentials(request: Request, need: Need, rights: str = "", proved: bool = False) -> dict[str, str]:
    """The credentials for the auth server, in a message's `user`: {"token": its digest or nothing, "need", "rights"}.
    `proved`: it is known that a page of ours has sent the request.

    Raises Problem 401 when a token is needed and there is none, 403 for a forged request.
    """
    token = token_of(request, proved)
    if not token and need == "required":
        raise unauthorized("this needs a user: log in, then send Authorization: Bearer TOKEN")
    return {"token": digest(token) if token else "", "need": need, "rights": rights}


def token_of(request: Request, proved: bool = False) -> str:
    """The session's token: that of the Authorization header, or of the cookie; nothing without either.

    Raises Problem 401 for an Authorization that is no Bearer, 403 when a request that changes something has the cookie
    and not the proof that a page of ours sent it, and that is not `proved` otherwise.
    """
    header = request.headers.get("Authorization", "")
    if header:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_MAX:
            raise unauthorized("Authorization: must be Bearer and a token")
        return token
    token = _cookie(request)
    if proved or request.method in _SAFE:
        return token
    if token and not hmac.compare_digest(_proof_of(request), proof(token)):
        raise Problem(403, f"{XSRF_HEADER}: must be the value that the page got, in the header or as {XSRF_FIELD}")
    return token


def xsrf_token(request: Request) -> str:
    """The token that a page puts into its forms; empty where there is no session."""
    token = _cookie(request)
    return proof(token) if token else ""


def has_cookie(request: Request) -> bool:
    """Whether the session is one in a cookie."""
    return "Authorization" not in request.headers and bool(_cookie(request))


def former(request: Request) -> dict[str, str]:
    """The session that a browser has, for the auth server: a login that puts another one into the cookie ends it."""
    token = _cookie(request)
    return {"former": digest(token)} if token else {}


def check_origin(request: Request) -> None:
    """Refuse a request that a browser sends for a page of another site. Raises Problem 403.

    A program says nothing of where it comes from, and is no browser that could be misled.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        ours = site in _OURS
    else:
        ours = origin is None or _host(origin) == request.headers.get("Host", "").lower()
    if not ours:
        raise Problem(403, "this must be asked for by a page of this site")


def is_from_our_page(request: Request) -> bool:
    """Whether a browser says that a page of this site has sent the request: no page of another site can make it say
    so, and who is no browser has no cookie that somebody else could use."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return bool(site == "same-origin")
    return origin is not None and _host(origin) == request.headers.get("Host", "").lower()


def _host(origin: str) -> str | None:
    """The host that an Origin names; None for what is no address."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def session_cookie(token: str, max_age: int) -> str:
    """The Set-Cookie header that keeps a session in a browser for `max_age` seconds."""
    return f"{COOKIE}={token}; Max-Age={max_age}; {FLAGS}"


def cleared_cookie() -> str:
    """The Set-Cookie header that ends it."""
    return session_cookie("", 0)


def new_token() -> str:
    """A token for a session that is to begin: 32 random bytes."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """By what a token is known behind the web server."""
    return hashlib.sha256(token.encode()).hexdigest()


def unauthorized(message: str) -> Problem:
    """401, which says how to log in."""
    return Problem(401, message, {"WWW-Authenticate": "Bearer"})


def _cookie(request: Request) -> str:
    token = parse_cookie(request.headers.get("Cookie", "")).get(COOKIE, "")
    return token if len(token) <= TOKEN_MAX and token.isascii() else ""


def proof(token: str) -> str:
    """The proof that a request comes from a page which the session of this token was told to."""
    return hmac.new(token.encode(), b"xsrf", hashlib.sha256).hexdigest()


def _proof_of(request: Request) -> str:
    """The proof that a request brings, in its header or its form; of ASCII, as comparing wants it."""
    given = request.headers.get(XSRF_HEADER, "")
    if not given and is_form(request.headers.get("Content-Type", "")):
        with suppress(ValueError):  # it is none of ours
            given = next((value for name, value in fields_of(request.body) if name == XSRF_FIELD), "")
    return given if given.isascii() else ""
