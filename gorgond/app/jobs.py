"""Jobs, as an application declares them, and how one comes to be in its queue.

    app_job:SHOP.RESIZE   "shop.resize" {"args": {"photo": "p1"}, "due": 1700000000000, "unique": "resize:p1",
                          "repeat": true}

Each job has a queue of its own. So it can be paused, its figures and dead letters are told apart, a slow one holds up
no other, and an app server that does not know it leaves it alone. `due` is when it may begin, if that is later than at
once. `unique` is the key under which it is the only one. `repeat`: it may have been enqueued before under the same id,
since who enqueues it is run again; so it is looked up whether it has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gorgond.app.annotations import Argument
from gorgond.app.backend import JobBackend
from gorgond.app.jobstatus import queued_message
from gorgond.app.response import plain_value
from gorgond.errors import BadArgument, BadRequest, Refused
from gorgond.redpill import ID_MAX, Attempts, Link, Message, Producer, Unique, decode, dumps, loads, now_ms
from gorgond.validators import duration

QUEUE = "app_job"
RESERVED = frozenset({"unique", "mode", "window", "delay", "at"})  # what `enqueue` itself is told
ARGS_MAX = 1_000_000  # bytes of a job's arguments, as JSON
WINDOW = 86400.0  # seconds for which a key is a job's, unless it ends before
LOOK = 0.02  # seconds between two looks whether another one has pushed the job that stands under a key
LOOKS = 50  # then it is taken for dead

Mode = Literal["keep", "replace", "again"]

_LONG = duration("3650d")


def seconds_of(time: float | str) -> float:
    """Seconds, of a number of them or of a text as "2m". Raises ValueError."""
    if isinstance(time, str) and time != "0":
        try:
            return float(_LONG.parse(time))
        except ValueError:
            raise ValueError(f"{time!r} is not {_LONG.allowed}") from None
    return float(time)


@dataclass(frozen=True, slots=True)
class Job:
    """A function of an application that is done in the background. Times are seconds."""

    name: str
    handler: Callable[..., Awaitable[Any]]
    arguments: Sequence[Argument]
    attempts: Attempts
    timeout: float
    keep: float  # for how long after its end its status is kept; with 0 there is none

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"timeout must be a time above 0, not {self.timeout}")
        if not self.keep >= 0:
            raise ValueError(f"keep must be a time, or 0 for none, not {self.keep}")

    @property
    def queue(self) -> str:
        """Where its messages wait."""
        return f"{QUEUE}:{self.name}"

    def __call__(self, *args: Any, **named: Any) -> Awaitable[Any]:
        """The function itself, as a test or another function of the application calls it."""
        return self.handler(*args, **named)

    def written(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as JSON has them. Raises BadArgument for what the annotations do not allow."""
        try:
            said = dumps(args, plain_value)
        except (TypeError, ValueError) as error:
            raise BadArgument(f"{self.name}: an argument is no JSON: {error}") from None
        if len(said) > ARGS_MAX:
            raise Refused(413, f"the arguments of {self.name} have {len(said)} bytes, and must have at most {ARGS_MAX}")
        written: dict[str, Any] = loads(said)
        try:
            self.values(written)
        except BadRequest as bad:
            raise BadArgument(f"{self.name}: {bad}") from None
        return written

    def values(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The function's arguments, of those in a message. Raises BadRequest."""
        known = {each.name: each for each in self.arguments}
        for name in args:
            if name not in known:
                raise BadRequest(f"{name:.100}", f"not known here; allowed are {', '.join(known) or 'none'}")
        for each in self.arguments:
            if each.required and each.name not in args:
                raise BadRequest(each.name, "must be given")
        return {name: known[name].kind.read(value, name) for name, value in args.items()}


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job that is in its queue, or was there already under the same key."""

    id: str
    job: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a job: for `user` if there is one, when it is `due`, ms since 1970, 0 for at once; under the key
    `unique` for `window` seconds, where one that is there is treated as `mode` says. `repeat`: it may have been asked
    before."""

    args: Mapping[str, Any]
    user: str = ""
    trace: str = ""
    due: int = 0
    unique: str = ""
    mode: Mode = "keep"
    window: float = WINDOW
    repeat: bool = False

    def message(self, job: Job, id: str) -> Message:
        """The message that asks for it."""
        asked: dict[str, Any] = {"args": self.args}
        if self.due:
            asked["due"] = self.due
        if self.unique:
            asked["unique"] = self.unique
        if self.repeat:
            asked["repeat"] = True
        return Message(job.name, asked, id, user={"id": self.user} if self.user else None, trace=self.trace)


def job_id(*of: str) -> str:
    """The id of the one job that is made of these texts."""
    return hashlib.sha256("\0".join(of).encode()).hexdigest()[:32]


async def enqueue(backend: JobBackend, job: Job, id: str, asked: Request) -> Enqueued:
    """Have a job done under this id: the one that is in the queue, when it is kept. Raises QueueFull, BrokerError."""
    message = asked.message(job, id)
    if not asked.unique:
        pushes = [backend.push(job.queue, message, asked.due or None)]
        if job.keep:
            pushes.append(backend.push("store_put", queued_message(job, message)))
        for done in await asyncio.gather(*pushes, return_exceptions=True):
            if done is not None:
                raise done
        return Enqueued(id, job.name)
    wait = max(0, asked.due - now_ms()) / 1000
    step = Unique(unique_key(asked.unique), asked.mode, id, message.encode(), message.sent, asked.window + wait)
    stands, raw = await backend.unique(job.queue, step)
    for _ in range(LOOKS if raw and stands != id else 0):
        await asyncio.sleep(LOOK)
        stands, raw = await backend.unique(job.queue, step)
        if not raw or stands == id:
            break
    await push_standing(backend, job.queue, step.key, raw)
    if job.keep and (stands == id or asked.mode == "replace"):
        message.id = stands
        await backend.push("store_put", queued_message(job, message))
    return Enqueued(stands, job.name)


async def push_standing(backend: JobBackend, queue: str, key: str, raw: bytes) -> None:
    """Push the job that stands under a key, unless it is known to be in the queue: then there is nothing in `raw`."""
    if raw:
        message = decode(raw)
        await backend.push(queue, message, message.args.get("due") or None)
        await backend.unique(queue, Unique(key, "pushed", message.id))


class Outside:
    """Enqueues jobs from elsewhere than an app server, over a producer and a link of its own."""

    def __init__(self, producer: Producer, link: Link) -> None:
        self._producer = producer
        self._link = link

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        """Push a job, due at a time if that is given; back when it is kept."""
        await self._producer.push(queue, message, at=at)

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        """Take a step of a unique job of a queue."""
        return await self._link.persist(lambda: self._link.unique(queue, step))


def unique_key(text: str) -> str:
    """The key of a text that anybody may have chosen."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_text(name: str, text: str) -> None:
    """Raises BadArgument for a key that is too long."""
    if len(text) > 8 * ID_MAX:
        raise BadArgument(f"{name}: must have at most {8 * ID_MAX} characters")
