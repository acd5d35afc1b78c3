"""The application that app servers run in a drill: it says who asks, and what is stored for whom."""

from __future__ import annotations

from typing import Any

from gorgond.app import App, Context

app = App("chaos")


@app.get("/chaos/{uid:int}", user="required")
async def newest(ctx: Context, uid: int) -> dict[str, Any]:
    """A user's newest notes, and the address of the client that asks for them."""
    notes = await ctx.store.find("items", {"userid": uid}, sort="-ts", limit=5)
    return {"email": ctx.user.email if ctx.user else "", "uid": uid, "notes": notes}
