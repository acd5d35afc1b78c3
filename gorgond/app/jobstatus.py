"""The status of jobs: documents in the store, and what is told of it to who watches.

    jobs       {"id": JOB, "job", "user", "userid", "kept", "args", "due"}: it was enqueued
               {"id": "JOB:run", …, "state", "progress", "text", "reason", "due", "attempt", "on"}: it was begun
               {"id": "JOB:end", …, "state", "result", "reason", "stack", "attempt", "on"}: it is over
               {"id": "JOB:cancel", "kept"}: it is to be cancelled
    job_live   "job.status" {"id", "state", …}: it has another status, for who watches it
    job_cancel "job.cancel" {"id"}: it is to be cancelled, for all app servers

Who enqueues a job, who runs it and who cancels it may write at the same time, and in any order. So each has a document
of its own, which the last one of its kind replaces, and all together are the status. `args` and `result` are JSON in a
text: a store takes no names that begin with $, and no depth. `kept` is until when a document is kept, ms since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gorgond.app.clients import Document
from gorgond.redpill import Message, dumps, loads, now_ms

if TYPE_CHECKING:
    from gorgond.app.jobs import Job

JOBS = "jobs"
TOPIC, CANCELS = "job_live", "job_cancel"
STATUS, CANCEL = "job.status", "job.cancel"
RUN, END, CANCELLED = ":run", ":end", ":cancel"  # what ids of documents end with
OVER = ("done", "failed", "cancelled")  # states in which a job stays

SHOWN_MAX = 8_000  # bytes of arguments that are shown
RESULT_MAX = 100_000  # bytes of a result
CANCEL_KEPT = 400 * 86_400_000  # ms for which it is known that a job is to be cancelled


def queued_message(job: Job, message: Message) -> Message:
    """The message that has it stored that this job was enqueued."""
    args, due = dumps(message.args["args"]), message.args.get("due", 0)
    said = {"args": args.decode() if len(args) <= SHOWN_MAX else "", "due": due}
    return _store(job, message, "", max(due - now_ms(), 0) / 1000, said)


def run_message(job: Job, message: Message, **said: Any) -> Message:
    """The message that has it stored how far a job is that was begun."""
    return _store(job, message, RUN, job.timeout + job.attempts.longest, said)


def end_message(job: Job, message: Message, **said: Any) -> Message:
    """The message that has it stored how a job has ended."""
    return _store(job, message, END, 0, said)


def cancel_document(id: str) -> Document:
    """The document by which a job is to be cancelled."""
    return {"id": id + CANCELLED, "kept": now_ms() + CANCEL_KEPT}


def live_message(id: str, **said: Any) -> Message:
    """The event that tells who watches that a job has another status."""
    return Message(STATUS, {"id": id, **said})


def filter_of(id: str) -> dict[str, Any]:
    """The filter for all documents of a job."""
    return {"id": {"$in": [id, id + RUN, id + END, id + CANCELLED]}}


def status_of(id: str, documents: Sequence[Mapping[str, Any]], now: int) -> dict[str, Any] | None:
    """The status of a job that these documents tell; None when none does."""
    by_id = {each["id"]: each for each in documents}
    begun, run, end = by_id.get(id), by_id.get(id + RUN), by_id.get(id + END)
    told = begun or run or end
    if told is None or (begun is not None and "args" not in begun):  # that is part of the status of another one
        return None
    status: dict[str, Any] = {"id": id, "job": told.get("job", "")}
    if begun is not None:
        status["args"] = loads(begun["args"]) if begun["args"] else None
        status["enqueued"] = begun["ts"]
        due = begun.get("due", 0)
        status["state"] = "scheduled" if due > now else "queued"
        if due:
            status["due"] = due
    over = end is not None and end["state"] in OVER  # else it was put back since
    if end is not None and over:
        status |= _said(end, "state", "reason", "attempt")
        if "result" in end:
            status["result"] = loads(end["result"])
        status["ended"] = end["ts"]
    elif last := run or end:
        status |= _said(last, "state", "progress", "text", "reason", "due", "attempt")
    if not over and id + CANCELLED in by_id:
        status["state"] = "cancelled"
    return status


def _said(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names if document.get(name) not in (None, "")}


def _store(job: Job, message: Message, end: str, lasts: float, said: Mapping[str, Any]) -> Message:
    """The message that has a document stored, which is kept for as long as the job `lasts` yet, and then some time."""
    user = str((message.user or {}).get("id") or "")
    kept = now_ms() + int((lasts + job.keep) * 1000)
    document: Document = {"id": message.id + end, "job": job.name, "user": user, **said, "kept": kept}
    if user.isdecimal():
        document["userid"] = int(user)
    return Message(f"{JOBS}.replace", {"documents": [document]}, trace=message.trace)
