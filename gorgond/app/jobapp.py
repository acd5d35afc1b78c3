"""The application that runs beside those that declare jobs: who has enqueued a job sees what becomes of it, and may
cancel it. What was kept for long enough is deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from gorgond.app.application import App
from gorgond.app.context import Context
from gorgond.app.jobstatus import JOBS
from gorgond.errors import NotFound
from gorgond.redpill import now_ms

AT_ONCE = 500  # documents that are deleted at the same time

app = App("gorgond-jobs")


@app.get("/jobs/{id}", user="required")
async def show(ctx: Context, id: str) -> dict[str, Any]:
    """The status of a job that the user who asks has enqueued."""
    status = await ctx.job(id)
    await _check(ctx, id)
    return status


@app.delete("/jobs/{id}", user="required")
async def cancel(ctx: Context, id: str) -> None:
    """Cancel a job that the user who asks has enqueued."""
    await show(ctx, id)
    await ctx.cancel(id)


@app.every(60)
async def tidy(ctx: Context) -> None:
    """Delete what was kept for long enough."""
    while True:
        old = await ctx.store.find(JOBS, {"kept": {"$lt": now_ms()}}, sort="kept", limit=AT_ONCE, fields=["kept"])
        for done in await asyncio.gather(*(ctx.store.delete(JOBS, each["id"]) for each in old), return_exceptions=True):
            if done is not None and not isinstance(done, NotFound):
                raise done
        if len(old) < AT_ONCE:
            return


async def _check(ctx: Context, id: str) -> None:
    """Raises NotFound for a job that is not the user's; whether there is one is nobody else's business."""
    found = await ctx.store.find(JOBS, {"id": {"$in": [id, f"{id}:run", f"{id}:end"]}}, fields=["user"])
    if not found or ctx.user is None or any(each["user"] != ctx.user.id for each in found):
        raise NotFound(f"you have no job {id:.100}")
