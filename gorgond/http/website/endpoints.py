"""Pages of a user's endpoints: which there are, what became of what was sent there, and what one does about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gorgond.errors import BadRequest
from gorgond.http.answers import Answer
from gorgond.http.asking import Asking
from gorgond.http.bodies import form_body
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.website.rendering import DID, GO_ON, OWN_PAGE, Templates, page, see_other
from gorgond.http.website.visitor import show_again, visitor_of
from gorgond.redpill import CallFailed, now_ms

PLACE = "/notifications/endpoints"
URL_MAX = 2000
KINDS_MAX = 8000  # characters in the field of kinds
DAY_MS = 24 * 3600 * 1000

_ID = Parameter("id", "the endpoint's id", str, high=64)
_URL = Parameter("url", "where it is", str, high=URL_MAX)
_KINDS = Parameter(
    "kinds", "kinds of notifications, with commas between them; none: all", str, high=KINDS_MAX, empty=True
)
_STATE = Parameter("state", "on, or off", str, high=3)
_DAYS = Parameter("days", "of so many days", int, 1, 365)
_NONE: Mapping[str, str] = {}
_MADE = {**GO_ON, 200: ("the page, with the secret", "text/html")}


class Endpoints:
    """The pages; `routes` says which is for what."""

    def __init__(self, asking: Asking, templates: Templates) -> None:
        self._asking = asking
        self._templates = templates
        own = f"{PLACE}/{{id}}"
        missing = {404: ("there is no such endpoint of one's own", "Error")}
        self.routes = (
            Route("GET", PLACE, self.endpoints, "One's endpoints", query=(DID,), answers=OWN_PAGE | missing),
            Route("POST", PLACE, self.add, "Add an endpoint", form=(_URL, _KINDS), answers=_MADE),
            Route("GET", own, self.endpoint, "One endpoint", (_ID,), query=(DID,), answers=OWN_PAGE | missing),
            Route("POST", own, self.change, "Change an endpoint", (_ID,), form=(_URL, _KINDS), answers=GO_ON),
            Route("POST", own + "/state", self.turn, "Turn an endpoint on or off", (_ID,), form=(_STATE,),
                  answers=GO_ON),
            Route("POST", own + "/secret", self.secret, "Make another secret", (_ID,), answers=_MADE),
            Route("POST", own + "/test", self.test, "Send a test there", (_ID,), answers=GO_ON),
            Route("POST", own + "/replay", self.replay, "Send again what was given up", (_ID,), form=(_DAYS,),
                  answers=GO_ON),
            Route("POST", own + "/delete", self.delete, "Delete an endpoint", (_ID,), answers=GO_ON),
        )  # fmt: skip

    async def endpoints(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] = _NONE
    ) -> Answer:
        """The page of all of them, with the form for one more."""
        visitor, answer = await asyncio.gather(
            visitor_of(self._asking, request), self._asking.app(request, "site.endpoints", {})
        )
        shown = {
            "here": "notifications", "did": request.parameters.get("did", ""), "endpoints": answer["endpoints"],
            "said": said, "wrong": wrong, "values": typed,
        }  # fmt: skip
        return page(self._templates.render("endpoints.html", visitor, **shown))

    async def add(self, request: Request) -> Answer:
        """Add one: its page, with its secret, which is shown this once."""
        typed = form_body(request)
        try:
            made = await self._asking.app(request, "site.add_endpoint", {"wanted": _wanted(typed)})
        except (BadRequest, CallFailed) as failed:
            return await show_again(failed, lambda said, wrong: self.endpoints(request, said, wrong, typed))
        return await self._page(request, made["id"], secret=made["secret"])

    async def endpoint(self, request: Request) -> Answer:
        """The page of one."""
        return await self._page(request, request.parameters["id"])

    async def _page(
        self, request: Request, id: str, said: str = "", wrong: str = "", typed: Mapping[str, str] = _NONE,
        secret: str = "",
    ) -> Answer:  # fmt: skip
        visitor, found = await asyncio.gather(
            visitor_of(self._asking, request), self._asking.app(request, "site.endpoint", {"id": id})
        )
        values = typed or {"url": found["url"], "kinds": ", ".join(found["kinds"])}
        shown: dict[str, Any] = {
            "here": "notifications", "did": request.parameters.get("did", ""), "endpoint": found, "secret": secret,
            "said": said, "wrong": wrong, "values": values,
        }  # fmt: skip
        return page(self._templates.render("endpoint.html", visitor, **shown))

    async def change(self, request: Request) -> Answer:
        """Change one."""
        id, typed = request.parameters["id"], form_body(request)
        try:
            await self._asking.app(request, "site.change_endpoint", {"id": id, "wanted": _wanted(typed)})
        except (BadRequest, CallFailed) as failed:
            return await show_again(failed, lambda said, wrong: self._page(request, id, said, wrong, typed))
        return _back(id, "changed")

    async def turn(self, request: Request) -> Answer:
        """Turn one on or off."""
        state = form_body(request).get("state", "")
        args = {"id": request.parameters["id"], "wanted": {"state": state}}
        await self._asking.app(request, "site.change_endpoint", args)
        return _back(args["id"], "changed")

    async def secret(self, request: Request) -> Answer:
        """Make another secret: the page, with it, which is shown this once."""
        id = request.parameters["id"]
        made = await self._asking.app(request, "site.new_endpoint_secret", {"id": id})
        return await self._page(request, id, secret=made["secret"])

    async def test(self, request: Request) -> Answer:
        """Send a test there."""
        return await self._do(request, "site.test_endpoint", {}, "tested")

    async def replay(self, request: Request) -> Answer:
        """Send again what was given up in the last days."""
        days = _DAYS.read(form_body(request).get("days", ""))
        return await self._do(request, "site.replay", {"since": max(now_ms() - days * DAY_MS, 0)}, "replayed")

    async def _do(self, request: Request, op: str, args: dict[str, Any], did: str) -> Answer:
        id = request.parameters["id"]
        try:
            await self._asking.app(request, op, {"id": id, **args})
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self._page(request, id, said, wrong))
        return _back(id, did)

    async def delete(self, request: Request) -> Answer:
        """Delete one."""
        await self._asking.app(request, "site.delete_endpoint", {"id": request.parameters["id"]})
        return see_other(f"{PLACE}?did=gone")


def _wanted(typed: Mapping[str, str]) -> dict[str, Any]:
    """What the form of an endpoint says."""
    kinds = typed.get("kinds", "").replace(",", " ").split()
    return {"url": typed.get("url", "").strip(), "kinds": kinds}


def _back(id: str, did: str) -> Answer:
    return see_other(f"{PLACE}/{id}?did={did}")
