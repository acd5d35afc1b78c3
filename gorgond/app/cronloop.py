"""Jobs that are enqueued by the clock, each time once: by the app server that has the lease of its name.

The lease says up to which time all are enqueued. An instance that dies between enqueuing one and saying so is followed
by one that enqueues it again under the same key, which is the same job. A job that is declared for the first time
begins with the times to come.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gorgond.app.backend import JobBackend
from gorgond.app.cron import Cron
from gorgond.app.enqueuing import Request, enqueue, job_id
from gorgond.app.schedule import LOOK, LeaseLoop
from gorgond.redpill import Hooks, Lease, Link, Message, QueueFull

CRONS = "crons"
"""The collection that says when each is enqueued: {"id": JOB, "cron", "tz", "missed", "last", "next"}; `last` is
0 until it was."""

LATE_MS = 60_000  # what is enqueued later was missed

log = logging.getLogger("gorgond.app")


class CronLoop(LeaseLoop):
    """Enqueues the job of one cron when it is due."""

    def __init__(self, cron: Cron, backend: JobBackend, link: Link, owner: str, *, hooks: Hooks) -> None:
        super().__init__(f"cron:{cron.job.name}", link, owner, hooks)
        self.does = cron
        self._backend = backend
        self._told: Mapping[str, Any] = {}

    async def _turn(self, lease: Lease) -> float:
        if lease.done is None:
            lease = await self._keep(lease.at)
        last = lease.at - round((lease.done or 0.0) * 1000)
        try:
            for at in self.does.due(last, lease.at, lease.at - LATE_MS):
                await self._enqueue(at)
                kept = await self._keep(at)
                if kept.token != lease.token:
                    return LOOK
                last = at
            following = self.does.clock.after(max(last, lease.at - 1))
            await self._tell(last, following)
        except QueueFull as full:
            log.warning("%s cannot be enqueued: %s", self.does.job.name, full)
            return LOOK
        return min(LOOK, max(following - lease.at, 0) / 1000)

    async def _enqueue(self, at: int) -> None:
        id = job_id("cron", self.does.job.name, str(at))
        # The broker's clock may have been set back to before a time that is over: then it is the same job once more.
        await enqueue(self._backend, self.does.job, id, Request({}, unique=f"cron {at}", repeat=True))

    async def _tell(self, last: int, following: int) -> None:
        """Have it stored when it was enqueued last, and when it will be next, if that is news."""
        clock = self.does.clock
        document: dict[str, Any] = {
            "id": self.does.job.name,
            "cron": clock.expression,
            "tz": clock.tz,
            "missed": self.does.missed,
        }
        came = clock.after(last - 1) == last  # else it is when it was declared
        document |= {"last": last if came else 0, "next": following}
        if document != self._told:
            await self._backend.push("store_put", Message(f"{CRONS}.replace", {"documents": [document]}))
            self._told = document
