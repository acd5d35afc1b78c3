"""The HTTP API of the stats server: the picture, the history, dead letters, and the page that shows them.

The page's own files say nothing of the fabric and are for everybody; `visitors` says who may do the rest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem, json_answer, ok
from gorgond.http.bodies import json_body
from gorgond.http.routes import Parameter, Request, Route, Routes
from gorgond.stats.documents import document_page
from gorgond.stats.heat import heat
from gorgond.stats.history import History
from gorgond.stats.operating import Operable, Operating
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

_OF = Parameter("of", "the series", str, high=300, default=PUBLIC)
_SPAN = Parameter("span", " ".join(SPANS), str, high=10, default="minute")
Look = Callable[[History, str, str, int], dict[str, Any]]


class Monitor(Operable, Protocol):
    """The stats server, as its API sees it."""

    history: History
    picture: dict[str, Any]

    @property
    def lately(self) -> list[dict[str, Any]]:
        """What lay in all queues together in each of the last seconds: {"at", "queued", "dead"}, `at` in ms."""

    def now(self) -> int:
        """Seconds since 1970."""

    def unready(self) -> str:
        """Why there is nothing to see; empty when there is."""


class Api:
    """The handlers; `routes` says which is for what."""

    def __init__(self, monitor: Monitor, visitors: Visitors, viewers: Viewers) -> None:
        self._monitor = monitor
        self._visitors = visitors
        self._viewers = viewers
        self._looks: dict[tuple[str, str, str], tuple[int, bytes]] = {}  # until when they are fresh, and the answer
        files = {file.name: _file(file) for file in sorted(PAGE.glob("*"))} if PAGE.is_dir() else {}
        self._index, self._files = files.pop("index.html", None), files
        name = Parameter("name", "one of the files", str, high=100)
        self.routes = Routes(
            [
                Route("GET", "/", self.index, "The page"),
                Route("GET", "/static/{name}", self.file, "Its files", (name,)),
                Route("GET", "/docs/{name}", self.document, "The documentation", (name,)),
                Route("GET", "/api/stats.json", self.stats, "The picture"),
                Route("GET", "/api/events", self.events, "The picture each second, as server-sent events"),
                Route("GET", "/api/heat.json", self.heat, "Latency by time", (), (_OF, _SPAN)),
                Route("GET", "/api/history.json", self.rows, "What was done, by time", (), (_OF, _SPAN)),
                Route("GET", "/api/history.csv", self.rows_csv, "The same as a table", (), (_OF, _SPAN)),
                Route("GET", "/api/queues.csv", self.queues_csv, "The queues of the picture as a table"),
                Route("GET", "/api/instances.csv", self.instances_csv, "The instances of the picture as a table"),
                Route("GET", "/api/lately.json", self.lately, "What lay in the queues in the last minute"),
                Route("GET", "/metrics", self.metrics, "All of it for Prometheus"),
                Route("GET", "/api/session", self.session, "Whether this is the operator; whether there is none"),
                Route("POST", "/api/login", self.login, "Become the operator"),
                Route("POST", "/api/logout", self.logout, "Be nobody again"),
                *Operating(monitor, visitors).routes,
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

    async def document(self, request: Request) -> Answer:
        found = document_page(request.parameters["name"])
        if found is None:
            raise Problem(
                404, "the documentation is not installed here: it is docs/ of the source, or the Debian package"
            )
        return Answer(200, found, "text/html; charset=utf-8", SAFE)

    # ---- to look at

    async def stats(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return _fresh(json_answer(self._monitor.picture))

    async def events(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return self._viewers.answer(self._visitors.stays(request))

    async def heat(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return self._look_up(request, heat)

    async def rows(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return self._look_up(request, _rows)

    async def rows_csv(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        series, span = self._query_of(request)
        name = f"{series} {span}".replace("/", "-").replace("{", "").replace("}", "")
        return _table(name, _rows(self._monitor.history, series, span, self._monitor.now())["rows"])

    async def queues_csv(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return _table("queues", self._monitor.picture["queues"])

    async def instances_csv(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return _table("instances", self._monitor.picture["instances"])

    async def lately(self, request: Request) -> Answer:
        await self._visitors.check_reader(request)
        return _fresh(json_answer({"rows": self._monitor.lately}))

    def _look_up(self, request: Request, look: Look) -> Answer:
        """What `look` makes of the history, computed once for all who ask for it within FRESH seconds."""
        series, span = self._query_of(request)
        now = self._monitor.now()
        key = (look.__name__, series, span)
        self._looks = {key: each for key, each in self._looks.items() if each[0] > now}
        if key not in self._looks:
            found = {**look(self._monitor.history, series, span, now), "operations": self._monitor.history.series}
            self._looks[key] = now + FRESH[span], json_answer(found).body
        return _fresh(ok(self._looks[key][1]))

    def _query_of(self, request: Request) -> tuple[str, str]:
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
        return json_answer({"alive": True})

    async def readyz(self, request: Request) -> Answer:
        why = self._monitor.unready()
        if why:
            raise Problem(503, why, {"Retry-After": "1"})
        return json_answer({"ready": True})

    # ---- the operator

    async def session(self, request: Request) -> Answer:
        operator = self._visitors.is_operator(request)
        cookie = self._visitors.browser(request) if operator else ""
        answer = {"operator": operator} | ({} if self._visitors.password else {"password": False})
        return _fresh(json_answer(answer, headers={"Set-Cookie": cookie} if cookie else {}))

    async def login(self, request: Request) -> Answer:
        body = json_body(request)
        if not isinstance(body, dict) or not isinstance(body.get("password"), str):
            raise BadRequest("password", "must be text")
        return Answer(204, headers={"Set-Cookie": await self._visitors.log_in(request, body["password"])})

    async def logout(self, request: Request) -> Answer:
        await self._visitors.check_operator(request)
        return Answer(204, headers={"Set-Cookie": self._visitors.log_out(request)})


def _file(path: Path) -> Answer:
    return Answer(200, path.read_bytes(), KINDS.get(path.suffix, "application/octet-stream"), SAFE)


def _fresh(answer: Answer) -> Answer:
    return replace(answer, headers={**answer.headers, "Cache-Control": "no-store"})


def _rows(history: History, series: str, span: str, now: int) -> dict[str, Any]:
    """The columns of a span as rows."""
    rows = [row(*each) for each in columns(history, series, span, now)]
    return {"of": series, "span": span, "step": step(history, span), "rows": rows}


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Answer:
    """Rows with the same keys as a file of CSV, the keys first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    for each in rows:
        writer.writerow({key: " ".join(cell) if isinstance(cell, list) else cell for key, cell in each.items()})
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return _fresh(Answer(200, text.getvalue().encode(), "text/csv; charset=utf-8", headers))
