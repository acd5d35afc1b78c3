"""Pages of notes: everybody's, one user's, and one's own with the forms to write them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gorgond.app.clients import Documents
from gorgond.bounds import DOCUMENT_ID_MAX, FORM_BODY_MAX, KEYWORD_MAX, OFF_MAX, TITLE_MAX, URL_MAX, WHOLE_MAX
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer
from gorgond.http.asking import Asking
from gorgond.http.bodies import form_body
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.website.live import Cards
from gorgond.http.website.rendering import DID, GO_ON, OWN_PAGE, PAGE, Templates, page, query, see_other
from gorgond.http.website.visitor import Visitor, again, known, visitor_of
from gorgond.redpill import CallFailed, new_id, now_ms

LIM = 20  # notes on a page
CARDS_MS = 5000  # for looking up notes that have changed

_NEWEST = [["ts", -1]]
_SHOWN: dict[str, Any] = {"fields": ["title", "url", "body", "ts", "location", "keywords", "userid"], "short": URL_MAX}
"""The arguments by which notes are listed; an address has up to 8000 characters."""

_UID = Parameter("uid", "the user's number", int, 0, WHOLE_MAX)
_ID = Parameter("id", "the note's id", str, high=DOCUMENT_ID_MAX)
_NONE_SUCH = {404: ("one has no such note", "Error")}
_SEARCH = (
    Parameter("q", "words in title or text", str, high=1000, empty=True),
    Parameter("keyword", "one of the notes' keywords", str, high=KEYWORD_MAX, empty=True),
    Parameter("off", "how many of the newest to leave out", int, 0, OFF_MAX, 0),
)
_NOTE = (
    Parameter("title", "of the note", str, high=TITLE_MAX),
    Parameter("body", "its text", str, high=FORM_BODY_MAX, empty=True),
    Parameter("url", "an address that begins with http:// or https://", str, high=URL_MAX, empty=True),
    Parameter("keywords", "with commas between them", str, high=2000, empty=True),
)


class Notes:
    """The pages; `routes` says which is for what."""

    def __init__(self, asking: Asking, templates: Templates) -> None:
        self._asking = asking
        self._templates = templates
        self.routes = (
            Route("GET", "/", self.newest, "Everybody's notes", query=_SEARCH, answers=PAGE),
            Route("GET", "/by/{uid}", self.by, "The notes of a user", (_UID,), _SEARCH, answers=PAGE),
            Route("GET", "/my", self.mine, "One's own notes", query=(*_SEARCH, DID), answers=OWN_PAGE),
            Route("POST", "/my", self.add, "Add a note", form=_NOTE, answers=GO_ON),
            Route("GET", "/my/{id}", self.note, "A note to edit", (_ID,), answers=OWN_PAGE | _NONE_SUCH),
            Route("POST", "/my/{id}", self.edit, "Save a note", (_ID,), form=_NOTE, answers=GO_ON),
            Route("POST", "/my/{id}/delete", self.delete, "Delete a note", (_ID,), answers=GO_ON),
        )

    # ---- reading

    async def newest(self, request: Request) -> Answer:
        """Everybody's notes."""
        return await self._public(request, "/", "Newest notes", {})

    async def by(self, request: Request) -> Answer:
        """The notes of one user."""
        uid = request.parameters["uid"]
        names = await self._asking.names(request, [uid])
        return await self._public(request, f"/by/{uid}", f"Notes of {_called(uid, names)}", {"userid": uid})

    async def _public(self, request: Request, at: str, heading: str, filter: Mapping[str, Any]) -> Answer:
        visitor, found = await asyncio.gather(visitor_of(self._asking, request), self._found(request, filter))
        newest = max((note.get("ts", 0) for note in found), default=0)
        live = "/live" + query(uid=filter.get("userid", ""), since=newest)
        return await self._list(request, visitor, found, found.more, at=at, heading=heading, live=live)

    async def _found(self, request: Request, filter: Mapping[str, Any]) -> Documents:
        """The notes that a page shows, and one more if there is one."""
        values = request.parameters
        args = {"filter": dict(filter), "sort": _NEWEST, "limit": LIM + 1, "skip": values.get("off", 0)} | _SHOWN
        if "keyword" in values:
            args["filter"]["keywords"] = values["keyword"]
        if "q" in values:
            args["search"] = values["q"]
        return await self._asking.find(request, "items", args)

    async def mine(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] | None = None
    ) -> Answer:
        """One's own notes, and the form for another one, with what was typed when something is wrong with it."""
        visitor, uid = await known(self._asking, request)
        found = await self._found(request, {"userid": uid})
        return await self._list(
            request, visitor, found, found.more, at="/my", heading="My notes", mine=True,
            said=said, wrong=wrong, values=typed or {}, live="",
        )  # fmt: skip

    async def _list(
        self,
        request: Request,
        visitor: Visitor,
        found: Sequence[dict[str, Any]],
        cut: bool,
        *,
        at: str,
        live: str,
        **more: Any,
    ) -> Answer:
        """A page of notes; when there are older ones `found` has one more than it shows, or there was no room for
        those: `cut`."""
        values = request.parameters
        q, keyword, off = values.get("q", ""), values.get("keyword", ""), values.get("off", 0)
        notes = found[:LIM]
        shown: dict[str, Any] = {
            "mine": False, "values": {}, "did": values.get("did", ""), "at": at, "q": q, "keyword": keyword,
            "notes": notes, "names": await self._asking.names(request, {note.get("userid") for note in notes}),
            "older": at + query(q=q, keyword=keyword, off=off + (len(notes) or 1)) if cut or len(found) > LIM else "",
            "newer": at + query(q=q, keyword=keyword, off=max(off - LIM, 0)) if off else "",
            "where": lambda keyword: at + query(keyword=keyword),
            "live": "" if q or keyword or off else live,
        }  # fmt: skip
        return page(self._templates.render("notes.html", visitor, **{**shown, **more}))

    async def cards(self, ids: Sequence[str]) -> Cards:
        """The notes with these ids, for `Live`."""
        return await self._cards({"id": {"$in": list(ids)}}, len(ids))

    async def since(self, userid: int | None, ts: int, most: int) -> Cards:
        """The newest notes that are not older, for `Live`."""
        return await self._cards({"ts": {"$gte": ts}} | ({} if userid is None else {"userid": userid}), most)

    async def _cards(self, filter: Mapping[str, Any], most: int) -> Cards:
        request = Request(new_id(), "GET", "/live", {}, b"", now_ms() + CARDS_MS)  # which is nobody's
        args = {"filter": filter, "sort": _NEWEST, "limit": most} | _SHOWN
        notes = await self._asking.find(request, "items", args)
        names = await self._asking.names(request, {note.get("userid") for note in notes})
        return {note["id"]: (note.get("userid"), self._templates.card(note, names)) for note in reversed(notes)}

    # ---- writing

    async def add(self, request: Request) -> Answer:
        """Store what the form holds."""
        typed = form_body(request)
        try:
            await self._asking.app(request, "site.add", {"note": _note(typed)})
        except (BadRequest, CallFailed) as error:
            return await again(error, lambda said, wrong: self.mine(request, said, wrong, typed))
        return see_other("/my?did=added")

    async def note(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] | None = None
    ) -> Answer:
        """The form for one note."""
        id = request.parameters["id"]
        visitor, note = await asyncio.gather(
            visitor_of(self._asking, request), self._asking.app(request, "site.one", {"id": id})
        )
        values = {**note, "keywords": ", ".join(note.get("keywords", []))} if typed is None else typed
        return page(self._templates.render("edit.html", visitor, id=id, values=values, said=said, wrong=wrong))

    async def edit(self, request: Request) -> Answer:
        """Store what the form holds in the note's place."""
        typed = form_body(request)
        try:
            await self._asking.app(request, "site.edit", {"id": request.parameters["id"], "note": _note(typed)})
        except (BadRequest, CallFailed) as error:
            return await again(error, lambda said, wrong: self.note(request, said, wrong, typed))
        return see_other("/my?did=saved")

    async def delete(self, request: Request) -> Answer:
        """Delete the note."""
        await self._asking.app(request, "site.delete", {"id": request.parameters["id"]})
        return see_other("/my?did=deleted")


def _called(uid: int, names: Mapping[Any, str]) -> str:
    return names.get(uid) or f"user {uid}"


def _note(typed: Mapping[str, str]) -> dict[str, Any]:
    """The note that a form holds."""
    note: dict[str, Any] = {name: typed.get(name, "").strip() for name in ("title", "url")}
    note["body"] = typed.get("body", "").replace("\r\n", "\n").strip()
    note["keywords"] = [word for word in (each.strip() for each in typed.get("keywords", "").split(",")) if word]
    if not note["title"]:
        raise BadRequest("title", "must be given")
    if note["url"] and not note["url"].startswith(("http://", "https://")):
        raise BadRequest("url", "must begin with http:// or https://")
    return note
