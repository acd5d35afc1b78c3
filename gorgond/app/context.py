"""The context that a handler is given: who asks, until when, and the way to the other servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from gorgond.app.backend import AppBackend
from gorgond.app.clients import Fetched, ProviderClient, StoreClient, fetch
from gorgond.app.enqueuing import WINDOW, Enqueued, Mode, Request, check_text, enqueue, job_id
from gorgond.app.jobs import Job, seconds_of
from gorgond.app.jobstatus import CANCEL, CANCELS, JOBS, cancel_document, filter_of, status_of
from gorgond.app.notifying import QUEUE, SEND, check_kind, notification_id, send_args
from gorgond.errors import BadArgument, NotFound
from gorgond.redpill import ID_MAX, Message, Reply, dumps, new_id, now_ms
from gorgond.validators import Network

LOOKS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds until a status is looked for again: a job's is stored after it is queued

log = logging.getLogger("gorgond.app")


@dataclass(frozen=True, slots=True)
class User:
    """The user who asks, as the auth server says."""

    id: str
    name: str = ""
    email: str = ""
    roles: tuple[str, ...] = ()
    session: str = ""

    @classmethod
    def of(cls, user: Mapping[str, Any]) -> User:
        """The user in a message."""
        texts = {name: str(user.get(name) or "") for name in ("id", "name", "email", "session")}
        return cls(**texts, roles=tuple(user.get("roles") or ()))


class Context:
    """One run of a handler. Its questions have its deadline, and its writes have ids made of its own: if it is run
    again, since an instance died, its writes happen once all the same."""

    __slots__ = ("_backend", "_calls", "_repeat", "_trace", "deadline", "id", "log", "sent", "user")

    def __init__(self, backend: AppBackend, message: Message) -> None:
        self.id = message.id
        """The id of the request or event; it is in every line of the log."""
        self.user = User.of(message.user) if message.user and message.user.get("id") else None
        """The user who asks; None when nobody is logged in."""
        self.deadline = message.deadline
        """When nobody waits any more, ms since 1970."""
        self.sent = message.sent
        """When it was asked, ms since 1970: the `ts` of what the handler writes."""
        self.log = log
        self._backend = backend
        self._trace = message.trace
        self._repeat = message.attempts > 0  # it may have been run before
        self._calls = 0

    @property
    def store(self) -> StoreClient:
        """The database."""
        return StoreClient(self)

    @property
    def provider(self) -> ProviderClient:
        """Data from outside, and to it."""
        return ProviderClient(self)

    async def fetch(
        self,
        url: str,
        method: str = "GET",
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        by: str = "http",
    ) -> Fetched:
        """The answer of an API outside, whatever its status; `json` is sent as the body. The provider `by` asks it,
        [provider.http], whose `allow` says which may be asked.

        Raises Forbidden for one that may not, NotFound when there is no such provider, BadRequest, and CallFailed 502
        when there is no answer, or one of more than 64 KB."""
        sent = dict(headers or {})
        body = None if json is None else dumps(json)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        return await fetch(self, method, url, sent, body, by)

    async def publish(self, topic: str, op: str, args: Mapping[str, Any] | None = None) -> None:
        """Publish the event `op`, with the arguments `args`, on `topic`; back when it is kept for every group of it.

        Raises BrokerError when it cannot be kept, and TypeError or ValueError for arguments that are no JSON."""
        await self._backend.publish(topic, self._message(op, dict(args or {}), self._next_id()))

    @property
    def kinds(self) -> Mapping[str, str]:
        """The kinds of notifications that the applications here declare, with their titles."""
        return self._backend.kinds

    @property
    def channels(self) -> Mapping[str, str]:
        """The channels over which they are sent, with the kind of each: the inbox, and those that the configuration
        names."""
        return self._backend.channels

    @property
    def loud(self) -> Mapping[str, bool]:
        """Those of them that disturb people, which have quiet hours; and whether digests are sent over them."""
        return self._backend.loud

    @property
    def webhooks(self) -> Mapping[str, Sequence[Network]]:
        """The channel to endpoints of users' own, if there is one, with the private networks where those may be."""
        return self._backend.webhooks

    async def have_sent(self, channel: str, op: str, args: dict[str, Any]) -> None:
        """Ask the notification servers for `op` over a channel; back when that is kept. Raises QueueFull and
        BrokerError."""
        message = self._message(op, args, self._next_id())
        message.deadline = 0  # it is kept, and nobody waits for it
        await self._backend.push(f"{QUEUE}:{channel}", message)

    async def notify(self, user: str, kind: str, data: Any = None, *, key: str = "", at: int | None = None) -> str:
        """Notify a user, by the id: the notification's id, when it is kept. It is sent over each channel that the user
        wants for its kind, at the time `at` if there is one, ms since 1970.

        `data` is any JSON value of 20 kB at most; of an object, `title`, `text` and `url` are shown in the inbox. Under
        one `key` a user gets one notification of a kind, however often it is asked for; without one this run of the
        handler makes one, however often it is run.

        Raises NotFound for a kind that no application declares, BadRequest, Refused 413, QueueFull and BrokerError."""
        check_kind(kind, self.kinds)
        message = self._message(SEND, {}, self._next_id())
        message.deadline = 0  # it is kept, and nobody waits for it
        id = notification_id(*((user, kind, key) if key else (message.id,)))
        message.args = send_args(id, user, kind, self.kinds[kind], data, at or message.sent)
        await self._backend.push(QUEUE, message, at)
        return id

    async def enqueue(
        self,
        job: Job,
        /,
        *,
        unique: str = "",
        mode: Mode = "keep",
        window: float | str = WINDOW,
        delay: float | str | None = None,
        at: int | None = None,
        **args: Any,
    ) -> Enqueued:
        """Have a job done in the background, with these arguments: the job, when it is kept; `delay` seconds from now,
        or `at` a time in ms since 1970, if one is given.

        Under one key `unique` there is one job that waits or runs, for `window` at most. What is enqueued then is that
        one: with the mode "keep" as it is; with "replace" it gets these arguments, or if it runs already, another one
        follows it; with "again" one more runs after it if it runs already. Times are seconds, or texts as "10s".

        Raises BadArgument, which is a TypeError, for what the annotations of the job do not allow; ValueError for times
        and modes that are none, QueueFull and BrokerError."""
        if not isinstance(job, Job):
            raise BadArgument(f"{job!r:.100} is no job: declare it with @app.job()")
        if mode not in get_args(Mode) or (delay is not None and at is not None):
            raise ValueError("a mode is keep, replace or again; a job is due after a delay or at a time, not both")
        check_text("unique", unique)
        due = at if at is not None else 0 if delay is None else now_ms() + int(seconds_of(delay) * 1000)
        user, lasts = self.user.id if self.user is not None else "", seconds_of(window)
        asked = Request(job.written(args), user, self._trace, due, unique, mode, lasts, self._repeat)
        return await enqueue(self._backend, job, job_id(self._next_id()), asked)

    async def job(self, id: str) -> dict[str, Any]:
        """The status of the job of that id: `state`, which is queued, scheduled, running, done, failed or cancelled;
        `progress`, `text`, `result`, `reason`, where there are any. That of one which was enqueued just now is waited
        for. Raises NotFound."""
        documents = await self.store.find(JOBS, filter_of(id))
        for pause in LOOKS:
            if documents:
                break
            await asyncio.sleep(pause)
            documents = await self.store.find(JOBS, filter_of(id))
        status = status_of(id, documents, now_ms())
        if status is None:
            raise NotFound(f"there is no job {id:.100}")
        return status

    async def cancel(self, id: str) -> None:
        """Have the job of that id cancelled: it is not begun, or if it runs already it is ended. One that is over stays
        as it is."""
        await self.store.replace(JOBS, cancel_document(id))
        await self.publish(CANCELS, CANCEL, {"id": id})

    async def ask(self, queue: str, op: str, args: dict[str, Any], private: bool = False) -> Reply:
        """The reply of the server that consumes `queue` to the question `op` with the arguments `args`; with `private`
        the answer also has what is private to the user who asks. Raises the error that the server answers."""
        message = self._message(op, args, new_id())
        if private and message.user is not None:
            message.user["reads"] = "own"
        return await self._backend.call(queue, message)

    async def change(self, queue: str, op: str, args: dict[str, Any]) -> Reply:
        """The reply of the server that consumes `queue`, which makes the change `op` with the arguments `args`: once,
        however often this handler is run for the same message. Raises the error that the server answers."""
        return await self._backend.call(queue, self._message(op, args, self._next_id()))

    def _next_id(self) -> str:
        self._calls += 1
        return f"{self.id}.{self._calls}"[-ID_MAX:]

    def _message(self, op: str, args: dict[str, Any], id: str) -> Message:
        user = {"id": self.user.id} if self.user is not None else None
        return Message(op, args, id, user=user, deadline=self._until(), sent=self.sent, trace=self._trace)

    def _until(self) -> int:
        """The deadline of a question that is asked now."""
        return self.deadline
