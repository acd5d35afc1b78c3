"""Which handler a request is for, and what its parameters may be.

A route is declared once: method, path, parameters. From that come the matching, the checks and /openapi.json.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from gorgond.app.backend import Asker
from gorgond.errors import BadRequest
from gorgond.http.answers import Answer, Problem
from gorgond.http.cors import permission
from gorgond.redpill import Message, Reply


@dataclass(slots=True)
class Request:
    """One request, its parameters checked. `deadline` is ms since 1970; header names are case-insensitive."""

    id: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    deadline: int
    client: str = ""  # the address of the client, as far as trusted proxies tell; empty for a unix socket
    parameters: dict[str, Any] = field(default_factory=dict)
    connection: str = ""  # the address that the connection comes from, which may be a proxy's
    messages: int = field(default=0, init=False)  # made on its behalf
    heavy: Callable[[], Awaitable[None]] | None = None  # waits for the turn of a request whose body is dear to handle

    def next_id(self) -> str:
        """An id for one more message on its behalf: its own first."""
        self.messages += 1
        return self.id if self.messages == 1 else f"{self.id}~{self.messages}"

    async def turn(self) -> None:
        """Let others have theirs, between two steps which may each take long if the body is large."""
        if self.heavy is not None:
            await self.heavy()


class Question(NamedTuple):
    """The question to one server that a handler gives back, with the function that makes its answer of the reply. No
    coroutine waits in between. `answer` may raise what a handler may."""

    asker: Asker
    queue: str
    message: Message
    answer: Callable[[Reply], Answer]


Handler = Callable[[Request], Awaitable[Answer] | Question]
Need = Literal["none", "optional", "required"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value in the path or the query: text, or a whole number between two bounds. One in the query may be left out
    unless it is `required`."""

    name: str
    doc: str
    kind: type[str | int] = str
    low: int = 0
    high: int = 0
    default: Any = None
    required: bool = False
    empty: bool = False  # a text that is empty, as a form sends it, is as good as none
    format: str = ""  # of a text, which the handler sees to

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        if self.kind is int:
            return {"type": "integer", "minimum": self.low, "maximum": self.high}
        text = {"type": "string", "minLength": 0 if self.empty else 1, "maxLength": self.high}
        return text | ({"format": self.format} if self.format else {})

    def read(self, text: str) -> Any:
        """The value. Raises BadRequest."""
        if self.kind is str:
            if not 0 < len(text) <= self.high:
                raise BadRequest(self.name, f"must be 1 to {self.high} characters")
            if "\0" in text:
                raise BadRequest(self.name, "must not hold NUL")
            return text
        if text.isascii() and text.isdigit() and len(text) <= 19 and self.low <= int(text) <= self.high:
            return int(text)
        raise BadRequest(self.name, f"must be a whole number from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Route:
    """A method on a path such as /info/{uid}; `query` are the parameters that may follow after ?, `headers` those that
    the handler reads by itself. `body` is the body's schema, or the name of one; `form` has the fields of a form, or
    their schema, which the handler reads too; one that is `raw` is taken as it comes. `user` and `rights` say who may
    ask; it is the handler that sees to it."""

    method: str
    path: str
    handler: Handler
    doc: str
    parts: Sequence[Parameter] = ()
    query: Sequence[Parameter] = ()
    headers: Sequence[Parameter] = ()
    body: str | Mapping[str, Any] = ""
    form: Sequence[Parameter] | Mapping[str, Any] = ()
    raw: bool = False
    answers: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # words, and names of schemas or media types
    user: Need = "none"
    rights: str = ""
    lenient: bool = False  # what is not known in the query is ignored
    origins: Sequence[str] = ()  # other sites whose pages may ask
    name: str = field(init=False)  # in figures and in the log

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.method} {self.path}")


class Routes:
    """All routes; finds one by method and path. Raises ValueError when two are the same."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = tuple(routes)
        self._shapes: dict[tuple[int, str], list[_Path]] = {}
        for route in routes:
            compiled = _Compiled(route)
            paths = self._shapes.setdefault((len(compiled.segments), compiled.segments[0]), [])
            path = next((each for each in paths if each.fixed == compiled.fixed), None)
            if path is None:
                path = _Path(compiled.fixed)
                paths.append(path)
                paths.sort(key=lambda each: -len(each.fixed))  # what is more fixed is meant first
            there = path.methods.get(route.method)
            if there is not None and there.route.method == route.method:
                raise ValueError(f"there are two routes {route.method} {route.path}")
            path.methods[route.method] = compiled
            if route.method == "GET":
                path.methods.setdefault("HEAD", compiled)
        for path in (path for paths in self._shapes.values() for path in paths):
            some = next(iter(path.methods.values())).route
            path.methods.setdefault("OPTIONS", _Compiled(_allowing(some.path, some.parts, dict(path.methods))))
        methods = {method for paths in self._shapes.values() for path in paths for method in path.methods}
        self._server = _allowing("*", (), dict.fromkeys(methods))

    def find(self, method: str, target: str) -> tuple[Route, dict[str, Any]]:
        """The route for a request line's method and target, and its parameters.

        Raises Problem 404 and 405, and BadRequest.
        """
        if not target.startswith("/") or not target.isascii():
            target = _plain(target)
        path, _, query = target.partition("?")
        if method == "OPTIONS" and path in ("*", "/"):  # about the server, as load balancers ask whether it lives
            return self._server, {}
        segments = path.split("/")[1:]
        if len(segments) > 1 and not segments[-1]:
            segments.pop()
        for shape in self._shapes.get((len(segments), segments[0] if segments else ""), ()):
            if not shape.fixed or all(segments[index] == text for index, text in shape.fixed):
                methods = shape.methods
                break
        else:
            raise Problem(404, f"there is nothing at {path[:200]}")
        found = methods.get(method)
        if found is None:
            allow = ", ".join(sorted(methods))
            raise Problem(405, f"{method[:20]} is not allowed at {path[:200]}; allowed: {allow}", {"Allow": allow})
        return found.route, found.read(segments, query)


def _allowing(path: str, parts: Sequence[Parameter], methods: Mapping[str, _Compiled | None]) -> Route:
    """The route that answers OPTIONS at a path of these methods: to browsers, whether a page of another site may ask
    by one of them."""
    allowed = {"Allow": ", ".join(sorted({*methods, "OPTIONS"}))}

    async def tell(request: Request) -> Answer:
        wanted = request.headers.get("Access-Control-Request-Method", "")
        found = methods.get(wanted)
        if found is None:
            return Answer(204, headers=allowed)
        origin = request.headers.get("Origin", "")
        return Answer(204, headers={**allowed, **permission(found.route.origins, origin, wanted)})

    return Route("OPTIONS", path, tell, "The methods allowed", parts, lenient=True)


class _Path:
    """The routes of one path, by method. `fixed` are its segments after the first that are no parameters."""

    def __init__(self, fixed: Sequence[tuple[int, str]]) -> None:
        self.fixed = fixed
        self.methods: dict[str, _Compiled] = {}


class _Compiled:
    """A route taken apart for matching: the first segment of its path is fixed, the others are fixed or parameters."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.segments = route.path.split("/")[1:]
        by_name = {part.name: part for part in route.parts}
        self._parts = [
            (index, by_name[segment[1:-1]]) for index, segment in enumerate(self.segments) if segment.startswith("{")
        ]
        self.fixed = [
            (index, segment) for index, segment in enumerate(self.segments) if index and not segment.startswith("{")
        ]
        self._query = {parameter.name: parameter for parameter in route.query}
        self._required = [parameter.name for parameter in route.query if parameter.required]
        self._defaults = {each.name: each.default for each in (*route.parts, *route.query) if each.default is not None}

    def read(self, segments: Sequence[str], query: str) -> dict[str, Any]:
        values = dict(self._defaults)
        for index, part in self._parts:
            values[part.name] = part.read(_unquote(part.name, segments[index]))
        if query:
            given = set()
            for name, text in _pairs(query):
                parameter = self._query.get(name)
                if parameter is None and self.route.lenient:
                    continue
                if parameter is None:
                    raise BadRequest(
                        name[:100] or "query", f"not known here; allowed are {', '.join(self._query) or 'none'}"
                    )
                if name in given:
                    raise BadRequest(name, "given twice")
                given.add(name)
                if text or not parameter.empty:
                    values[name] = parameter.read(text)
        for name in self._required:
            if name not in values:
                raise BadRequest(name, "must be given")
        return values


_AUTHORITY = re.compile("https?://[^/?]*", re.IGNORECASE)


def _plain(target: str) -> str:
    """A target in absolute form, or with UTF-8 that is not percent-encoded, as one that is in neither."""
    try:
        text = target.encode("latin-1").decode()
    except UnicodeError:
        raise BadRequest("path", "must be UTF-8") from None
    if authority := _AUTHORITY.match(text):
        rest = text[authority.end() :]
        return rest if rest.startswith("/") else f"/{rest}"
    return text


def _unquote(name: str, text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest(name, "must be percent-encoded UTF-8") from None


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("query", "must be percent-encoded UTF-8") from None
