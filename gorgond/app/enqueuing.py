"""How a job comes to be in its queue.

    app_job:SHOP.RESIZE   "shop.resize" {"args": {"photo": "p1"}, "due": 1700000000000, "unique": "resize:p1",
                          "repeat": true}

`due` is when it may begin, if that is later than at once. `unique` is the key under which it is the only one. `repeat`:
it may have been enqueued before under the same id, since who enqueues it is run again; so it is looked up whether it
has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from gorgond.app.backend import JobBackend
from gorgond.app.jobs import Job
from gorgond.app.jobstatus import queued_message
from gorgond.errors import BadArgument
from gorgond.redpill import Broker, Message, Producer, Unique, decode, now_ms
from gorgond.service.fabric import Fabric

WINDOW = 86400.0  # seconds for which a key is a job's, unless it ends before
KEY_MAX = 1000  # characters of a key
LOOK = 0.02  # seconds between two looks whether another one has pushed the job that stands under a key
LOOKS = 50  # then it is taken for dead

Mode = Literal["keep", "replace", "again"]


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
    if backend.spans is None:
        return await _enqueue(backend, job, id, asked)
    with backend.spans.sending(job.queue, id, asked.trace) as trace:
        return await _enqueue(backend, job, id, replace(asked, trace=trace))


async def _enqueue(backend: JobBackend, job: Job, id: str, asked: Request) -> Enqueued:
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
    """Enqueues jobs from elsewhere than an app server, over the brokers of a fabric; the log calls it `name`."""

    spans = None

    def __init__(self, fabric: Fabric, name: str) -> None:
        self._fabric = fabric
        self._name = name
        self._link = fabric.durable.link(f"{name} unique jobs")
        self._turn = asyncio.Lock()  # the link is for one at a time
        self._producers: dict[Broker, Producer] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for producer in self._producers.values():
            await producer.stop()
        await self._link.close()

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        """Push a job, due at a time if that is given; back when it is kept."""
        broker = self._fabric.carrier(queue, self._fabric.durable)
        if broker not in self._producers:
            self._producers[broker] = Producer(broker, self._name, self._fabric.room)
            self._producers[broker].start()
        await self._producers[broker].push(queue, message, at=at)

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        """Take a step of a unique job of a queue."""
        async with self._turn:
            return await self._link.persist(lambda: self._link.unique(queue, step))


def unique_key(text: str) -> str:
    """The key of a text that anybody may have chosen."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_text(name: str, text: str) -> None:
    """Raises BadArgument for a key that is too long."""
    if len(text) > KEY_MAX:
        raise BadArgument(f"{name}: must have at most {KEY_MAX} characters")
