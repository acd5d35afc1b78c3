"""notes: people's notes, public or their own. It shows most of what an application can do.

    gorgond up --module notes
    python3 -m pytest

Notes are items in gorgond's own collection of that name, so where [web] api is open, /info and /items show them too.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from gorgond import App, Conflict, Context, Message, NotFound, Refused, Response

app = App("notes")

LONGEST = 10_000  # characters of a note
DAY = 24 * 3600 * 1000  # milliseconds


@dataclass
class Note:
    """The body of a request. A body that does not fit is answered 400 before any message is sent."""

    title: str
    body: str = ""
    keywords: list[str] = field(default_factory=list)
    public: bool = True

    def __post_init__(self) -> None:
        """Check what annotations cannot say."""
        if not self.title.strip():
            raise ValueError("a note needs a title")
        if len(self.body) > LONGEST:
            raise ValueError(f"a note has {LONGEST} characters at most")


# ---- requests


@app.get("/notes")
async def newest(ctx: Context, keyword: str | None = None, lim: int = 20, off: int = 0) -> list[dict[str, Any]]:
    """Everybody's public notes, newest first, or those with a keyword."""
    filter: dict[str, Any] = {"public": True}
    if keyword is not None:
        filter["keywords"] = keyword
    return await ctx.store.find("items", filter, sort="-ts", limit=lim, skip=off)


@app.get("/notes/{uid:int}", user="optional")
async def of_user(ctx: Context, uid: int, lim: int = 20, off: int = 0) -> list[dict[str, Any]]:
    """A user's notes: all of them for their owner, for others the public ones."""
    filter: dict[str, Any] = {"userid": uid}
    if ctx.user is None or ctx.user.id != str(uid):
        filter["public"] = True
    return await ctx.store.find("items", filter, sort="-ts", limit=lim, skip=off)


@app.post("/notes/{uid:int}", user="required", own="uid")
async def add(ctx: Context, uid: int, note: Note) -> Response:
    """Add a note; only its owner may."""
    document = {
        "userid": uid,
        "title": note.title,
        "body": note.body,
        "keywords": note.keywords,
        "public": note.public,
    }
    id = await ctx.store.insert("items", document)
    return Response({"id": id}, status=201, headers={"Location": f"/items/{id}"})


@app.delete("/notes/{uid:int}/{id}", user="required", own="uid")
async def remove(ctx: Context, uid: int, id: str) -> None:
    """Delete one's note; nothing is given back, which is 204."""
    note = await ctx.store.get("items", id)
    if note.get("userid") != uid:
        raise NotFound(f"there is no note {id} of yours")
    await ctx.store.delete("items", id)


@app.delete("/moderation/{id}", user="required", rights="moderator")
async def hide(ctx: Context, id: str) -> None:
    """Take somebody's note from the public; moderators may."""
    note = await ctx.store.get("items", id)
    if not note.get("public"):
        raise Refused(409, "it is not public")
    await ctx.store.patch("items", id, {"public": False})
    ctx.log.info("note %s was hidden by %s", id, ctx.user)


# ---- in the background


@app.on("store_notify")
async def count(ctx: Context, event: Message) -> None:
    """Every change of the database is an event. This keeps how many notes each user has, for /authors."""
    if event.op not in ("items.added", "items.deleted"):
        return
    userid = event.args.get("document", {}).get("userid")
    if userid is None:  # of what is deleted the id alone is known
        return
    number = await ctx.store.count("items", {"userid": userid})
    with contextlib.suppress(Conflict):  # a later event was quicker, and has counted this one too
        await ctx.store.replace("authors", {"id": str(userid), "notes": number, "ts": ctx.sent})


@app.get("/authors")
async def authors(ctx: Context, lim: int = 20) -> list[dict[str, Any]]:
    """The authors who have written most."""
    return await ctx.store.find("authors", sort="-notes", limit=lim, fields=["notes"])


@app.every(3600)
async def forget(ctx: Context) -> None:
    """Once an hour, on one of all app servers: notes with the keyword temporary go after a day."""
    old = {"keywords": "temporary", "ts": {"$lt": time.time_ns() // 1_000_000 - DAY}}
    for note in await ctx.store.find("items", old, limit=100, fields=["userid"]):
        await ctx.store.delete("items", note["id"])
