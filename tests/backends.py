"""Backends of handlers that are called without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gorgond.redpill import Message, Reply, Unique
from gorgond.validators import Network


class Nobody:
    """One that is not asked, of an app server without notifications."""

    spans = None

    async def call(self, queue: str, message: Message) -> Reply:
        raise AssertionError

    @property
    def kinds(self) -> Mapping[str, str]:
        return {}

    @property
    def channels(self) -> Mapping[str, str]:
        return {}

    @property
    def loud(self) -> Mapping[str, bool]:
        return {}

    @property
    def webhooks(self) -> Mapping[str, Sequence[Network]]:
        return {}

    async def push(self, queue: str, message: Message, at: int | None = None) -> None:
        raise AssertionError

    async def unique(self, queue: str, step: Unique) -> tuple[str, bytes]:
        raise AssertionError

    def note_wait(self, queue: str, seconds: float) -> None:
        raise AssertionError

    async def publish(self, topic: str, event: Message) -> None:
        raise AssertionError
