"""The application that app servers run in a drill: it says who asks, and what is stored for whom; its jobs store notes,
and by the clock a trace of each time."""

from __future__ import annotations

from typing import Any

from gorgond.app import App, Context, JobContext, TryAgain
from gorgond.app.cron import Clock, Cron

TRACES = "chaos_times"
EVERY = 500  # ms
FIRST = "750ms"  # until one is begun again that fails on purpose

app = App("chaos")


class Quick(Clock):
    """A clock whose times come quicker than any of cron."""

    def after(self, ms: int) -> int:
        return ms // EVERY * EVERY + EVERY


@app.get("/chaos/{uid:int}", user="required")
async def newest(ctx: Context, uid: int) -> dict[str, Any]:
    """A user's newest notes, and the address of the client that asks for them."""
    notes = await ctx.store.find("items", {"userid": uid}, sort="-ts", limit=5)
    return {"email": ctx.user.email if ctx.user else "", "uid": uid, "notes": notes}


@app.job(attempts=100, timeout="1m")
async def keep(ctx: JobContext, note: dict[str, Any]) -> None:
    """Stores a note."""
    await ctx.store.insert("items", note)


@app.job(attempts=100, timeout="1m")
async def work(ctx: JobContext, note: dict[str, Any], fails: bool = False, passes: bool = False) -> None:
    """Stores a note, or has another job do it; fails at its first attempt if it is to."""
    if fails and ctx.attempt == 1:
        raise TryAgain(FIRST, "it is to fail once")
    if passes:
        await ctx.enqueue(keep, note=note)
    else:
        await ctx.store.insert("items", note)


@app.cron("* * * * *", missed="all", attempts=100)
async def clocked(ctx: JobContext) -> None:
    """Enqueued by the clock."""
    await ctx.store.insert(TRACES, {"job": ctx.id})


app.crons[clocked.name] = Cron(clocked, Quick("* * * * *", "UTC"), "all")
