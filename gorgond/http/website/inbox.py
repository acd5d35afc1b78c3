"""Pages of a user's notifications: the inbox, what is to be sent, and the way there from an e-mail."""

from __future__ import annotations

import asyncio
import functools
from typing import Any
from zoneinfo import available_timezones

from gorgond.app.backend import Hear
from gorgond.app.times import DAILY, HOURLY
from gorgond.bounds import WHOLE_MAX
from gorgond.http.answers import Answer
from gorgond.http.asking import Asking
from gorgond.http.bodies import form_body
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.telling import Spawn
from gorgond.http.website.inbox_live import InboxLive
from gorgond.http.website.rendering import DID, GO_ON, OWN_PAGE, PAGE, Templates, page, query, see_other
from gorgond.http.website.visitor import NOBODY, show_again, visitor_of
from gorgond.redpill import CallFailed
from gorgond.service.agents import browser_of

LIM = 30  # notifications on a page

_BEFORE = Parameter("before", "those with a lower number", int, 0, WHOLE_MAX, 0)
_NUMBER = Parameter("number", "the notification's number", int, 0, WHOLE_MAX)
_UNTIL = Parameter("until", "the number of the newest one that the page shows", int, 0, WHOLE_MAX)
_SINCE = Parameter("since", "first those that came after this one", int, 0, WHOLE_MAX)
_LAST = Parameter("Last-Event-ID", "the same, as browsers say it", int, 0, WHOLE_MAX)
_ON = Parameter("on", "yes: send it", str, high=3, empty=True)
_DIGEST = Parameter("digest", "yes: in a digest", str, high=10, empty=True)
_TIMES = (
    Parameter("zone", "the time zone, as Europe/Berlin", str, high=64),
    Parameter("from", "when quiet hours begin, as 22:00", str, high=5, empty=True),
    Parameter("to", "when they end", str, high=5, empty=True),
    Parameter("digest", "daily, or hourly", str, high=10, empty=True),
    Parameter("at", "when a daily digest is sent", str, high=5, empty=True),
)
_LINK = (
    Parameter("who", "the user's id", str, high=64),
    Parameter("kind", "the kind of notification", str, high=64),
    Parameter("channel", "how it is sent", str, high=64),
)
_BROWSER = Parameter("id", "the browser's id", str, high=64)
_TOKEN = Parameter("token", "what the link has, as a proof", str, high=100)


class Inbox:
    """The pages; `routes` says which is for what."""

    def __init__(self, asking: Asking, templates: Templates, hear: Hear, spawn: Spawn) -> None:
        self._asking = asking
        self._templates = templates
        self._live = InboxLive(hear, spawn, asking)
        self.routes = (
            Route("GET", "/notifications", self.inbox, "One's notifications", query=(_BEFORE, DID), answers=OWN_PAGE),
            Route("POST", "/notifications/read", self.read_all, "Mark all as read", form=(_UNTIL,), answers=GO_ON),
            Route("POST", "/notifications/{number}/read", self.read, "Mark one as read", (_NUMBER,), answers=GO_ON),
            Route("GET", "/notifications/preferences", self.preferences, "What one is sent", query=(DID,),
                  answers=OWN_PAGE),
            Route("POST", "/notifications/preferences", self.prefer, "Be sent something, or not",
                  form=(*_LINK[1:], _ON, _DIGEST), answers=GO_ON),
            Route("POST", "/notifications/times", self.set_times, "When one is sent something", form=_TIMES,
                  answers=GO_ON),
            Route("POST", "/notifications/browsers/{id}", self.remove_browser, "Be told in a browser no more",
                  (_BROWSER,), answers=GO_ON),
            Route("GET", "/notifications/unsubscribe", self.leaving, "Whether to be sent no more of it",
                  query=(*_LINK, _TOKEN), answers=PAGE),
            Route("POST", "/notifications/leave", self.leave, "Be sent no more of it", form=(*_LINK, _TOKEN),
                  answers=PAGE | {
                      400: ("something of the link is missing", "Error text/html"),
                      404: ("the link is not valid", "Error text/html")}),
            Route("GET", "/me/notifications/live", self.live, "One's notifications as they come, as server-sent events",
                  query=(_SINCE,), headers=(_LAST,),
                  answers={200: ("notifications, without an end", "text/event-stream"),
                           401: ("nobody is logged in, or not any more", "Error")}),
        )  # fmt: skip

    def close(self) -> None:
        """Let go of who watches."""
        self._live.close()

    async def live(self, request: Request) -> Answer:
        """The stream of what comes."""
        last = request.headers.get(_LAST.name)
        return await self._live.watch(request, _LAST.read(last) if last else request.parameters.get("since"))

    async def inbox(self, request: Request) -> Answer:
        """The page of one's notifications, newest first."""
        before = request.parameters["before"]
        visitor, answer = await asyncio.gather(
            visitor_of(self._asking, request),
            self._asking.app(request, "site.notifications", {"lim": LIM, "before": before}),
        )
        found: list[dict[str, Any]] = answer["notifications"]
        newest = found[0]["number"] if found else 0
        older = len(found) == LIM and found[-1]["number"] > 1
        shown = {
            "here": "notifications", "did": request.parameters.get("did", ""), "found": found,
            "unread": answer["unread"], "newest": newest,
            "older": "/notifications" + query(before=found[-1]["number"]) if older else "",
            "newer": "/notifications" if before else "",
            "live": "" if before else f"/me/notifications/live?since={newest}",
        }  # fmt: skip
        return page(self._templates.render("inbox.html", visitor, **shown))

    async def read_all(self, request: Request) -> Answer:
        """Mark all as read that the page shows, and those before them."""
        until = _UNTIL.read(form_body(request).get("until", ""))
        await self._asking.app(request, "site.read_all", {"until": until})
        return see_other("/notifications")

    async def read(self, request: Request) -> Answer:
        """Mark one as read."""
        await self._asking.app(request, "site.read", {"number": request.parameters["number"]})
        return see_other("/notifications")

    async def preferences(self, request: Request, said: str = "", wrong: str = "") -> Answer:
        """The page of what one is sent, and when."""
        visitor, preferences, told = await asyncio.gather(
            visitor_of(self._asking, request),
            self._asking.app(request, "site.preferences", {}),
            self._asking.app(request, "site.browsers", {}),
        )
        shown = {"here": "notifications", "did": request.parameters.get("did", ""), "browser": browser_of,
                 "zones": _zones(), "said": said, "wrong": wrong}  # fmt: skip
        return page(self._templates.render("preferences.html", visitor, **shown, **preferences, **told))

    async def prefer(self, request: Request) -> Answer:
        """Be sent a kind over a channel, alone or in a digest, or not."""
        typed = form_body(request)
        args = {name: typed.get(name, "") for name in ("kind", "channel")}
        preference = {name: typed.get(name, "") == "yes" for name in ("on", "digest")}
        await self._asking.app(request, "site.set_preference", {**args, "preference": preference})
        return see_other("/notifications/preferences?did=preferred")

    async def set_times(self, request: Request) -> Answer:
        """Have quiet hours, or none, and digests at some time."""
        typed = form_body(request)
        quiet = {name: typed.get(name, "") for name in ("from", "to")}
        digest = HOURLY if typed.get("digest") == HOURLY else typed.get("at") or DAILY
        times = {"zone": typed.get("zone", ""), "quiet": quiet if any(quiet.values()) else None, "digest": digest}
        try:
            await self._asking.app(request, "site.set_times", {"times": times})
        except CallFailed as failed:
            return await show_again(failed, lambda said, wrong: self.preferences(request, said, wrong))
        return see_other("/notifications/preferences?did=preferred")

    async def remove_browser(self, request: Request) -> Answer:
        """Be told in a browser no more."""
        await self._asking.app(request, "site.remove_browser", {"id": request.parameters["id"]})
        return see_other("/notifications/preferences?did=untold")

    async def leaving(self, request: Request) -> Answer:
        """The question whether to be sent no more: programs that look at the links of e-mails do not decide that."""
        values = {each.name: request.parameters.get(each.name, "") for each in (*_LINK, _TOKEN)}
        return page(self._templates.render("unsubscribe.html", NOBODY, link=values, left=False))

    async def leave(self, request: Request) -> Answer:
        """Be sent no more."""
        typed = form_body(request)
        values = {each.name: each.read(typed.get(each.name, "")) for each in (*_LINK, _TOKEN)}
        await self._asking.anybody(request, "site.unsubscribe", values)
        return page(self._templates.render("unsubscribe.html", NOBODY, link=values, left=True))


@functools.cache
def _zones() -> list[str]:
    """The names of time zones that a page offers: those of places."""
    return sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
