"""An application that notifies whom it is told to, for tests."""

from __future__ import annotations

from typing import Any

from gorgond import App, Context

COMMENT, LOGIN = "comment.new", "login.new"

app = App("telling")
app.notification(COMMENT, "Somebody commented on your note")
app.notification(LOGIN, "Somebody logged in")


@app.post("/tell")
async def tell(ctx: Context, what: dict[str, Any]) -> dict[str, str]:
    """Notify somebody."""
    return {"id": await ctx.notify(**what)}
