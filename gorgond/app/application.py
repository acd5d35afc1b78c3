"""App: what an application declares. Nothing happens here; web servers and app servers read it."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from gorgond.app.annotations import BODY, Argument, kind_of
from gorgond.app.cron import Cron, Missed
from gorgond.app.folder import Folder
from gorgond.app.jobs import RESERVED, Job, seconds_of
from gorgond.app.limits import bounds_of
from gorgond.app.notifying import KIND
from gorgond.errors import ConfigError
from gorgond.redpill import Attempts, keys
from gorgond.roles.row import FIELD, Indexes

Need = Literal["none", "optional", "required"]
Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)

ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")  # as browsers name one

_NAME = re.compile("[a-z][a-z0-9_-]{0,31}")
_PATH = re.compile(r"/[A-Za-z0-9._~-]+(/([A-Za-z0-9._~-]+|\{\w+(:\w+)?\}))*")
_PART = re.compile(r"\{(\w+)(?::(\w+))?\}")
_PATH_TYPES: Mapping[str, type] = {"int": int, "str": str, "float": float}
_WITH_BODY = ("POST", "PUT", "PATCH")


class Who(TypedDict, total=False):
    """Who may ask. `user`: whether there must be ("required"), may be ("optional"), or need not be ("none") somebody
    logged in; `rights`: the role that user must have; `own`: the parameter in the path that must be the user's own id;
    `origins`: other sites whose pages may ask too, in place of those of the application."""

    user: Need
    rights: str
    own: str
    origins: Sequence[str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The handler of a method on a path such as /notes/{uid}; `op` is how messages call it. `own` is the parameter that
    must be the id of the user who asks. With `form` the body is a form, as browsers send it.
    `origins` are other sites whose pages may ask."""

    op: str
    method: str
    path: str
    handler: Handler
    doc: str
    parts: tuple[Argument, ...]
    query: tuple[Argument, ...]
    body: Argument | None
    user: Need = "none"
    rights: str = ""
    own: str = ""
    form: bool = False
    origins: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Those of its arguments in a message."""
        body = () if self.body is None else (self.body,)
        return frozenset(each.name for each in (*self.parts, *self.query, *body))

    def values(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The handler's arguments, of the JSON values in a message. Raises BadRequest."""
        values = {each.name: each.kind.read(args[each.name], each.name) for each in self.parts}
        for each in self.query:
            if each.name in args:
                values[each.name] = each.kind.read(args[each.name], each.name)
        if self.body is not None and (self.body.required or self.body.name in args):
            values[self.body.name] = self.body.kind.read(args.get(self.body.name), BODY)
        return values


@dataclass(frozen=True, slots=True)
class Schedule:
    """A handler that runs every so many seconds, on one instance at a time."""

    name: str
    seconds: float
    handler: Handler


class App:
    """An application: what it answers, hears and does every so often.

        app = App("notes")

        @app.get("/notes/{uid:int}", user="optional")
        async def notes(ctx, uid: int, lim: int = 20):
            return await ctx.store.find("items", {"userid": uid}, sort="-ts", limit=lim)

        @app.on("store_notify")
        async def changed(ctx, event): ...

        @app.every(3600)
        async def tidy(ctx): ...

        @app.job(attempts=5, timeout="2m")
        async def resize(ctx, photo: str, width: int = 640): ...

        @app.cron("30 7 * * mon-fri", tz="Europe/Vienna")
        async def digest(ctx): ...

    `name`, `a-z` and then up to 31 of `a-z 0-9 _ -`, begins the names of its operations, and is its durable group in
    topics. `origins` are other sites whose pages may ask it, as ["https://shop.example"]; ["*"] are all.

    A handler is an `async def` whose first parameter is the `Context`. It returns what JSON can hold, or a
    `Response`; it raises `NotFound`, `Forbidden`, `Conflict`, or `Refused` with another status. It is run until the
    request's deadline, and may be run twice for one request.

    Raises ConfigError, as the decorators do, for what cannot work: when the module is loaded, not when it is asked.
    """

    def __init__(self, name: str, *, origins: Sequence[str] = ()) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"an application cannot be called {name!r}; allowed: a-z, then a-z 0-9 _ -, up to 32")
        self.name = name
        self.origins = _origins(name, origins)
        self.folder = Folder(name)  # until its module is loaded
        self.endpoints: dict[str, Endpoint] = {}  # by op
        self.topics: dict[str, Handler] = {}
        self.schedules: dict[str, Schedule] = {}  # by name
        self.collections: dict[str, Indexes] = {}
        self.jobs: dict[str, Job] = {}  # by name
        self.crons: dict[str, Cron] = {}  # by the job's name
        self.notifications: dict[str, str] = {}  # titles, by kind

    def get(self, path: str, **who: Unpack[Who]) -> Callable[[H], H]:
        """The handler of GET on `path`, called with the context and the parameters.

        Its annotations say what parameters may be. A parameter in the path stands there too, as {uid} or {uid:int}; the
        others come from the query. `who` may ask: `user`, "none", "optional" or "required", whether somebody is logged
        in; `rights`, the role that user must have; `own`, the parameter in the path that must be the user's own id;
        `origins`, other sites whose pages may ask, in place of the application's.
        """
        return self._route("GET", path, False, **who)

    def post(self, path: str, **who: Unpack[Who]) -> Callable[[H], H]:
        """The same for POST. A parameter whose annotation is an object or a list (a dataclass, a TypedDict, dict, list)
        is the body, in JSON."""
        return self._route("POST", path, False, **who)

    def form(self, path: str, **who: Unpack[Who]) -> Callable[[H], H]:
        """The handler of a form that a page posts to `path`: as POST, and the body is an object of the form's fields.

        A browser that says that a page of another site has sent it is refused. The handler answers
        `Response.see_other(…)` when it is done, with where to go on.
        """
        return self._route("POST", path, True, **who)

    def put(self, path: str, **who: Unpack[Who]) -> Callable[[H], H]:
        """The same for PUT, with a body as in POST."""
        return self._route("PUT", path, False, **who)

    def patch(self, path: str, **who: Unpack[Who]) -> Callable[[H], H]:
        """The same for PATCH, with a body as in POST."""
        return self._route("PATCH", path, False, **who)

    def delete(self, path: str, **who: Unpack[Who]) -> Callable[[H], H]:
        """The same for DELETE."""
        return self._route("DELETE", path, False, **who)

    def collection(self, name: str, *, newest: Sequence[str] = (), values: Sequence[str] = ()) -> None:
        """Declare the fields by which documents of a collection are found fast: `newest` are fields by whose value they
        are asked for, the newest first; `values` are fields by whose value, or any value of a list in them, they are.

        The stores make an index of each, in the background; until it is there the same is found slowly. It makes each
        write a little dearer, and stays when it is no longer declared. A field is one of the document's own, not one in
        an object within.
        """
        wrong = [field for field in (*newest, *values) if not re.fullmatch(FIELD, field)]
        if isinstance(newest, str) or isinstance(values, str):
            raise ConfigError(f'collection {name}: fields are a tuple or a list, as in newest=["customer"]')
        if wrong or not re.fullmatch("[a-z][a-z0-9_]{0,63}", name):
            raise ConfigError(f"collection {name}: {' '.join(wrong) or name} cannot be indexed; id and ts are anyway")
        if name in self.collections:
            raise ConfigError(f"the application {self.name} declares the collection {name} twice")
        self.collections[name] = Indexes(tuple(newest), tuple(values))

    def notification(self, kind: str, title: str) -> None:
        """Declare a kind of notification, as "comment.new", which handlers send by `ctx.notify`. `title` says to users
        what it is, where they choose what they are sent, and heads what has no title of its own."""
        if not re.fullmatch(KIND, kind) or not title.strip() or "\n" in title:
            raise ConfigError(f"a kind of notification cannot be {kind!r} with the title {title!r}; as in comment.new")
        if kind in self.notifications:
            raise ConfigError(f"the application {self.name} declares the kind of notification {kind} twice")
        self.notifications[kind] = title

    def on(self, topic: str) -> Callable[[H], H]:
        """The handler of the events of `topic`, called with the context and the event, a `Message`.

        Of all instances one gets each event, also those that were published while none was running. An event whose
        handler raised comes again, three times in all. Events may be handled at the same time, and in any order.
        """

        def declare(handler: H) -> H:
            self._signature(handler, 2)
            try:
                keys.queue(f"{topic}/{self.name}")
            except ValueError as error:
                raise ConfigError(str(error)) from None
            if topic in self.topics:
                raise ConfigError(f"the application {self.name} has two handlers of topic {topic}")
            self.topics[topic] = handler
            return handler

        return declare

    def every(self, seconds: float) -> Callable[[H], H]:
        """A handler that is run every so many `seconds`, 1 at least, called with the context. It runs on one instance
        at a time, and on another one when that one is gone."""

        def declare(handler: H) -> H:
            self._signature(handler, 1)
            if not seconds >= 1:
                raise ConfigError(f"every {seconds} seconds is too often; allowed: 1 and more")
            name = f"{self.name}.{handler.__name__}"
            if name in self.schedules:
                raise ConfigError(f"there are two handlers {name}")
            self.schedules[name] = Schedule(name, seconds, handler)
            return handler

        return declare

    def job(
        self,
        *,
        attempts: int = 3,
        timeout: float | str = "1m",
        backoff: float | str = "1s",
        longest: float | str = "10m",
        keep: float | str = "7d",
        concurrency: int | str | None = None,
        limit: str | None = None,
    ) -> Callable[[Handler], Job]:
        """A job, which `ctx.enqueue` has done in the background: an `async def` with the context and its arguments,
        which are checked against the annotations.

        It is begun `attempts` times at most. Each may take `timeout`, then it is cancelled. After a failure it comes
        again in `backoff`, then twice as long each time, `longest` at most, by chance up to a half less or more. What
        became of it is kept for `keep` after it ended; with 0 nobody is told, and nothing is stored. Times are seconds,
        or texts as "500ms", "2m" or "1h".

        `concurrency` is how many are done at the same time on all app servers together; `limit` how many are begun
        within a time, as "10/s", "100/m", "1000/h" or "5000/d". Each may be said of all that have the same argument,
        and several with commas between them: "20, 2 per shop". One that waits for that is no attempt, and holds up
        nobody else.
        """

        def declare(handler: Handler) -> Job:
            return self._declare_job(handler, attempts, timeout, backoff, longest, keep, concurrency, limit)

        return declare

    def cron(
        self,
        expression: str,
        *,
        tz: str = "UTC",
        missed: Missed = "once",
        attempts: int = 3,
        timeout: float | str = "1m",
    ) -> Callable[[Handler], Job]:
        """A job without arguments that is enqueued by the clock of the time zone `tz`: minute, hour, day of the month,
        month, day of the week, as of cron(5).

        `missed` says what becomes of times at which no app server ran: "once", the last of them is made up for;
        "skip", none is; "all", each is. `attempts` and `timeout` are those of a job.
        """

        def declare(handler: Handler) -> Job:
            job = self._declare_job(handler, attempts, timeout, "1s", "10m", "7d")
            if job.arguments:
                raise ConfigError(f"{job.name}: a handler of cron takes the context")
            self.crons[job.name] = Cron.of(job, expression, tz, missed)
            return job

        return declare

    def _declare_job(
        self,
        handler: Handler,
        attempts: int,
        timeout: float | str,
        backoff: float | str,
        longest: float | str,
        keep: float | str,
        concurrency: int | str | None = None,
        limit: str | None = None,
    ) -> Job:
        name = f"{self.name}.{handler.__name__}"
        arguments = self._arguments(name, "", handler)
        if name in self.jobs:
            raise ConfigError(f"there are two jobs {name}")
        if taken := sorted(RESERVED & arguments.keys()):
            raise ConfigError(f"{name}: {taken[0]} is an argument of ctx.enqueue itself: call this one otherwise")
        try:
            tries = Attempts(attempts, seconds_of(backoff), seconds_of(longest))
            takes = tuple(arguments.values())
            bounds = bounds_of(concurrency, limit, takes)
            job = Job(name, handler, takes, tries, seconds_of(timeout), seconds_of(keep), bounds)
            keys.queue(job.queue)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        self.jobs[name] = job
        return job

    def _route(self, method: str, path: str, form: bool, **who: Unpack[Who]) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            endpoint = self._endpoint(method, path, form, handler, **who)
            if endpoint.op in self.endpoints:
                raise ConfigError(f"there are two handlers {endpoint.op}")
            self.endpoints[endpoint.op] = endpoint
            return handler

        return declare

    def _endpoint(
        self,
        method: str,
        path: str,
        form: bool,
        handler: Handler,
        user: Need = "none",
        rights: str = "",
        own: str = "",
        origins: Sequence[str] | None = None,
    ) -> Endpoint:
        where = f"{method} {path}"
        if not _PATH.fullmatch(path):
            raise ConfigError(
                f"{where}: a path is /fixed or /fixed/{{name}}/{{name:int}}, and begins with a fixed part"
            )
        if user not in typing.get_args(Need):
            raise ConfigError(f"{where}: user cannot be {user!r}; allowed: {', '.join(typing.get_args(Need))}")
        if (rights or own) and user != "required":
            raise ConfigError(f'{where}: rights and own need user="required"')
        arguments = self._arguments(where, path, handler)
        in_path = [name for name, _ in _PART.findall(path)]
        if own and own not in in_path:
            raise ConfigError(f"{where}: own must be a parameter in the path, not {own!r}")
        query: list[Argument] = []
        bodies: list[Argument] = []
        for argument in arguments.values():
            if argument.name not in in_path:
                (query if argument.kind.text is not None else bodies).append(argument)
        if len(bodies) > 1 or (bodies and method not in _WITH_BODY):
            names = ", ".join(each.name for each in bodies)
            most = "one of them can be the body" if method in _WITH_BODY else f"{method} has no body"
            raise ConfigError(f"{where}: {names} cannot come from the query, and {most}")
        if form and bodies and (wrong := _unlike_a_form(bodies[0])):
            raise ConfigError(f"{where}: {wrong} cannot come from a form")
        return Endpoint(
            f"{self.name}.{handler.__name__}",
            method,
            _PART.sub(r"{\1}", path),
            handler,
            inspect.getdoc(handler) or handler.__name__.replace("_", " "),
            tuple(arguments[name] for name in in_path),
            tuple(query),
            bodies[0] if bodies else None,
            user,
            rights,
            own,
            form,
            self.origins if origins is None else _origins(where, origins),
        )

    def _arguments(self, where: str, path: str, handler: Handler) -> dict[str, Argument]:
        """The parameters of a handler after its context."""
        typed = {name: _path_type(where, name, kind) for name, kind in _PART.findall(path)}
        hints = typing.get_type_hints(handler)
        arguments: dict[str, Argument] = {}
        for parameter in self._signature(handler)[1:]:
            name = parameter.name
            annotation = hints.get(name, typed.get(name))
            if annotation is None:
                raise ConfigError(f"{where}: {name} needs an annotation that says what it may be")
            if typed.get(name) not in (None, annotation):
                raise ConfigError(f"{where}: {name} is of another type in the path than in its annotation")
            kind, default = kind_of(annotation), parameter.default
            if default is inspect.Parameter.empty:
                arguments[name] = Argument(name, kind, required=True)
            else:
                arguments[name] = Argument(name, kind, required=False, default=default)
            if name in typed and (kind.text is None or not arguments[name].required):
                raise ConfigError(f"{where}: {name} is in the path, so it is one value and has no default")
        if missing := [name for name in typed if name not in arguments]:
            raise ConfigError(f"{where}: the handler has no parameter {missing[0]}")
        return arguments

    def _signature(self, handler: Handler, count: int = 0) -> list[inspect.Parameter]:
        """The parameters of a handler, which must be async and take `count` of them (0: one or more) by position."""
        if not inspect.iscoroutinefunction(handler):
            raise ConfigError(f"{handler!r} is no handler: it must be an async def")
        parameters = list(inspect.signature(handler).parameters.values())
        if any(each.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for each in parameters):
            raise ConfigError(f"{handler.__name__}: a handler has plain parameters only")
        if not parameters or count not in (0, len(parameters)):
            takes = {0: "the context and its parameters", 1: "the context", 2: "the context and the event"}[count]
            raise ConfigError(f"{handler.__name__}: this handler takes {takes}")
        return parameters


def _origins(where: str, origins: Sequence[str]) -> tuple[str, ...]:
    """Other sites whose pages may ask. Raises ConfigError for what is none."""
    if isinstance(origins, str) or any(each != "*" and not ORIGIN.fullmatch(each) for each in origins):
        raise ConfigError(f'{where}: origins are a list of sites, as ["https://shop.example"], or ["*"]: of all')
    return tuple(origins)


def _unlike_a_form(body: Argument) -> str:
    """What of a body a form has no place for; nothing if it can be one."""
    if body.kind.schema.get("type") != "object":
        return body.name
    return next((name for name, field in body.kind.fields.items() if (field.each or field).text is None), "")


def _path_type(where: str, name: str, kind: str) -> type | None:
    """The type written in the path; None where there is none."""
    if kind and kind not in _PATH_TYPES:
        raise ConfigError(f"{where}: {name} cannot be of type {kind} in a path; allowed: {' '.join(_PATH_TYPES)}")
    return _PATH_TYPES[kind] if kind else None
