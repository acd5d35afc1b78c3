"""Pages of notes: everybody's, one user's, one's own, and each note's; and the forms to write them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gorgond.app.clients import Documents
from gorgond.bounds import DOCUMENT_ID_MAX, FORM_BODY_MAX, OFF_MAX, TITLE_MAX, URL_MAX, WHOLE_MAX
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem, wants_page
from gorgond.http.asking import Asking
from gorgond.http.bodies import form_body
from gorgond.http.credentials import check_origin, xsrf_token
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.server import Translate
from gorgond.http.website.live import Cards, tag
from gorgond.http.website.rendering import DID, FOUND, GO_ON, OWN_PAGE, PAGE, Templates, page, query, see_other
from gorgond.http.website.visitor import Visitor, find_visitor, show_again, visitor_of
from gorgond.redpill import CallFailed, GorgonError, new_id, now_ms

LIM = 20  # notes on a page
CARDS_MS = 5000  # for looking up notes that have changed

_NEWEST = [["ts", -1]]
_FIELDS = ["title", "url", "body", "ts", "location", "keywords", "userid", "private"]
_LISTED: dict[str, Any] = {"fields": _FIELDS, "short": URL_MAX}
"""The arguments by which notes are listed; an address has up to 8000 characters."""

_NOT_NOW = {
    401: "You are logged out: log in in another tab, come back to this one, and send it again.",
    403: "This page was made before you logged in; what it says now is sent as yourself: send it again.",
    503: "It cannot be stored right now. What you wrote is still here: send it again in a moment.",
    504: "Nobody has answered in time. What you wrote is still here: send it again in a moment.",
}
"""Why a note was not stored, and what helps."""

_UID = Parameter("uid", "the user's number", int, 0, WHOLE_MAX)
_ID = Parameter("id", "the note's id", str, high=DOCUMENT_ID_MAX)
_NONE_SUCH = {404: ("one has no such note", "Error")}
_SEARCH = (
    Parameter("q", "words in title or text", str, high=1000, empty=True),
    Parameter("keyword", "one of the notes' keywords", str, high=1000, empty=True),
    Parameter("off", "how many of the newest to leave out", int, 0, OFF_MAX, 0),
)
_VERSION = Parameter("version", "the `ts` of the note as the form shows it", int, 0, WHOLE_MAX, empty=True)
_NOTE = (
    Parameter("title", "of the note", str, high=TITLE_MAX),
    Parameter("body", "its text", str, high=FORM_BODY_MAX, empty=True),
    Parameter("url", "an address that begins with http:// or https://", str, high=URL_MAX, empty=True),
    Parameter("keywords", "with commas between them", str, high=2000, empty=True),
    Parameter("private", "on: only its owner sees it", str, high=2, empty=True),
)
Refused = BadRequest | CallFailed | None

_CHANGED = (
    "This note was changed in the meantime, in another tab perhaps. What you have typed is here, and what is stored "
    "now is below. Save again to put yours in its place."
)
_GONE = "This note was deleted in the meantime. What you have typed is here: it can be added as a new note."


class Notes:
    """The pages; `routes` says which is for what. `translate` says how an error of the fabric is told."""

    def __init__(self, asking: Asking, templates: Templates, translate: Translate) -> None:
        self._asking = asking
        self._templates = templates
        self._translate = translate
        self.routes = (
            Route("GET", "/", self.newest, "Everybody's notes", query=_SEARCH, answers=FOUND),
            Route("GET", "/by/{uid}", self.by, "The notes of a user", (_UID,), _SEARCH, answers=FOUND),
            Route("GET", "/note/{id}", self.one, "A note, all of it", (_ID,),
                  answers=PAGE | {404: ("there is no such note for this visitor", "Error")}),
            Route("GET", "/my", self.mine, "One's own notes", query=(*_SEARCH, DID), answers=FOUND | OWN_PAGE),
            Route("POST", "/my", self.add, "Add a note", form=_NOTE, answers=GO_ON),
            Route("GET", "/my/{id}", self.note, "A note to edit", (_ID,), answers=OWN_PAGE | _NONE_SUCH),
            Route("POST", "/my/{id}", self.edit, "Save a note", (_ID,), form=(*_NOTE, _VERSION), answers=GO_ON),
            Route("GET", "/my/{id}/delete", self.doomed, "Whether to delete a note", (_ID,),
                  answers=OWN_PAGE | _NONE_SUCH),
            Route("POST", "/my/{id}/delete", self.delete, "Delete a note", (_ID,), answers=GO_ON),
        )  # fmt: skip

    # ---- reading

    async def newest(self, request: Request) -> Answer:
        """Everybody's notes."""
        return await self._public(request, "/", "Newest notes", {})

    async def by(self, request: Request) -> Answer:
        """The notes of one user."""
        uid = request.parameters["uid"]
        names = await self._asking.names(request, [uid])
        return await self._public(request, f"/by/{uid}", "Notes of", {"userid": uid}, _name_of(uid, names))

    async def _public(self, request: Request, at: str, heading: str, filter: Mapping[str, Any], by: str = "") -> Answer:
        visitor, (found, refused) = await asyncio.gather(
            visitor_of(self._asking, request), self._search(request, filter)
        )
        newest = max((note.get("ts", 0) for note in found), default=0)
        shown = "".join(tag(note["id"]) for note in found[:LIM])
        live = "/live" + query(uid=filter.get("userid", ""), since=newest, shown=shown)
        return await self._list(request, visitor, found, refused, at=at, heading=heading, by=by, live=live)

    async def _search(
        self, request: Request, filter: Mapping[str, Any], user: Mapping[str, str] | None = None
    ) -> tuple[Documents, Refused]:
        """The notes that a page shows, or for a browser why those that were searched for are not known."""
        try:
            return await self._find(request, filter, user), None
        except (BadRequest, CallFailed) as error:
            if request.parameters.keys().isdisjoint(("q", "keyword")) or not wants_page(request.headers):
                raise
            return Documents(), error

    async def _find(
        self, request: Request, filter: Mapping[str, Any], user: Mapping[str, str] | None = None
    ) -> Documents:
        """The notes that a page shows, and one more if there is one; with what is private to a user who is given."""
        values = request.parameters
        off = values.get("off", 0)
        wanted = dict(filter)
        if "keyword" in values:
            wanted["keywords"] = values["keyword"]
        args = {"filter": wanted, "sort": _NEWEST, "limit": LIM + 1, "skip": off} | _LISTED
        if "q" in values:
            args["search"] = values["q"]
        return await self._asking.find(request, "items", args, user)

    async def mine(
        self, request: Request, said: str = "", wrong: str = "", typed: Mapping[str, str] | None = None
    ) -> Answer:
        """One's own notes, and the form for another one, with what was typed when something is wrong with it."""
        visitor, uid = await find_visitor(self._asking, request)
        found, refused = await self._search(request, {"userid": uid}, visitor.reads)
        return await self._list(
            request, visitor, found, refused, at="/my", heading="My notes", mine=True,
            said=said, wrong=wrong, values=typed or {}, live="",
        )  # fmt: skip

    async def _list(
        self,
        request: Request,
        visitor: Visitor,
        found: Documents,
        refused: Refused,
        *,
        at: str,
        live: str,
        **more: Any,
    ) -> Answer:
        """A page of notes; when there are older ones `found` has one more than it shows, or had no room for those. A
        search that was refused is there to be mended."""
        values = request.parameters
        q, keyword, off = values.get("q", ""), values.get("keyword", ""), values.get("off", 0)
        notes = found[:LIM]
        cut = found.more or len(found) > LIM
        shown: dict[str, Any] = {
            "mine": False, "values": {}, "did": values.get("did", ""), "at": at, "q": q, "keyword": keyword,
            "notes": notes, "names": await self._names(request, notes), "fields": _NOTE, "by": "",
            "searched": bool(q) or await self._asking.searches(request),
            "older": at + query(q=q, keyword=keyword, off=off + (len(notes) or 1)) if cut else "",
            "newer": at + query(q=q, keyword=keyword, off=max(off - LIM, 0)) if off else "",
            "where": lambda keyword: at + query(keyword=keyword),
            "live": "" if q or keyword or off else live,
        }  # fmt: skip

        async def rendered(unsearched: str = "", _: str = "") -> Answer:
            told = {**shown, **more, "unsearched": unsearched}
            return page(self._templates.render("notes.html", visitor, **told))

        return await (rendered() if refused is None else show_again(refused, rendered))

    async def _names(self, request: Request, notes: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
        return await self._asking.names(request, {note.get("userid") for note in notes if _number(note)})

    async def one(self, request: Request) -> Answer:
        """A note, all of it; its owner has the way to edit it."""
        id, visitor = request.parameters["id"], await visitor_of(self._asking, request)
        args = {"filter": {"id": id}, "limit": 1, "fields": _FIELDS}
        found = await self._asking.find(request, "items", args, visitor.reads)
        if found.more:
            raise Problem(422, "this note is too large to be shown")
        if not found:
            raise Problem(404, "there is no such note here: it may be private, or was deleted")
        [note] = found
        owned = visitor.user is not None and str(_number(note)) == visitor.user["id"]
        return page(
            self._templates.render(
                "one.html", visitor, note=note, names=await self._names(request, found), mine=owned, where=_keyword
            )
        )

    async def cards(self, ids: Sequence[str]) -> Cards:
        """The notes with these ids, for `Live`."""
        return await self._cards({"id": {"$in": list(ids)}}, len(ids))

    async def since(self, userid: int | None, ts: int, most: int) -> Cards:
        """The newest notes that are not older, for `Live`."""
        return await self._cards({"ts": {"$gte": ts}} | ({} if userid is None else {"userid": userid}), most)

    async def _cards(self, filter: Mapping[str, Any], most: int) -> Cards:
        request = Request(new_id(), "GET", "/live", {}, b"", now_ms() + CARDS_MS)  # which is nobody's
        args = {"filter": filter, "sort": _NEWEST, "limit": most} | _LISTED
        notes = await self._asking.find(request, "items", args)
        names = await self._names(request, notes)
        return {
            note["id"]: (note.get("userid"), self._templates.card(note, names, _keyword)) for note in reversed(notes)
        }

    # ---- writing

    async def add(self, request: Request) -> Answer:
        """Store what the form holds."""
        typed = form_body(request)

        async def add() -> Answer:
            try:
                await self._asking.app(request, "site.add", {"note": _note(typed)})
            except (BadRequest, CallFailed) as error:
                return await show_again(error, lambda said, wrong: self.mine(request, said, wrong, typed))
            return see_other("/my?did=added")

        return await self._keeping(request, typed, add)

    async def _keeping(
        self, request: Request, typed: Mapping[str, str], store: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Have what was typed stored. Where not even the page for it can be shown, since the session has ended or a
        server is away, the form alone, to be sent once more."""
        try:
            return await store()
        except BadRequest:
            raise
        except (GorgonError, Problem) as error:
            problem = error if isinstance(error, Problem) else self._translate(error)
            said = _NOT_NOW.get(problem.status)
            if said is None or not wants_page(request.headers) or not any(map(typed.get, ("title", "body", "url"))):
                raise
            check_origin(request)
            form = {"fields": _NOTE, "values": typed, "said": said, "action": request.path}
            visitor, login = Visitor(None, xsrf_token(request)), problem.status == 401
            kept = self._templates.render("kept.html", visitor, login=login, **form)
            return page(kept, problem.status, problem.headers)

    async def note(self, request: Request) -> Answer:
        """The form for one note."""
        visitor, note = await self._own(request)
        values = {**note, "keywords": ", ".join(note.get("keywords", [])), "version": note["ts"]}
        return self._form(request, visitor, values)

    async def _own(self, request: Request) -> tuple[Visitor, dict[str, Any]]:
        """The visitor, and the note of theirs. Raises CallFailed 404."""
        asked = self._asking.app(request, "site.one", {"id": request.parameters["id"]})
        visitor, note = await asyncio.gather(visitor_of(self._asking, request), asked)
        return visitor, note

    def _form(self, request: Request, visitor: Visitor, values: Mapping[str, Any], **more: Any) -> Answer:
        shown: dict[str, Any] = {
            "id": request.parameters["id"], "fields": _NOTE, "stored": None, "gone": False, "values": values,
            "names": {}, "mine": False, "where": _keyword,
        }  # fmt: skip
        return page(self._templates.render("edit.html", visitor, **{**shown, **more}))

    async def edit(self, request: Request) -> Answer:
        """Store what the form holds in the note's place, if that is as the form showed it."""
        typed = form_body(request)
        args: dict[str, Any] = {"id": request.parameters["id"]}

        async def edit() -> Answer:
            try:
                if version := typed.get("version", ""):
                    args["unchanged"] = _VERSION.read(version)
                await self._asking.app(request, "site.edit", args | {"note": _note(typed)})
            except (BadRequest, CallFailed) as error:
                conflict = isinstance(error, CallFailed) and error.code == 409
                return await show_again(
                    error, lambda said, wrong: self._form_again(request, typed, conflict, said, wrong)
                )
            return see_other("/my?did=saved")

        return await self._keeping(request, typed, edit)

    async def _form_again(
        self, request: Request, typed: Mapping[str, str], conflict: bool, said: str, wrong: str
    ) -> Answer:
        """The form again with what was typed; after a conflict with what is stored by now, which the next save is to
        replace."""
        try:
            visitor, stored = await self._own(request)
        except CallFailed as failed:
            if failed.code != 404:
                raise
            return self._form(request, await visitor_of(self._asking, request), typed, said=_GONE, gone=True)
        if not conflict:
            return self._form(request, visitor, typed, said=said, wrong=wrong)
        values = {**typed, "version": stored["ts"]}
        names = await self._names(request, [stored])
        return self._form(request, visitor, values, said=_CHANGED, stored=stored, names=names)

    async def doomed(self, request: Request) -> Answer:
        """The question whether the note is to be deleted."""
        visitor, note = await self._own(request)
        names = await self._names(request, [note])
        return page(self._templates.render("delete.html", visitor, note=note, names=names, mine=False, where=_keyword))

    async def delete(self, request: Request) -> Answer:
        """Delete the note."""
        await self._asking.app(request, "site.delete", {"id": request.parameters["id"]})
        return see_other("/my?did=deleted")


def _name_of(uid: int, names: Mapping[Any, str]) -> str:
    return names.get(uid) or f"user {uid}"


def _number(note: Mapping[str, Any]) -> int | None:
    """The number of a note's owner; what programs have stored may be anything."""
    owner = note.get("userid")
    return owner if type(owner) is int else None


def _keyword(keyword: str) -> str:
    """Where everybody's notes with a keyword are."""
    return "/" + query(keyword=keyword)


def _note(typed: Mapping[str, str]) -> dict[str, Any]:
    """The note that a form holds."""
    note: dict[str, Any] = {name: typed.get(name, "").strip() for name in ("title", "url")}
    note["body"] = typed.get("body", "").replace("\r\n", "\n").strip()
    note["keywords"] = [word for word in (each.strip() for each in typed.get("keywords", "").split(",")) if word]
    note["private"] = bool(typed.get("private"))
    if not note["title"]:
        raise BadRequest("title", "must be given")
    if note["url"] and not note["url"].startswith(("http://", "https://")):
        raise BadRequest("url", "must begin with http:// or https://")
    return note
