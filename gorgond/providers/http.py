"""APIs outside, asked for applications by HTTPS: those alone that the configuration names.

    [provider.http]
    kind = http
    allow = https://api.example.org/v1/

`ctx.fetch` asks it. An answer has 20 seconds and 64 KB; no redirect is followed, and no private address asked, but in
`networks` that are allowed.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gorgond.errors import BadRequest, Forbidden, Refused, Unreachable
from gorgond.outside.http import BODY_MAX, HttpClient
from gorgond.outside.urls import check_url
from gorgond.providers.source import Source
from gorgond.settings import Provider, setting
from gorgond.validators import NETWORKS, Network, matching

_PREFIX = r"https://[\w.:\[\]-]+/(\S*/)?"
_PREFIXES = matching("beginnings of addresses, as https://api.example.org/v1/ with a slash at the end, with blanks "
                     "between them, or nothing", rf"({_PREFIX}( +{_PREFIX})*)?")  # fmt: skip
_HEADER = re.compile(r"[!#$%&'*+.^`|~\w-]+:[\x20-\x7e\t]*", re.ASCII)
_OURS = ("connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade")
"""Headers by which a request is led and framed: with one of its own an application would reach others than `allow`
names, behind the same address."""
_READS = ("GET", "HEAD")
_METHODS = (*_READS, "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class HttpSettings(Provider):
    """What [provider.NAME] has of this kind."""

    allow: str = setting("", _PREFIXES, "with what an address begins that may be asked")
    networks: tuple[Network, ...] = setting("", NETWORKS, "private networks where they may be too")
    authorization: str = setting(
        "",
        matching("a header, or nothing", r"[!-~]*( [!-~]+)*"),
        "the header Authorization of all that is asked",
        secret=True,
    )


class HttpSource(Source):
    """Asks them. An application knows neither the secret nor more of the network than it is answered."""

    settings = HttpSettings
    remembers = False

    def __init__(self, name: str, settings: HttpSettings) -> None:
        super().__init__(name, settings)
        self._allowed = settings.allow.split()
        self._networks = settings.networks
        self._own = {"Authorization": settings.authorization} if settings.authorization else {}
        self._http = HttpClient(settings.networks)

    async def get(self, op: str, args: Mapping[str, Any]) -> Any:
        """The answer to a question that changes nothing. Raises Refused, and BadRequest for one that would."""
        if op != "fetch":
            return await super().get(op, args)
        return await self._ask(args, _READS, {})

    async def put(self, op: str, args: Mapping[str, Any], id: str) -> Any:
        """The answer to any other; who is asked can tell by its Idempotency-Key that it is asked again."""
        if op != "fetch":
            return await super().put(op, args, id)
        return await self._ask(args, _METHODS, {"Idempotency-Key": id})

    async def _ask(self, args: Mapping[str, Any], methods: tuple[str, ...], more: Mapping[str, str]) -> dict[str, Any]:
        method, url, headers = args.get("method"), args.get("url"), args.get("headers", {})
        if method not in methods:
            raise BadRequest("method", f"must be one of {', '.join(methods)}")
        if not isinstance(url, str) or not isinstance(headers, dict):
            raise BadRequest("url", "must be a text, and headers an object")
        if any(not _HEADER.fullmatch(f"{name}:{text}") for name, text in headers.items()):
            raise BadRequest("headers", "must be names and texts of ASCII")
        if ours := [name for name in headers if name.lower() in _OURS]:
            raise BadRequest("headers", f"{ours[0]} is not for an application to say")
        self._check(url)
        body = None if args.get("body") is None else b64decode(args["body"])
        try:
            answer = await self._http.ask(method, url, {**more, **headers, **self._own}, body)
        except Unreachable as error:
            raise Refused(502, f"{self.name}: {error}") from None
        if not answer.whole:
            raise Refused(502, f"{self.name}: the answer did not come to its end, or has more than {BODY_MAX} bytes")
        known = {name.lower(): text for name, text in answer.headers.items()}
        return {"status": answer.status, "headers": known, "body": b64encode(answer.body).decode()}

    def _check(self, url: str) -> None:
        """Raises BadRequest and Forbidden unless the address may be asked."""
        check_url(url, self._networks)
        path = re.split("[?#]", url)[0]
        while (plain := unquote(path)) != path:  # as often as whoever is asked may do it
            path = plain
        if {".", ".."} & {*re.split(r"[/\\;]", path)} or not url.startswith(tuple(self._allowed)):
            raise Forbidden(f"[provider.{self.name}] allow does not name {url:.200}")

    async def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
