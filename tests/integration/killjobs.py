"""An application whose jobs leave a trace, for tests that kill what does them."""

from __future__ import annotations

import asyncio

from gorgond import App, JobContext
from gorgond.app.cron import Clock, Cron

EVERY = 400  # ms

app = App("killjobs")


class Quick(Clock):
    """A clock whose times come quicker than any of cron."""

    def after(self, ms: int) -> int:
        return ms // EVERY * EVERY + EVERY


@app.job(attempts=100, timeout="1m")
async def second(ctx: JobContext, number: int) -> None:
    """Enqueued by the first."""
    await ctx.store.insert("effects", {"what": "second", "number": number, "job": ctx.id})


@app.job(attempts=100, timeout="1m")
async def first(ctx: JobContext, number: int) -> int:
    """Has two effects, and takes its time between."""
    await ctx.store.insert("effects", {"what": "first", "number": number, "job": ctx.id})
    await asyncio.sleep(0.02)
    await ctx.enqueue(second, number=number)
    return number


@app.job(attempts=100, timeout="1m", concurrency="4, 1 per shop", limit="50/s per shop")
async def bounded(ctx: JobContext, number: int, shop: int) -> None:  # noqa: ARG001 - it is what it is bound by
    """Done one at a time of each shop."""
    await ctx.store.insert("effects", {"what": "bounded", "number": number, "job": ctx.id})


@app.cron("* * * * *", missed="all", attempts=100)
async def clocked(ctx: JobContext) -> None:
    """Enqueued by the clock."""
    await ctx.store.insert("effects", {"what": "clocked", "number": 0, "job": ctx.id})


app.crons[clocked.name] = Cron(clocked, Quick("* * * * *", "UTC"), "all")
