"""A job as it goes on, as server-sent events (HTML Standard, 9.2), for who has enqueued it.

    event: status   data: what GET /jobs/ID answers, then what changes of it; the stream ends when the job is over

Who connects is first told what stands, and from then on what app servers tell. What the listener has missed is read
from the store, also every few seconds, since a status may be told before it is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gorgond.app.backend import Hear
from gorgond.app.jobstatus import JOBS, OVER, STATUS, TOPIC, filter_of, status_of
from gorgond.http.answers import Answer, Sink
from gorgond.http.asking import Asking
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.sse import Hub, Viewer, json_event
from gorgond.http.telling import Spawn, Telling
from gorgond.redpill import ID_MAX, GorgonError, Message, new_id, now_ms

VIEWERS_MAX = 2_000
LOOK = 0.3  # seconds between two looks who has gone, and who has missed something
AGAIN = 5.0  # seconds after which a status is read once more
LONGEST = 600.0  # seconds for which one stays connected: a session that has ended hears nothing more after that
LINGER = 60.0  # seconds for which events are heard after the last viewer has gone
ASK_MS = 5000
QUIET = b": quiet\n\n"  # so that the connection is not taken for dead

log = logging.getLogger("gorgond.web")


@dataclass(slots=True, eq=False)
class _Viewer(Viewer):
    job: str
    joined: float
    status: dict[str, Any]  # as it was told
    read: float = 0.0  # when it was read last


class JobLive:
    """Those who watch jobs at one web server. `hear` listens to a topic, `spawn` runs a loop of the server's."""

    def __init__(self, hear: Hear, spawn: Spawn, asking: Asking) -> None:
        self._hear = hear
        self._asking = asking
        self._hub: Hub[_Viewer] = Hub(VIEWERS_MAX, "too many jobs are watched here", 60)
        self._of: defaultdict[str, set[_Viewer]] = defaultdict(set)  # by job
        self._telling = Telling(spawn, self._tell, "jobs")
        self.routes = (
            Route("GET", "/jobs/{id}/live", self.watch, "A job as it goes on, as server-sent events",
                  (Parameter("id", "the job's id", str, high=ID_MAX),),
                  answers={200: ("its status, until it is over", "text/event-stream"),
                           401: ("nobody is logged in, or not any more", "Error"),
                           404: ("the user has no such job", "Error")}, user="required"),
        )  # fmt: skip

    async def watch(self, request: Request) -> Answer:
        """The answer for one more viewer. Raises Problem 401 and 503, and CallFailed 404."""
        id = request.parameters["id"]
        status = await self._asking.app(request, "gorgond-jobs.show", {"id": id})

        def join(sink: Sink) -> _Viewer:
            viewer = _Viewer(sink, id, asyncio.get_running_loop().time(), status)
            self._of[id].add(viewer)
            self._telling.begin()
            _end_if_over(viewer)
            return viewer

        return self._hub.answer(join, json_event("status", status))

    def close(self) -> None:
        """The server drains: clients connect to another one by themselves."""
        self._hub.close()
        self._telling.end()

    def _deliver(self, _: str, event: Message) -> None:
        if event.op == STATUS:
            for viewer in self._of.get(str(event.args.get("id", "")), ()):
                _show(viewer, {**viewer.status, **event.args})

    def _on_connect(self) -> None:
        """The listener has connected: from now on nothing is missed, until then it may have been."""
        for viewer in self._hub:
            viewer.read = 0.0

    async def _tell(self, beat: Callable[[], None]) -> None:
        """Look after all viewers, until there has been none for a while."""
        loop = asyncio.get_running_loop()
        listener = self._hear(TOPIC, self._deliver, self._on_connect)
        empty = loop.time()
        try:
            while self._hub or loop.time() - empty < LINGER:
                beat()
                now = loop.time()
                self._sweep(now)
                if self._hub:
                    empty = now
                try:
                    await asyncio.gather(*(self._read(each, now) for each in self._hub if now - each.read > AGAIN))
                except GorgonError:
                    log.debug("the store is away: who watches jobs is told in the next round")
                except Exception:
                    log.exception("who watches jobs could not be told what is new")
                await asyncio.sleep(LOOK)
        finally:
            listener.stop()

    def _sweep(self, now: float) -> None:
        for viewer in self._hub:
            if now - viewer.joined > LONGEST:
                viewer.sink.close()
        self._hub.sweep()
        for job, viewers in list(self._of.items()):
            viewers.difference_update([each for each in viewers if each.sink.closed()])
            if not viewers:
                del self._of[job]

    async def _read(self, viewer: _Viewer, now: float) -> None:
        viewer.read = now
        request = Request(new_id(), "GET", "/jobs/live", {}, b"", now_ms() + ASK_MS)  # which is nobody's
        found = await self._asking.find(request, JOBS, {"filter": filter_of(viewer.job)})
        status = status_of(viewer.job, found, now_ms())
        if status is not None and _rank(status) >= _rank(viewer.status):
            _show(viewer, status)
        else:
            viewer.write(QUIET)


def _rank(status: dict[str, Any]) -> tuple[bool, int]:
    """Sorts statuses of a job by when they stood: one that is over, then later attempts."""
    return status.get("state") in OVER, status.get("attempt", 0)


def _show(viewer: _Viewer, status: dict[str, Any]) -> None:
    if status != viewer.status:
        viewer.status = status
        viewer.write(json_event("status", status))
        _end_if_over(viewer)
    else:
        viewer.write(QUIET)


def _end_if_over(viewer: _Viewer) -> None:
    if viewer.status["state"] in OVER:
        asyncio.get_running_loop().call_soon(viewer.sink.close)
