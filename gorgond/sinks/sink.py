"""The contract of a sink: it takes events, and has them for good when it returns.

class PagerSink(Sink):
    name = "pager"

    @classmethod
    def of(cls, settings):
        return cls()

    def write(self, events):
        for written, event in enumerate(events):
            try:
                self._send(event)
            except OSError as error:
                raise SinkAway(str(error), written) from error

    def close(self):
        self._hang_up()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from gorgond.redpill import Message
from gorgond.settings import Journal


class Sink(ABC):
    """Something outside that takes events. One thread uses it, and may be blocked by it for some seconds at most."""

    settings: ClassVar[type[Journal]] = Journal
    """What [journal] has of this kind: a class of its own adds its own settings."""
    network: ClassVar[bool] = True
    """Whether the unit of its journal needs the network."""
    name: str
    """Its name in the log: "event log /var/log/gorgond/events.log"."""

    @classmethod
    @abstractmethod
    def of(cls, settings: Any) -> Self:
        """The sink of these settings. Nothing is opened yet: a sink that is away shows when it is written to."""

    @abstractmethod
    def write(self, events: Sequence[Message]) -> None:
        """Take these, in their order. An event may come again, with the same id, when whoever handed it over died
        before that was settled.

        Raises SinkAway, which says how many of them were taken: the others are handed over again when it is back. After
        any other error all of them are, few at a time, and what fails three times is a dead letter.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""
