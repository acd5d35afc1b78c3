"""An application with jobs, as tests enqueue them."""

from __future__ import annotations

import asyncio
from typing import Any

from gorgond import App, Context, JobContext, Message, NotFound, Refused, Response, TryAgain
from gorgond.app import jobapp
from gorgond.redpill import GorgonError

app = App("jobbing")
ran: list[list[Any]] = []
"""What ran here: [name, argument, attempt, …]."""


@app.job(attempts=3, timeout="60s", backoff="10ms")
async def note(ctx: JobContext, what: str, width: int = 640) -> dict[str, Any]:
    """Stores a document, and says so."""
    ran.append(["note", what, ctx.attempt])
    await ctx.store.insert("noted", {"what": what, "width": width})
    return {"what": what, "width": width}


@app.job(attempts=3, backoff="10ms")
async def fail(ctx: JobContext, until: int = 100) -> str:
    """Fails until that attempt."""
    ran.append(["fail", until, ctx.attempt])
    await ctx.store.insert("noted", {"what": "fail"})
    if ctx.attempt < until:
        raise ValueError("it is broken")
    return "mended"


@app.job(attempts=2)
async def busy(ctx: JobContext) -> None:
    """Asks to be begun again."""
    ran.append(["busy", "", ctx.attempt])
    if ctx.attempt == 1:
        raise TryAgain("300ms", "the API is busy")


@app.job(attempts=2)
async def patient(_: JobContext) -> None:
    """Asks to be begun again much later."""
    raise TryAgain("1h", "the API is busy")


@app.job(timeout="500ms", attempts=1)
async def slow(ctx: JobContext) -> None:
    """Takes too long, and goes on."""
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        try:
            await ctx.store.insert("noted", {"what": "late"})
        except GorgonError as error:
            ran.append(["slow", str(error), ctx.attempt])
        raise


@app.job(timeout="10m")
async def long(ctx: JobContext, steps: int = 6000) -> str:
    """Tells how far it is."""
    ran.append(["long", steps, ctx.attempt])
    try:
        for step in range(steps):
            ctx.progress(step / steps, f"step {step}")
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        try:
            await ctx.store.insert("noted", {"what": "cancelled"})
        except Refused as refused:
            ran.append(["cancelled", steps, ctx.attempt])
            ran.append(["refused", refused.code, ctx.attempt])
        raise
    return "all"


@app.job()
async def first(ctx: JobContext, what: str) -> None:
    """Enqueues another one."""
    await ctx.enqueue(note, what=what)


@app.job(keep=0)
async def untold(ctx: JobContext) -> None:
    """Nothing of it is stored."""
    ran.append(["untold", "", ctx.attempt])


under_way: list[str] = []


@app.job(concurrency="3, 1 per shop", attempts=2)
async def bounded(ctx: JobContext, shop: str) -> list[int]:
    """Tells how many were under way beside it at most, in all and of its shop, while its shop was busy."""
    ran.append(["bounded", shop, ctx.attempt])
    under_way.append(shop)
    most, of_shop = 0, 0
    for _ in range(5):
        await asyncio.sleep(0.01)
        most, of_shop = max(most, len(under_way)), max(of_shop, under_way.count(shop))
    under_way.remove(shop)
    return [most, of_shop]


@app.job(limit="3/s per shop, 10000/d")
async def paced(ctx: JobContext, shop: str) -> int:  # noqa: ARG001 - it is what it is bound by
    """Tells when it was begun."""
    return ctx.sent


@app.job()
async def whose(ctx: JobContext, what: str) -> list[str]:
    """Tells for whom it is done."""
    return [what, ctx.user.id if ctx.user is not None else ""]


JOBS = {
    each.name.partition(".")[2]: each
    for each in (note, fail, busy, patient, slow, long, first, untold, whose, bounded, paced)
}


@app.post("/enqueue/{name}", user="optional")
async def ask(ctx: Context, name: str, options: dict[str, Any]) -> Response:
    """Enqueue a job."""
    job = await ctx.enqueue(JOBS[name], **options)
    return Response({"job": job.id}, 202)


@app.on("jobbing")
async def heard(ctx: Context, event: Message) -> None:
    """Enqueues for an event, and fails the first time."""
    await ctx.enqueue(note, what=event.args["what"])
    ran.append(["heard", event.args["what"], event.attempts])
    if event.args.get("fail") and not event.attempts:
        raise ValueError("once more")


@app.on("changing")
async def change(ctx: Context, event: Message) -> None:
    """Changes a document."""
    await ctx.store.patch("noted", event.args["id"], {"changed": event.args["to"]})


@app.every(1)
async def tick(ctx: Context) -> None:
    """Tells when it was asked for."""
    ran.append(["tick", ctx.sent, 0])


@app.get("/ran")
async def told(ctx: Context) -> list[list[Any]]:
    """What ran here."""
    ran.append(["told", ctx.sent, 0])
    return ran


@app.get("/noted")
async def noted(ctx: Context, what: str) -> int:
    """How often that was noted."""
    return await ctx.store.count("noted", {"what": what})


@app.post("/tidy")
async def tidy(ctx: Context) -> int:
    """Delete what was kept for long enough: how many documents there are then."""
    await jobapp.tidy(ctx)
    return await ctx.store.count("jobs")


@app.get("/status/{id}")
async def status(ctx: Context, id: str) -> dict[str, Any]:
    """The status of whosever job."""
    try:
        return await ctx.job(id)
    except NotFound:
        return {"state": "unknown"}


@app.post("/cancel/{id}")
async def cancel(ctx: Context, id: str) -> None:
    """Cancel whosever job."""
    await ctx.cancel(id)
