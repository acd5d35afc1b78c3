"""Logging in by way of another site, as the browser goes it: away with a state, back with a code.

The state, the nonce and the verifier of PKCE of one such journey are in a cookie of that browser for ten minutes, and
nowhere else: a browser that comes back without it has not left from here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

from tornado.httputil import parse_cookie

from gorgond.http.accounts import FORGED, OFTEN, UNKNOWN
from gorgond.http.answers import Answer, Problem, ok
from gorgond.http.asking import Asking
from gorgond.http.credentials import FLAGS, check_origin, credentials, former, new_token
from gorgond.http.routes import Parameter, Request, Route
from gorgond.redpill import dumps, loads

COOKIE = "__Host-oauth2"
JOURNEY = 600  # seconds

_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # a path here and not, as //host and /\host are, somewhere else
_SITE = Parameter("site", "its name in the configuration", str, high=100)
_TO = Parameter("to", "the path here to which the browser goes in the end, / if it is none", str, high=500, default="/")
_LINK = Parameter("link", "1: make it an account of who is logged in", int, 0, 1, 0)
_GONE = {404: ("no such site vouches for users here", "Error"), 502: ("it does not answer", "Error")}
_ELSEWHERE = {303: ("go on there", "")}


class SiteLogins:
    """The handlers; `routes` says which is for what."""

    def __init__(self, asking: Asking) -> None:
        self._ask = asking.ask
        self._begin = asking.begin
        texts = [Parameter(name, "as the site gave it", str, high=4000) for name in ("code", "state", "iss", "error")]
        mine = {**UNKNOWN, **FORGED}
        self.routes = [
            Route("GET", "/auth/oauth2", self.sites, "The other sites that vouch for users",
                  answers={200: ("the sites", "Any")}),
            Route("GET", "/auth/oauth2/{site}", self.leave, "Send the browser there to log in", (_SITE,), (_TO, _LINK),
                  answers={**_ELSEWHERE, **mine, **_GONE}),
            Route("GET", "/auth/oauth2/{site}/callback", self.back, "Where the site sends it back to", (_SITE,), texts,
                  answers={**_ELSEWHERE, **mine, **OFTEN, **_GONE, 409: ("it is somebody else's, or link it", "Error")},
                  lenient=True),
            Route("GET", "/auth/links", self.linked, "One's accounts at other sites",
                  answers={200: ("the accounts", "Any"), **UNKNOWN}, user="required"),
            Route("DELETE", "/auth/links/{site}", self.unlink, "Unlink those of one site", (_SITE,),
                  answers={204: ("unlinked", ""), **mine, 404: ("none is linked", "Error"),
                           409: ("it is the last way to log in", "Error")}, user="required"),
        ]  # fmt: skip

    async def sites(self, request: Request) -> Answer:
        return ok((await self._ask(request, "auth.oauth2.sites", {})).body)

    async def leave(self, request: Request) -> Answer:
        values = request.parameters
        if not _LOCAL.fullmatch(values["to"]):
            values["to"] = "/"
        if values["link"]:  # or another site's page could do it
            check_origin(request)
            credentials(request, "required")
        state, nonce, verifier = new_token(), new_token(), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        args = {"site": values["site"], "state": state, "nonce": nonce, "challenge": challenge}
        url = loads((await self._ask(request, "auth.oauth2.begin", args)).body)["url"]
        journey = {"state": state, "nonce": nonce, "verifier": verifier, **values}
        kept = base64.urlsafe_b64encode(dumps(journey)).decode()
        return _redirect(url, f"{COOKIE}={kept}; Max-Age={JOURNEY}; {FLAGS}")

    async def back(self, request: Request) -> Answer:
        values, journey = request.parameters, _journey(request)
        if journey.get("site") != values["site"] or not hmac.compare_digest(
            str(journey.get("state")).encode(), values.get("state", "").encode()
        ):
            raise Problem(403, "this login was not begun in this browser, or too long ago: begin it again")
        if "code" not in values:
            raise Problem(401, f"{values['site']} does not vouch for you: {values.get('error', 'it gave no code')}")
        args = {"site": values["site"], "code": values["code"], "nonce": journey["nonce"],
                "verifier": journey["verifier"], "issuer": values.get("iss", "")}  # fmt: skip
        if journey["link"]:
            await self._ask(request, "auth.oauth2.link", args, credentials(request, "required"))
            return _redirect(journey["to"])
        begun = await self._begin(request, "auth.oauth2.login", args | former(request))
        return _redirect(journey["to"], begun.cookie())

    async def linked(self, request: Request) -> Answer:
        return ok((await self._ask(request, "auth.oauth2.linked", {}, credentials(request, "required"))).body)

    async def unlink(self, request: Request) -> Answer:
        await self._ask(request, "auth.oauth2.unlink", request.parameters, credentials(request, "required"))
        return Answer(204)


def _redirect(where: str, cookie: str = "") -> Answer:
    return Answer(303, headers={"Location": where, **({"Set-Cookie": cookie} if cookie else {})})


def _journey(request: Request) -> Mapping[str, Any]:
    """The journey that this browser left with; empty when it did not, or too long ago."""
    text = parse_cookie(request.headers.get("Cookie", "")).get(COOKIE, "")
    try:
        journey = loads(base64.urlsafe_b64decode(text))
    except ValueError:
        return {}
    known = {"site": str, "state": str, "nonce": str, "verifier": str, "to": str, "link": int}
    fits = isinstance(journey, dict) and all(type(journey.get(name)) is kind for name, kind in known.items())
    return journey if fits and _LOCAL.fullmatch(journey["to"]) else {}
