"""The HTTP API of the stats server: the picture, the history, dead letters, and the page that shows them.

The page's own files say nothing of the fabric and are for everybody; `visitors` says who may do the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem, made, ok
from gorgond.http.bodies import json_body
from gorgond.http.routes import Parameter, Request, Route, Routes
from gorgond.redpill import DeadLetter, Undecodable, decode
from gorgond.stats.heat import heat
from gorgond.stats.history import History
from gorgond.stats.picture import PUBLIC, row
from gorgond.stats.prometheus import exposition
from gorgond.stats.spans import SPANS, columns, step
from gorgond.stats.viewers import Viewers
from gorgond.stats.visitors import Visitors

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
FRESH = {"minute": 1, "hour": 5, "day": 30, "month": 30, "year": 30}  # seconds for which an answer is fresh
LETTERS_MAX = 100  # in one answer
SHOWN_MAX = 64 * 1024  # bytes of a dead letter that are shown

_OF = Parameter("of", "the series", str, high=300, default=PUBLIC)
_SPAN = Parameter("span", " ".join(SPANS), str, high=10, default="minute")
_QUEUE = Parameter("queue", "the queue's name, / as %2F", str, high=401)
_NUMBER = Parameter("number", "the dead letter's number", int, 1, 2**53)
_BROKER = Parameter("broker", "durable or calls: where it lies", str, high=10, default="durable")


Look = Callable[[History, str, str, int], dict[str, Any]]


class Monitor(Protocol):
    """The stats server, as its API sees it."""

    history: History
    picture: dict[str, Any]

    def now(self) -> int:
        """Seconds since 1970."""

    def unready(self) -> str:
        """Why there is nothing to see; empty when there is."""

    async def dead(self, queue: str, after: int) -> list[tuple[str, DeadLetter]]:
        """Dead letters numbered above `after`, with the broker that each lies on."""

    async def requeue(self, broker: str, queue: str, number: int) -> bool:
        """Put one back; False when there is none."""

    async def drop(self, broker: str, queue: str, number: int) -> bool:
        """Delete one; False when there is none."""


class Api:
    """The handlers; `routes` says which is for what."""

    def __init__(self, monitor: Monitor, visitors: Visitors, viewers: Viewers) -> None:
        self._monitor = monitor
        self._visitors = visitors
        self._viewers = viewers
        self._looks: dict[tuple[str, str, str], tuple[int, bytes]] = {}  # until when they are fresh, and the answer
        files = {file.name: _file(file) for file in sorted(PAGE.glob("*"))} if PAGE.is_dir() else {}
        self._index, self._files = files.pop("index.html", None), files
        name = Parameter("name", "one of the page's files", str, high=100)
        letter = (_QUEUE, _NUMBER)
        self.routes = Routes(
            [
                Route("GET", "/", self.index, "The page"),
                Route("GET", "/static/{name}", self.file, "Its files", (name,)),
                Route("GET", "/api/stats.json", self.stats, "The picture"),
                Route("GET", "/api/events", self.events, "The picture each second, as server-sent events"),
                Route("GET", "/api/heat.json", self.heat, "Latency by time", (), (_OF, _SPAN)),
                Route("GET", "/api/history.json", self.rows, "What was done, by time", (), (_OF, _SPAN)),
                Route("GET", "/metrics", self.metrics, "All of it for Prometheus"),
                Route("GET", "/api/session", self.session, "Whether this is the operator"),
                Route("POST", "/api/login", self.login, "Become the operator"),
                Route("POST", "/api/logout", self.logout, "Be nobody again"),
                Route("GET", "/api/dead/{queue}", self.dead, "Dead letters", (_QUEUE,), (
                      Parameter("after", "numbered above this", int, 0, 2**53, 0),)),
                Route("POST", "/api/dead/{queue}/{number}/requeue", self.requeue, "Put one back", letter, (_BROKER,)),
                Route("POST", "/api/dead/{queue}/{number}/drop", self.drop, "Delete one", letter, (_BROKER,)),
                Route("GET", "/healthz", self.healthz, "Whether this process lives"),
                Route("GET", "/readyz", self.readyz, "Whether there is something to see"),
            ]
        )  # fmt: skip

    # ---- the page

    async def index(self, request: Request) -> Answer:
        if self._index is None:
            raise Problem(404, "the page is not installed; the picture is at /api/stats.json")
        return self._index

    async def file(self, request: Request) -> Answer:
        found = self._files.get(request.parameters["name"])
        if found is None:
            raise Problem(404, f"the page has no file {request.parameters['name']}")
        return found

    # ---- to look at

    async def stats(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return _fresh(made(self._monitor.picture))

    async def events(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return self._viewers.answer(self._visitors.stays(request))

    async def heat(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return self._looked_up(request, heat)

    async def rows(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return self._looked_up(request, _rows)

    def _looked_up(self, request: Request, look: Look) -> Answer:
        """What `look` makes of the history, computed once for all who ask for it within FRESH seconds."""
        series, span = self._asked(request)
        now = self._monitor.now()
        key = (look.__name__, series, span)
        self._looks = {key: each for key, each in self._looks.items() if each[0] > now}
        if key not in self._looks:
            found = {**look(self._monitor.history, series, span, now), "operations": self._monitor.history.series}
            self._looks[key] = now + FRESH[span], made(found).body
        return _fresh(ok(self._looks[key][1]))

    def _asked(self, request: Request) -> tuple[str, str]:
        span = request.parameters["span"]
        if span not in SPANS:
            raise BadRequest("span", f"must be one of {', '.join(SPANS)}")
        series = request.parameters["of"]
        if series != PUBLIC and series not in self._monitor.history.series:
            raise BadRequest("of", "must be one of the operations that /api/history.json lists")
        return series, span

    async def metrics(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        backend = self._monitor
        totals = {name: sum for name, sum in backend.history.totals.items() if not name.startswith("queue ")}
        single = {name: sum for name, sum in totals.items() if " " in name}
        body, kind = exposition(backend.picture, single, request.headers.get("Accept", ""))
        return Answer(200, body, kind)

    async def healthz(self, request: Request) -> Answer:
        return made({"alive": True})

    async def readyz(self, request: Request) -> Answer:
        why = self._monitor.unready()
        if why:
            raise Problem(503, why, {"Retry-After": "1"})
        return made({"ready": True})

    # ---- the operator

    async def session(self, request: Request) -> Answer:
        operator = self._visitors.is_operator(request)
        cookie = self._visitors.browser(request) if operator else ""
        return _fresh(made({"operator": operator}, headers={"Set-Cookie": cookie} if cookie else {}))

    async def login(self, request: Request) -> Answer:
        body = json_body(request)
        if not isinstance(body, dict) or not isinstance(body.get("password"), str):
            raise BadRequest("password", "must be text")
        return Answer(204, headers={"Set-Cookie": await self._visitors.log_in(request, body["password"])})

    async def logout(self, request: Request) -> Answer:
        await self._visitors.check_operator(request)
        return Answer(204, headers={"Set-Cookie": self._visitors.log_out(request)})

    async def dead(self, request: Request) -> Answer:
        await self._visitors.check_operator(request)
        queue = request.parameters["queue"]
        try:
            letters = await self._monitor.dead(queue, request.parameters["after"])
        except ValueError as error:
            raise BadRequest("queue", str(error)) from None
        shown = [_letter(*each) for each in letters[:LETTERS_MAX]]
        return _fresh(made({"queue": queue, "letters": shown, "more": len(letters) > LETTERS_MAX}))

    async def requeue(self, request: Request) -> Answer:
        return await self._change(request, self._monitor.requeue, "put back into the queue")

    async def drop(self, request: Request) -> Answer:
        return await self._change(request, self._monitor.drop, "deleted")

    async def _change(self, request: Request, change: Callable[[str, str, int], Awaitable[bool]], what: str) -> Answer:
        await self._visitors.check_operator(request)
        values = request.parameters
        queue, number = values["queue"], values["number"]
        try:
            done = await change(values["broker"], queue, number)
        except ValueError as error:
            raise BadRequest("queue", str(error)) from None
        if not done:
            raise Problem(404, f"there is no dead letter {number} of {queue} on the {values['broker']} broker")
        self._visitors.note(request, f"the operator: dead letter {number} of {queue} {what}")
        return Answer(204)


def _file(path: Path) -> Answer:
    return Answer(200, path.read_bytes(), KINDS.get(path.suffix, "application/octet-stream"), SAFE)


def _fresh(answer: Answer) -> Answer:
    return replace(answer, headers={**answer.headers, "Cache-Control": "no-store"})


def _rows(history: History, series: str, span: str, now: int) -> dict[str, Any]:
    """The columns of a span as rows."""
    rows = [row(*each) for each in columns(history, series, span, now)]
    return {"of": series, "span": span, "step": step(history, span), "rows": rows}


def _letter(broker: str, letter: DeadLetter) -> dict[str, Any]:
    """The part of a dead letter that is shown, from the broker it lies on; `raw` is cut after SHOWN_MAX of its `size`
    bytes."""
    try:
        op = decode(letter.raw).op
    except Undecodable:
        op = ""
    return {
        "broker": broker,
        "number": letter.number,
        "at": letter.at,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "op": op,
        "size": len(letter.raw),
        "raw": letter.raw[:SHOWN_MAX].decode(errors="replace"),
    }
