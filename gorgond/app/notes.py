"""The application that runs unless another is configured: everybody's notes as the database has them, and each user's
own to add, edit and delete. The website is made of it; the API at /info and /items is the web server's own.

A user's notes are the items whose `userid` is the number in the user's id. Those that are `private` nobody else finds.
"""

from __future__ import annotations

from typing import Any, TypedDict, cast
from urllib.parse import urlencode

from gorgond.app import App, BadRequest, Context, NotFound, Response, User
from gorgond.app.endpoints import add_endpoints
from gorgond.app.inbox import add_inbox
from gorgond.bounds import FORM_BODY_MAX, KEYWORD_MAX, KEYWORDS_MAX, LIM_MAX, OFF_MAX, TITLE_MAX, URL_MAX
from gorgond.redpill import CallFailed

app = App("site")
add_inbox(app)
add_endpoints(app)


class Note(TypedDict, total=False):
    """A note, as a user writes it."""

    title: str
    body: str
    url: str
    location: str
    keywords: list[str]
    private: bool


@app.get("/me/notes", user="required")
async def mine(
    ctx: Context, q: str = "", keyword: str = "", lim: int = 20, off: int = 0, after: str = ""
) -> dict[str, Any]:
    """The notes of the user who asks, newest first; by words in title or text, or by keyword; those that come `after`
    a page, as it says under `next`."""
    filter: dict[str, Any] = {"userid": _number(ctx)}
    if keyword:
        filter["keywords"] = keyword
    _check("lim", lim, 1, LIM_MAX)
    _check("off", off, 0, OFF_MAX)
    try:
        found = await ctx.store.find(
            "items", filter, sort="-ts", limit=lim, skip=off, after=after, search=q, private=True
        )
    except CallFailed as failed:
        if failed.field != "search":
            raise
        raise BadRequest("q", failed.message.removeprefix("search: ")) from None
    answer = {"items": found, "lim": lim, "off": off} | ({"more": True} if found.more else {})
    if found.next:
        asked = {"q": q, "keyword": keyword, "lim": lim, "after": found.next}
        answer["next"] = "/me/notes?" + urlencode({name: value for name, value in asked.items() if value})
    return answer


@app.post("/me/notes", user="required")
async def add(ctx: Context, note: Note) -> Response:
    """Add a note."""
    id = await ctx.store.insert("items", {**_check_note(note), "userid": _number(ctx), "ts": ctx.sent})
    return Response({"id": id}, 201)


@app.get("/me/notes/{id}", user="required")
async def one(ctx: Context, id: str) -> dict[str, Any]:
    """A note of the user who asks."""
    return await _own(ctx, id)


@app.put("/me/notes/{id}", user="required")
async def edit(ctx: Context, id: str, note: Note, unchanged: int = 0) -> dict[str, Any]:
    """Change a note of the user who asks: what is left out stays, what is empty goes. With `unchanged`, the `ts` of the
    note as it was read, it is 409 if somebody has changed it since."""
    await _own(ctx, id)
    changes = {name: value or None for name, value in _check_note(note).items()}
    await ctx.store.patch("items", id, changes, unchanged=unchanged or None)
    return {"id": id}


@app.delete("/me/notes/{id}", user="required")
async def delete(ctx: Context, id: str) -> None:
    """Delete a note of the user who asks."""
    await _own(ctx, id)
    await ctx.store.delete("items", id)


@app.get("/users/{uid:int}")
async def user(ctx: Context, uid: int) -> dict[str, Any]:
    """A user, as others see them."""
    found = await ctx.store.find("users", {"id": str(uid)}, fields=["name"], limit=1)
    if not found:
        raise NotFound(f"there is no user {uid}")
    return {"id": str(uid), "name": found[0].get("name", "")}


async def _own(ctx: Context, id: str) -> dict[str, Any]:
    """The note, if it is the user's; that there is one of somebody else's is nobody's business here."""
    found = await ctx.store.find("items", {"id": id, "userid": _number(ctx)}, limit=1, private=True)
    if not found:
        raise NotFound(f"you have no note {id}")
    return found[0]


def _number(ctx: Context) -> int:
    return int(cast("User", ctx.user).id)  # the routes require one


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadRequest(name, f"must be a whole number from {low} to {high}")


def _check_note(note: Note) -> Note:
    for name, most in (("title", TITLE_MAX), ("body", FORM_BODY_MAX), ("url", URL_MAX), ("location", TITLE_MAX)):
        if len(str(note.get(name, ""))) > most:
            raise BadRequest(name, f"must have at most {most} characters")
    keywords = note.get("keywords", [])
    if len(keywords) > KEYWORDS_MAX or not all(0 < len(each) <= KEYWORD_MAX for each in keywords):
        raise BadRequest("keywords", f"must be at most {KEYWORDS_MAX} texts of 1 to {KEYWORD_MAX} characters")
    return note
