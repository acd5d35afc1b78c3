"""Jobs that were given up and are put back into their queues: they are over no more, so their status must not say it,
nor may one that is looked up be taken for done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gorgond.app.jobstatus import END, JOBS, RUN

AT_ONCE = 400  # jobs that a store is asked for
KEPT = ("id", "job", "user", "userid", "kept")  # of the documents of a job that was begun, when it is begun anew

Find = Callable[[str, Mapping[str, Any]], Awaitable[list[dict[str, Any]]]]
Replace = Callable[[str, Sequence[Mapping[str, Any]]], Awaitable[None]]


async def begin_anew(find: Find, replace: Replace, ids: Sequence[str]) -> None:
    """Store that these jobs wait again, before they are put back: who begins one may look up whether it is over. `find`
    and `replace` ask a store for documents of a collection, and to replace them. Raises what they raise."""
    for begin in range(0, len(ids), AT_ONCE):
        parts = [id + part for id in ids[begin : begin + AT_ONCE] for part in (RUN, END)]
        documents = [
            {**{name: each[name] for name in KEPT if name in each}, "state": "queued"}
            for each in await find(JOBS, {"id": {"$in": parts}})
        ]
        if documents:
            await replace(JOBS, documents)
