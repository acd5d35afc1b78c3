"""A server, as the code that runs in it sees it: the way to the other servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gorgond.app.telemetry import Spans
from gorgond.redpill import Call, CallFailed, Message, Reply, Told, Unique
from gorgond.service.ends import Together
from gorgond.validators import Network

Hear = Callable[[str, Callable[[str, Message], None], Callable[[], None]], Together]
"""Listens to a topic: what is called with each event, and what when some may have been missed."""


class Backend(Protocol):
    """Any server that asks others."""

    async def call(self, queue: str, message: Message) -> Reply:
        """Push a request and wait for the reply; its errors are raised."""


class JobBackend(Protocol):
    """What a job is enqueued with."""

    @property
    def spans(self) -> Spans | None:
        """Where it is told, if somebody wants to know."""

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        """Push a job, due at a time in ms since 1970 if that is given; back when it is kept."""

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        """Take a step of a unique job of a queue, as `Link.unique`."""


class AppBackend(Backend, JobBackend, Protocol):
    """An app server, as the contexts of its handlers see it."""

    async def publish(self, topic: str, event: Message) -> None:
        """Publish an event; back when it is kept."""

    def note_wait(self, queue: str, seconds: float) -> None:
        """Note how long a job has waited in its queue."""

    @property
    def kinds(self) -> Mapping[str, str]:
        """The kinds of notifications that its applications declare, with their titles."""

    @property
    def channels(self) -> Mapping[str, str]:
        """The channels over which notifications are sent, with the kind of each."""

    @property
    def loud(self) -> Mapping[str, bool]:
        """Those of them that disturb people, and whether digests are sent over them."""

    @property
    def webhooks(self) -> Mapping[str, Sequence[Network]]:
        """The channel to endpoints of users' own, if there is one, with the private networks where those may be."""


class Asker(Protocol):
    """A server that asks others for who does not wait."""

    def ask(self, queue: str, message: Message, told: Told) -> Call:
        """Push a request; `told` is called with the reply or with the error."""


class Keeper(Protocol):
    """A server that keeps jobs for others."""

    async def push(self, queue: str, message: Message) -> None:
        """Push a job; back when it is kept."""


class WebBackend(Backend, Asker, Keeper, Protocol):
    """A web server, as its routes see it."""

    def searching(self, client: str) -> AbstractContextManager[None]:
        """For as long as the client at this address searches. Raises CallFailed 429."""

    def unready(self) -> CallFailed | None:
        """Why no requests should be sent here; None when all is well."""
