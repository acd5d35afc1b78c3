"""Finding jobs by their ids, and by what their arguments, reasons and names say: in the documents of their status.

It looks through those that are kept, the newest first, until enough is found or the time is over: a text within the
arguments is in no index.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gorgond.app.jobstatus import CANCELLED, END, JOBS, OVER, RUN, filter_of, status_of
from gorgond.errors import BadRequest
from gorgond.redpill import dumps, now_ms

PAGE = 200  # documents that are looked at for one question; each belongs to a job of up to four
TOLD = ("ts", "job", "args", "due", "state", "reason", "attempt")  # of a document; results might not fit into an answer
SHOWN = ("id", "job", "state", "enqueued", "ended", "due", "args", "reason", "attempt")
STATES = ("queued", "scheduled", "running", *OVER)

Find = Callable[..., Awaitable[list[dict[str, Any]]]]
"""Asks a store for documents: find(collection, filter, sort=…, limit=…, skip=…, fields=…)."""


async def search_jobs(
    find: Find, text: str, job: str = "", state: str = "", most: int = 100, seconds: float = 3.0
) -> dict[str, Any]:
    """The jobs of this id, or in whose id, arguments or reason the text is: {"jobs": statuses, "more": whether not all
    was looked at}; of one name and in one state, where these are given. Raises BadRequest for what is no state, and
    what `find` raises."""
    if state not in ("", *STATES):
        raise BadRequest("state", f"must be one of {', '.join(STATES)}")
    end = time.monotonic() + seconds
    found = _statuses([text], await find(JOBS, filter_of(text))) if text else []
    if found:
        return {"jobs": [_shown(each) for each in found], "more": False}
    filter: dict[str, Any] = {"job": job} if job else {}
    skip = 0
    while time.monotonic() < end:
        page = await find(JOBS, filter, sort=[["kept", -1], ["id", 1]], limit=PAGE, skip=skip, fields=["id"])
        ids = list(dict.fromkeys(_job_id(each["id"]) for each in page))
        known = {each["id"] for each in found}
        family = [id + end for id in ids if id not in known for end in ("", RUN, END, CANCELLED)]
        documents = await find(JOBS, {"id": {"$in": family}}, fields=TOLD) if family else []
        for status in _statuses([id for id in ids if id not in known], documents):
            if _fits(status, text, state):
                found.append(status)
        skip += len(page)
        if len(page) < PAGE or len(found) > most:
            return {"jobs": [_shown(each) for each in found[:most]], "more": len(found) > most}
    return {"jobs": [_shown(each) for each in found[:most]], "more": True}


def _statuses(ids: Sequence[str], documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    of: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        of.setdefault(_job_id(document["id"]), []).append(document)
    now = now_ms()
    return [status for id in ids if (status := status_of(id, of.get(id, ()), now)) is not None]


def _job_id(document: str) -> str:
    """The job that a document of this id belongs to."""
    for end in (RUN, END, CANCELLED):
        document = document.removesuffix(end)
    return document


def _fits(status: Mapping[str, Any], text: str, state: str) -> bool:
    if state and status.get("state") != state:
        return False
    said = f"{status['id']} {dumps(status.get('args')).decode()} {status.get('reason', '')}"
    return text.casefold() in said.casefold()


def _shown(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: status[name] for name in SHOWN if name in status}
