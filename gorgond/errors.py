"""One error tree for the whole of gorgond; redpill's branch, with the root, is redpill's own.

GorgonError
├── (redpill's: BrokerError, DeadlineExceeded, Undecodable, CallFailed)
│   └── Refused        a CallFailed that an application raises: NotFound, Forbidden, Conflict, or with a code of its own
├── ConfigError        the configuration is wrong: exit code 78, not restarted
├── BadArgument        a TypeError: a job is not enqueued with what it takes
├── TryAgain           a job asks to be begun again later
├── ClockOff           this host's clock is too far from the broker's: exit code 75, tried again until it is right
├── StoreError         the database and what is asked of it
│   ├── StoreAway      not reachable: waited for, never a failure of the job
│   └── StoreRefused   this request gets no better answer (bad filter, too large, took too long), with an HTTP code
├── SinkAway           a sink takes no events for now: waited for
├── NotSent            a notification could not be sent for now: tried again
├── Undeliverable      a notification never can be sent: a dead letter
│   └── TargetGone     nor can any other to the same endpoint or browser
├── Unreachable        a server outside has not answered
│   └── PrivateAddress it was not asked: its address is none of the public's
└── BadRequest         input from outside that does not fit, with the field and what is allowed
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from gorgond.redpill import CallFailed, GorgonError

__all__ = [
    "BadArgument",
    "BadRequest",
    "ClockOff",
    "ConfigError",
    "Conflict",
    "Forbidden",
    "GorgonError",
    "Mistakes",
    "NotFound",
    "NotSent",
    "PrivateAddress",
    "Refused",
    "SinkAway",
    "StoreAway",
    "StoreError",
    "StoreRefused",
    "TargetGone",
    "TryAgain",
    "Undeliverable",
    "Unreachable",
]  # fmt: skip


class ConfigError(GorgonError):
    """The configuration is wrong; the message names the place and what is allowed there."""


class ClockOff(GorgonError):
    """This host's clock is so far from the broker's that nothing is to work here until it is mended."""


class Mistakes:
    """The ConfigErrors that are found on one way through the configuration, so that all of them are told at once."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}  # each once, though two looks find it
        self._places: set[str] = set()

    @contextmanager
    def collect(self, place: str = "", needs: Collection[str] = ()) -> Iterator[None]:
        """Keep a ConfigError, which is one of the setting `place` (section.key) if that is given, and go on. One that
        comes of looking at `needs`, settings of which one is wrong itself, is no mistake of its own."""
        try:
            yield
        except ConfigError as error:
            if self._places.isdisjoint(needs):
                self._found[str(error)] = None
                self._places.add(place)

    def tell(self) -> None:
        """Raise ConfigError if there was any: those with a line of the file first, in their order there."""
        if len(self._found) > 1:
            found = sorted(self._found, key=_line)
            raise ConfigError("\n".join([f"the configuration has {len(found)} mistakes:", *found]))
        for only in self._found:
            raise ConfigError(only)


def _line(mistake: str) -> float:
    """The line of the file at which a mistake is: it begins with its place, FILE:LINE."""
    place = re.match(r"[^'\"]*?:(\d+): ", mistake)
    return int(place[1]) if place else math.inf


class StoreError(GorgonError):
    """Something between this process and its database."""


class StoreAway(StoreError):
    """The database cannot be reached; the same request may simply be repeated later."""


class StoreDenied(StoreAway):
    """The database answers, and does not let us in: password, rights or file are wrong. A server that meets this as it
    begins ends at once, so that a rolling restart stops. One that works already waits, as for a database that is
    away."""


class StoreRefused(StoreError):
    """The database or its driver refuses this one request, for a reason that `code` tells as an HTTP status: 400 what
    is asked is wrong, 422 the answer is too large, 503 not yet, 504 took too long, 500 what is stored is no JSON.
    `field` names what is wrong: of a document, or `search`."""

    def __init__(self, message: str, code: int = 400, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field


class SinkAway(GorgonError):
    """A sink of events takes no more for now; it has the first `written` of what was to be written."""

    def __init__(self, message: str, written: int) -> None:
        super().__init__(message)
        self.written = written


class NotSent(GorgonError):
    """A notification could not be sent over its channel for now; it is tried again later: `after` so many seconds, if
    whoever refused it says so. `code` is what the server outside has answered, if it has."""

    def __init__(self, message: str, code: int = 0, after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.after = after


class Undeliverable(GorgonError):
    """A notification cannot be sent over its channel, and would be as little another time; `code` as above."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class TargetGone(Undeliverable):
    """Nothing can be sent any more to the target that it was for."""


class Unreachable(GorgonError):
    """A server outside has not answered; the message says why, and may be shown to who named it."""


class PrivateAddress(Unreachable):
    """A server outside was not asked, since what it is called leads to an address that is none of the public's."""


class BadRequest(GorgonError):
    """Input that does not fit: `field` is its name, the message says what is allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.allowed = message


class BadArgument(GorgonError, TypeError):
    """A job is not enqueued with the arguments that it takes: the message names the one that does not fit."""


class TryAgain(GorgonError):
    """A job that is not done raises this to be begun again after `delay`, in seconds or as "2m", if it has attempts
    left: TryAgain("10s", "the API is busy")."""

    def __init__(self, delay: float | str, reason: str = "it asks to be begun again") -> None:
        super().__init__(reason)
        self.delay = delay


class Refused(CallFailed):
    """An error that a handler of an application raises to answer with: Refused(402, "pay first")."""


class NotFound(Refused):
    """404."""

    def __init__(self, message: str = "there is no such thing") -> None:
        super().__init__(404, message)


class Forbidden(Refused):
    """403: we know who asks, and it is not theirs."""

    def __init__(self, message: str = "this is not yours") -> None:
        super().__init__(403, message)


class Conflict(Refused):
    """409: what is there is not what the request takes it for."""

    def __init__(self, message: str = "it was changed meanwhile") -> None:
        super().__init__(409, message)
