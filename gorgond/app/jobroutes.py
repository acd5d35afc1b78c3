"""The routes of jobs, as an application that runs beside those that declare some: who has enqueued a job sees what
becomes of it, and may cancel it."""

from __future__ import annotations

from typing import Any

from gorgond.app.application import App
from gorgond.app.context import Context
from gorgond.app.jobstatus import JOBS
from gorgond.errors import NotFound

app = App("gorgond-jobs")


@app.get("/jobs/{id}", user="required")
async def show(ctx: Context, id: str) -> dict[str, Any]:
    """The status of a job that the user who asks has enqueued."""
    await _check(ctx, id)
    return await ctx.job(id)


@app.delete("/jobs/{id}", user="required")
async def cancel(ctx: Context, id: str) -> None:
    """Cancel a job that the user who asks has enqueued."""
    await _check(ctx, id)
    await ctx.cancel(id)


async def _check(ctx: Context, id: str) -> None:
    """Raises NotFound for a job that is not the user's; whether there is one is nobody else's business."""
    found = await ctx.store.find(JOBS, {"id": {"$in": [id, f"{id}:run", f"{id}:end"]}}, fields=["user"])
    if not found or ctx.user is None or any(each["user"] != ctx.user.id for each in found):
        raise NotFound(f"you have no job {id:.100}")
