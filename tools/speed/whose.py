"""An application that says whose its answer is: who asks, and their newest note. To others, somebody's newest note."""

from __future__ import annotations

from typing import Any

from gorgond import App, Context

PATH = "/whose"
OPEN = "/newest"

app = App("whose")


@app.get(PATH, user="required")
async def whose(ctx: Context) -> dict[str, Any]:
    """The user who asks, as the auth server says, and what the database has of them."""
    id = ctx.user.id if ctx.user is not None else ""
    return {"user": id, "items": await ctx.store.find("items", {"userid": int(id)}, sort="-ts", limit=1)}


@app.get(OPEN)
async def newest(ctx: Context) -> dict[str, Any]:
    """The newest note of one user."""
    return {"items": await ctx.store.find("items", {"userid": 5}, sort="-ts", limit=1)}
