"""The root of gorgond's error tree, and redpill's own branch of it.

GorgonError
├── BrokerError            something between us and the queues
│   ├── BrokerAway         not reachable or not ready: wait, then repeat
│   │   └── Overslept      it may have answered, but this process did not run
│   ├── BrokerRefused      it will not do this for us (rights, version, a wrong address): an operator must act
│   ├── OutcomeUnknown     it may have been queued, and nobody can say so: the answer was lost
│   ├── QueueFull          the queue, or the broker's memory or disk, has no room: try again later
│   └── Superseded         another process took this consumer's desk under the same name: end
├── DeadlineExceeded       the time a caller allowed is over
├── Undecodable            bytes that are no message
├── LoopEnded              a loop ended although nobody asked it to; its cause is what it failed with
└── CallFailed             the answering side says no (carries its code)
"""

from __future__ import annotations

from collections.abc import Mapping


class GorgonError(Exception):
    """Root of every error gorgond raises on purpose."""


class BrokerError(GorgonError):
    """Something between this process and its queues."""


class BrokerAway(BrokerError):
    """The broker cannot be reached or is not ready yet; the same operation may simply be repeated. It was not done if
    it is `unsent`; else it may have been."""

    unsent = False


class Overslept(BrokerAway):
    """This process did not run when the answer was due, so that nobody knows whether there was one."""


class BrokerRefused(BrokerError):
    """The broker answers but will not serve us; waiting does not help."""


class OutcomeUnknown(BrokerError):
    """It may have been queued: the answer was lost, and nobody can be asked any more."""


class QueueFull(BrokerError):
    """No room: the queue is at its limit, or the broker is out of memory or disk. Nothing was queued."""

    def __init__(self, queue: str, why: str = "the queue is at its limit") -> None:
        super().__init__(f"{queue}: {why}; try again later")
        self.queue = queue


class Superseded(BrokerError):
    """A process of the same name has taken this consumer's desk over."""


class DeadlineExceeded(GorgonError):
    """The deadline passed before there was an answer."""


class Undecodable(GorgonError):
    """Bytes that are not a message of the protocol."""


class LoopEnded(GorgonError):
    """A loop that others rely on has ended, or hangs, although nobody asked it to end; the text says which."""

    @property
    def foreign(self) -> BaseException | None:
        """The error that it failed with, if that is none of ours: a fault, whose stack is worth a look."""
        return None if isinstance(self.__cause__, GorgonError) else self.__cause__


class CallFailed(GorgonError):
    """The answer to a call is an error.

    `code` is an HTTP status number, `message` is meant for the caller; `field` names what of the input is wrong, if
    that is the reason, `headers` are for a caller who passes the error on over HTTP (Retry-After), and `reason` is a
    word for programs where one code has several.
    """

    def __init__(
        self, code: int, message: str, field: str = "", headers: Mapping[str, str] | None = None, reason: str = ""
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.field = field
        self.headers = headers or {}
        self.reason = reason


def public_error(error: GorgonError) -> CallFailed | None:
    """The error that stopped a call, as it is told to somebody outside: which kind it is, not how the broker is reached
    nor what Redis says, which the log has. None for what is no error of redpill's that a call meets."""
    if isinstance(error, CallFailed):
        return error
    if isinstance(error, DeadlineExceeded):
        return CallFailed(504, str(error), reason="deadline")
    if isinstance(error, QueueFull):
        return CallFailed(503, f"{error.queue} has no room: try again later", reason="queue_full")
    if isinstance(error, BrokerAway):
        return CallFailed(503, "the broker is away: try again later", reason="broker_away")
    if isinstance(error, OutcomeUnknown):
        return CallFailed(503, "the broker does not answer any more, and may have this", reason="broker_refused")
    if isinstance(error, BrokerError):
        return CallFailed(503, "the broker does not serve this; its operator has to act", reason="broker_refused")
    return None
