"""The website as a whole: its routes, and how errors look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gorgond.app.backend import Hear, WebBackend
from gorgond.bounds import WHOLE_MAX
from gorgond.http.answers import Answer, Problem, phrase, wants_page
from gorgond.http.asking import Asking
from gorgond.http.credentials import cleared_cookie
from gorgond.http.routes import Parameter, Request, Route
from gorgond.http.server import Translate
from gorgond.http.telling import Spawn
from gorgond.http.website.account import Account
from gorgond.http.website.endpoints import Endpoints
from gorgond.http.website.inbox import Inbox
from gorgond.http.website.live import SHOWN, TAG, Live
from gorgond.http.website.notes import Notes
from gorgond.http.website.proving import Proving
from gorgond.http.website.rendering import Static, Templates, page, see_other
from gorgond.http.website.visitor import NOBODY
from gorgond.redpill import ID_MAX

_LAST = Parameter("Last-Event-ID", "go on after this event", str, high=ID_MAX)


class Website:
    """The pages and what their forms do; `routes` says which is for what. `hear` makes a listener of a
    topic, `spawn` runs a task of the server's, `translate` says how an error of the fabric is told; `providers` are
    names of OAuth2 providers one may come from; `letters`: e-mails are sent from here."""

    def __init__(
        self,
        backend: WebBackend,
        hear: Hear,
        spawn: Spawn,
        translate: Translate,
        providers: Sequence[str] = (),
        letters: bool = False,
    ) -> None:
        self._static = Static()
        self._templates = Templates(self._static)
        asking = Asking(backend)
        notes = Notes(asking, self._templates, translate)
        self._live = Live(hear, spawn, notes)
        self._inbox = Inbox(asking, self._templates, hear, spawn)
        self.routes = [
            *notes.routes,
            *Account(asking, self._templates, providers, letters).routes,
            *Proving(asking, self._templates, letters).routes,
            *self._inbox.routes,
            *Endpoints(asking, self._templates).routes,
            Route("GET", "/live", self.live, "Notes as they change, as server-sent events", (),
                  (Parameter("uid", "only those of this user", int, 0, WHOLE_MAX),
                   Parameter("since", "first those that are not older, ms since 1970", int, 0, WHOLE_MAX, 0),
                   Parameter("shown", "tags of the notes that the page shows", str, high=TAG * SHOWN)),
                  (_LAST,),
                  answers={200: ("changes, without an end", "text/event-stream")}),
            Route("GET", "/static/{name}", self.file, "A file that pages need",
                  (Parameter("name", "the file's name", str, high=100),),
                  (Parameter("v", "its version", str, high=40),),
                  answers={200: ("the file", "*/*"), 404: ("there is none", "Error")}),
        ]  # fmt: skip

    async def live(self, request: Request) -> Answer:
        """The stream of changes for a page that is open."""
        uid, since = request.parameters.get("uid"), request.parameters["since"]
        last = request.headers.get(_LAST.name)
        shown = request.parameters.get("shown", "")
        return self._live.watch(uid, since, _LAST.read(last) if last else "", shown)

    async def file(self, request: Request) -> Answer:
        """A static file."""
        return self._static.answer(request.parameters["name"])

    def close(self) -> None:
        """Let go of the pages that are open: their browsers find another server."""
        self._live.close()
        self._inbox.close()

    def problem(self, problem: Problem, request: str, headers: Mapping[str, str]) -> Answer:
        """An error as a page for a client that asks for one, as browsers do when they go somewhere; else in JSON. A
        visitor who is not logged in and should be is sent to do that."""
        if not wants_page(headers):
            return problem.answer(request)
        if problem.status == 401:
            return see_other("/login", cleared_cookie())
        heading = phrase(problem.status)
        body = self._templates.render("problem.html", NOBODY, heading=heading, said=problem.message, request=request)
        return page(body, problem.status, problem.headers)
